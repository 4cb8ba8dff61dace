"""Lets handlers annotate with `typing.TypedDict` on Python 3.11, where Pydantic refuses it.

Pydantic's reason is generic TypedDicts, whose bases Python keeps from 3.12 on. All others can be
read: each is shown to Pydantic as its twin made by `typing_extensions`. Nothing to do on 3.12.
"""

import sys
import typing
from typing import Any, get_args, get_origin

import typing_extensions

_twins: dict[type[Any], Any] = {}


def teach_pydantic() -> None:
    """Make Pydantic accept `typing.TypedDict`, wherever in an annotation it stands."""
    if sys.version_info < (3, 12):
        meta: Any = typing._TypedDictMeta  # type: ignore[attr-defined]  # noqa: SLF001 - no public name on 3.11
        meta.__get_pydantic_core_schema__ = _core_schema


def _core_schema(cls: type[Any], _source: Any, handler: Any) -> Any:
    return handler.generate_schema(_twin(cls))


def _twin(cls: Any) -> Any:
    if cls not in _twins:
        hints = typing.get_type_hints(cls, include_extras=True)
        marked = {
            name: _marked(hint, required=name in cls.__required_keys__)
            for name, hint in hints.items()
        }
        twin: Any = typing_extensions.TypedDict(cls.__name__, marked)  # type: ignore[misc]
        twin.__module__, twin.__qualname__, twin.__doc__ = (
            cls.__module__,
            cls.__qualname__,
            cls.__doc__,
        )
        _twins[cls] = twin
    return _twins[cls]


def _marked(hint: Any, *, required: bool) -> Any:
    # An annotation that is a string hides its own mark from `__required_keys__`.
    if get_origin(hint) is typing.NotRequired:
        required = False
    if get_origin(hint) in (typing.Required, typing.NotRequired):
        hint = get_args(hint)[0]
    mark: Any = typing_extensions.Required if required else typing_extensions.NotRequired
    return mark[hint]
