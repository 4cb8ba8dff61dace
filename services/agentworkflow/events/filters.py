"""Trigger filters: which events a Trigger delivers, in Knative's seven dialects.

What matches is decided as Knative's own broker does (`pkg/eventfilter/subscriptionsapi`):
several attributes in one `exact`, `prefix` or `suffix` must all match; an absent attribute
matches nothing; integers and booleans are compared by their canonical string; `not` passes
what its filter refuses; a CESQL expression passes on `true` without an error.
What Knative would skip in silence, such as an empty filter or an empty value, is refused here.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentworkflow.events import cesql
from agentworkflow.events.attributes import canonical
from agentworkflow.events.cloudevent import CloudEvent

__all__ = ["EventFilter", "FilterError", "compile_filters"]

DIALECTS = ("exact", "prefix", "suffix", "all", "any", "not", "cesql")

_MAX_DEPTH = 50
_ATTRIBUTE_NAME = re.compile("[a-z][a-z0-9]*")
# Other names that Knative's brokers know for an attribute of CloudEvents 1.0.
_ALIASES = {"schemaurl": "dataschema"}

Match = Callable[[CloudEvent], bool]


class FilterError(ValueError):
    """A filter that is wrong; `path` leads to it from the list, as in `[0].any[1].exact`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message

    def __reduce__(self) -> tuple[type["FilterError"], tuple[str, str]]:
        return (FilterError, (self.path, self.message))


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A Trigger's compiled filters; immutable, and safe to share.

    `exact_types` are the event types that an `exact` filter names, alone or inside `all` and
    `any`. Only through them does a Trigger of a user see the events of this system.
    """

    exact_types: frozenset[str]
    _match: Match = field(repr=False, compare=False)

    def matches(self, event: CloudEvent) -> bool:
        """Tell whether the event passes every filter. Never raises."""
        return self._match(event)


def compile_filters(filters: Sequence[Mapping[str, Any]]) -> EventFilter:
    """Compile the `filters` of a Trigger; an empty list passes every event.

    Raises FilterError for the first filter that is wrong.
    """
    types: set[str] = set()
    matches = _compile_list(filters, "", types, 0)
    return EventFilter(frozenset(types), _all(matches))


def _compile_list(filters: Any, path: str, types: set[str], depth: int) -> tuple[Match, ...]:
    if isinstance(filters, str | bytes | Mapping) or not isinstance(filters, Sequence):
        raise FilterError(path, f"must be a list of filters, not {_described(filters)}")
    return tuple(
        _compile(each, f"{path}[{index}]", types, depth) for index, each in enumerate(filters)
    )


def _compile(spec: Any, path: str, types: set[str], depth: int) -> Match:
    if depth > _MAX_DEPTH:
        raise FilterError(path, f"filters nest more than {_MAX_DEPTH} levels")
    if not isinstance(spec, Mapping):
        raise FilterError(path, f"must be an object with one dialect, not {_described(spec)}")
    for name in spec:
        if name not in DIALECTS:
            raise FilterError(f"{path}.{name}", f"is no dialect: write {_listed(DIALECTS)}")
    if len(spec) != 1:
        what = f"names {_listed(spec, 'and')}" if spec else "is empty"
        hint = "put them side by side in the list, or into all or any" if spec else "write one"
        raise FilterError(path, f"{what}: a filter has exactly one dialect; {hint}")
    [(dialect, value)] = spec.items()
    path = f"{path}.{dialect}"
    match dialect:
        case "exact" | "prefix" | "suffix":
            return _compile_attributes(dialect, value, path, types)
        case "all" | "any":
            matches = _compile_list(value, path, types, depth + 1)
            if not matches:
                raise FilterError(path, "is empty: give it at least one filter")
            return _all(matches) if dialect == "all" else _any(matches)
        case "not":
            # A type that is named in order to be refused is not asked for.
            refused = _compile(value, path, set(), depth + 1)
            return lambda event: not refused(event)
        case _:
            return _compile_cesql(value, path)


def _compile_attributes(dialect: str, spec: Any, path: str, types: set[str]) -> Match:
    if not isinstance(spec, Mapping):
        raise FilterError(path, f"must be an object of attributes, not {_described(spec)}")
    if not spec:
        raise FilterError(path, "is empty: name at least one attribute, such as type")
    for name, text in spec.items():
        if not isinstance(name, str) or not _ATTRIBUTE_NAME.fullmatch(name):
            raise FilterError(
                f"{path}.{name}",
                "is no attribute name: it starts with a letter, and has only a-z and 0-9",
            )
        if not isinstance(text, str):
            raise FilterError(
                f"{path}.{name}", f"must be a string, not {_described(text)}: put it in quotes"
            )
        if not text:
            raise FilterError(f"{path}.{name}", "is empty: no attribute has an empty value")
    if dialect == "exact" and "type" in spec:
        types.add(spec["type"])
    return _all(tuple(_compile_attribute(dialect, *item) for item in spec.items()))


def _compile_attribute(dialect: str, name: str, text: str) -> Match:
    name = _ALIASES.get(name, name)

    def exact(event: CloudEvent) -> bool:
        value = event.get(name)
        return value == text if isinstance(value, str) else _other(value) == text

    def prefix(event: CloudEvent) -> bool:
        value = event.get(name)
        return (value if isinstance(value, str) else _other(value)).startswith(text)

    def suffix(event: CloudEvent) -> bool:
        value = event.get(name)
        return (value if isinstance(value, str) else _other(value)).endswith(text)

    return {"exact": exact, "prefix": prefix, "suffix": suffix}[dialect]


def _other(value: int | bool | None) -> str:
    # An absent attribute is as an empty one: what a filter asks for is never empty.
    return "" if value is None else canonical(value)


def _compile_cesql(text: Any, path: str) -> Match:
    if not isinstance(text, str):
        raise FilterError(path, f"must be a CESQL expression in a string, not {_described(text)}")
    try:
        expression = cesql.compile(text)
    except cesql.ParseError as error:
        raise FilterError(path, str(error)) from error
    for unknown in expression.unknown_functions:
        raise FilterError(path, unknown)
    return expression.matches


def _all(matches: tuple[Match, ...]) -> Match:
    if len(matches) == 1:
        return matches[0]

    def every(event: CloudEvent) -> bool:
        for match in matches:  # noqa: SIM110 - all() would make a generator for each event
            if not match(event):
                return False
        return True

    return every


def _any(matches: tuple[Match, ...]) -> Match:
    if len(matches) == 1:
        return matches[0]

    def some(event: CloudEvent) -> bool:
        for match in matches:  # noqa: SIM110 - any() would make a generator for each event
            if match(event):
                return True
        return False

    return some


def _listed(names: Iterable[object], conjunction: str = "or") -> str:
    *most, last = [str(name) for name in names]
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def _described(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "null"
    return f"{value!r}"
