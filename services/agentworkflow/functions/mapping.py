"""Resolves `triggers[].input` of a function without a run: paths into the event, and no CEL.

A whole string `${event.data.csv}` keeps the value's type; with text around it is interpolated.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from agentworkflow.events.cloudevent import CloudEvent

__all__ = ["MappingError", "resolve"]

_HOLE = re.compile(r"\$\{\s*([^}]*?)\s*\}")
_PART = re.compile(r"""\.([A-Za-z_]\w*)|\[(\d+)\]|\["([^"\]]+)"\]|\['([^'\]]+)'\]""")
_ROOT = "event"


class MappingError(LookupError):
    """A path that this event does not have, or that is none; the message names it."""


def resolve(template: Any, event: CloudEvent) -> Any:
    """Return the template with each path replaced by what the event has there."""
    if isinstance(template, Mapping):
        return {name: resolve(each, event) for name, each in template.items()}
    if isinstance(template, list):
        return [resolve(each, event) for each in template]
    if not isinstance(template, str):
        return template
    whole = _HOLE.fullmatch(template)
    if whole:
        return _follow(whole[1], event)
    return _HOLE.sub(lambda hole: _text(_follow(hole[1], event)), template)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _follow(path: str, event: CloudEvent) -> Any:
    if not path.startswith(_ROOT):
        raise MappingError(f"${{{path}}}: only paths into event, such as ${{event.data.id}}")
    value: Any = {**event.attributes(), "data": event.data}
    position = len(_ROOT)
    while position < len(path):
        part = _PART.match(path, position)
        if part is None:
            raise MappingError(f"${{{path}}}: cannot be read from character {position + 1} on")
        name: str | int = int(part[2]) if part[2] else part[1] or part[3] or part[4]
        try:
            value = _member(value, name)
        except LookupError:
            raise MappingError(f"${{{path}}}: the event has no {path[: part.end()]}") from None
        position = part.end()
    return value


def _member(value: Any, name: str | int) -> Any:
    if isinstance(value, Mapping) and isinstance(name, str):
        return value[name]
    if isinstance(value, list) and isinstance(name, int):
        return value[name]
    raise LookupError(name)
