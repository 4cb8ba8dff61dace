"""The CloudEvent as the rest of the system sees it: one immutable value that is always valid."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from agentworkflow.events.attributes import (
    CORE,
    OPTIONAL,
    REQUIRED,
    core_fault,
    extension_fault,
    name_fault,
)
from agentworkflow.events.problem import FieldError, malformed

__all__ = ["AttributeValue", "CloudEvent"]

AttributeValue = str | int | bool


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """A CloudEvent 1.0. Making an invalid one raises MalformedEvent, which names every fault.

    `time` is RFC 3339, as it was received.
    `data` is a JSON value if `datacontenttype` is JSON or absent, a string for `text/*`, bytes
    otherwise, and None if there is none.
    An extension that came through HTTP headers is a string; in JSON it may be a number or boolean.
    """

    id: str
    source: str
    type: str
    specversion: str = "1.0"
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    extensions: Mapping[str, AttributeValue] = field(default_factory=dict)
    data: Any = None

    def __post_init__(self) -> None:
        errors = [
            FieldError(name, fault)
            for name in (*REQUIRED, *OPTIONAL)
            if (fault := core_fault(name, getattr(self, name))) is not None
        ]
        for name, value in self.extensions.items():
            fault = name_fault(name) or extension_fault(value)
            if fault is not None:
                errors.append(FieldError(name, fault))
        if errors:
            raise malformed(*errors)
        # A copy, so that the caller's dict cannot change what was checked.
        object.__setattr__(self, "extensions", dict(self.extensions))

    def get(self, name: str) -> AttributeValue | None:
        """Return a context attribute by name, of the core or an extension; None if absent."""
        if name in CORE:
            value: str | None = getattr(self, name)
            return value
        return self.extensions.get(name)

    def attributes(self) -> dict[str, AttributeValue]:
        """Return all context attributes that are present; not `data`."""
        present: dict[str, AttributeValue] = {
            name: value
            for name in (*REQUIRED, *OPTIONAL)
            if (value := getattr(self, name)) is not None
        }
        return present | dict(self.extensions)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked again."""
        return replace(self, **changes)

    def with_extensions(self, extensions: Mapping[str, AttributeValue]) -> Self:
        """Return a copy with these extensions added or replaced."""
        return replace(self, extensions={**self.extensions, **extensions})

    def without_extensions(self, prefix: str) -> Self:
        """Return a copy without the extensions whose names start with `prefix`."""
        kept = {name: v for name, v in self.extensions.items() if not name.startswith(prefix)}
        return replace(self, extensions=kept)
