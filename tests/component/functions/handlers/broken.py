"""Its import fails two calls deep."""


def _set_up() -> None:
    import a_package_that_is_not_there  # type: ignore[import-not-found]  # noqa: F401, PLC0415


_set_up()


def never() -> None:
    pass
