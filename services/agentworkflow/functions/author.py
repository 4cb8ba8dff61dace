"""What the author of a handler writes around it: `@function`, and the two ways to end early."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

__all__ = ["Failure", "FunctionOptions", "Isolation", "Retry", "function", "name_of", "options_of"]

Isolation = Literal["Process", "Thread"]
Handler = TypeVar("Handler", bound=Callable[..., Any])

_MARK = "__agentworkflow__"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_NAME_LENGTH = 28


@dataclass(frozen=True, slots=True)
class FunctionOptions:
    """What `@function` says about a handler; None leaves the choice to the host.

    `isolation`: `Process` runs each event in a forked child, `Thread` in a thread of the
    function's worker. Without it a sync handler gets `Process`, an async one its worker's loop.
    """

    name: str | None = None
    description: str | None = None
    isolation: Isolation | None = None


@overload
def function(handler: Handler, /) -> Handler: ...
@overload
def function(
    *,
    name: str | None = None,
    description: str | None = None,
    isolation: Isolation | None = None,
) -> Callable[[Handler], Handler]: ...
def function(
    handler: Handler | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    isolation: Isolation | None = None,
) -> Handler | Callable[[Handler], Handler]:
    """Mark a handler and say how it runs. The handler itself is returned, and stays callable.

    `name`: how workflows call it; from the callable's own name if absent.
    `description`: what planners and tool clients see; the docstring if absent.
    `isolation`: `Process` (default of sync handlers) or `Thread`; see FunctionOptions.
    """
    if name is not None:
        check_name(name)
    if isolation not in (None, "Process", "Thread"):
        raise ValueError(f"isolation {isolation!r} is unknown: use 'Process' or 'Thread'")
    options = FunctionOptions(name, description, isolation)

    def mark(handler: Handler) -> Handler:
        if not callable(handler):
            raise TypeError(f"@function needs something that can be called, not {handler!r}")
        setattr(handler, _MARK, options)
        return handler

    return mark if handler is None else mark(handler)


def options_of(handler: Callable[..., Any]) -> FunctionOptions:
    """Return what `@function` said of this handler; the defaults for a plain callable."""
    found = getattr(handler, _MARK, None)
    return found if isinstance(found, FunctionOptions) else FunctionOptions()


def name_of(handler: Callable[..., Any]) -> str:
    """Return the chosen name, or one from the callable's: `analyze_data` → `analyze-data`."""
    chosen = options_of(handler).name
    if chosen is not None:
        return chosen
    own = getattr(handler, "__name__", None) or type(handler).__name__
    name = re.sub(r"[^a-z0-9]+", "-", own.lower()).strip("-")
    check_name(name)
    return name


def check_name(name: str) -> None:
    """Raise ValueError unless this is a DNS label of at most 28 characters without `--`."""
    if len(name) > _NAME_LENGTH or "--" in name or not _NAME.fullmatch(name):
        raise ValueError(
            f"function name {name!r} is no DNS label of at most {_NAME_LENGTH} characters "
            "(a-z, 0-9, single hyphens inside): choose one with @function(name=…)"
        )


class Retry(Exception):  # noqa: N818 - an author raises what should happen, not an error
    """Raise it to ask for another attempt, after `after` seconds if given.

    The step's `retry.limit` still counts; an event without a run is sent again by its broker.
    """

    def __init__(self, detail: str = "", *, after: float | timedelta | None = None) -> None:
        super().__init__(detail)
        seconds = after.total_seconds() if isinstance(after, timedelta) else after
        if seconds is not None and not 0 <= seconds < float("inf"):
            raise ValueError(f"Retry(after={after!r}): give seconds from now, 0 or more")
        self.detail = detail
        self.after = None if seconds is None else float(seconds)

    def __reduce__(self) -> Any:
        return (_retry, (self.detail, self.after))


def _retry(detail: str, after: float | None) -> Retry:
    return Retry(detail, after=after)


class Failure(Exception):  # noqa: N818 - the name that problem+json and the protocol use
    """Raise it to end the step with a problem of one's own.

    `type` is a URI or a word that callers can compare, `title` what kind of thing went wrong,
    `detail` what went wrong this time.
    """

    def __init__(self, type: str = "about:blank", title: str = "", detail: str = "") -> None:  # noqa: A002 - the member's name in problem+json
        super().__init__(detail or title or type)
        self.type = type
        self.title = title or type
        self.detail = detail

    def __reduce__(self) -> Any:
        return (Failure, (self.type, self.title, self.detail))
