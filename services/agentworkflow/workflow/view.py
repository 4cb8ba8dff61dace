"""A tolerant look at a resource that may be wrong elsewhere, so that all errors come at once.

The rules read through it: a value of another type than expected is just not there for them, since
the models report it already.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentworkflow.workflow.crd_rules import CelRule
from agentworkflow.workflow.findings import Fault, Path


@dataclass(frozen=True, slots=True)
class View:
    """A value and its path."""

    value: Any
    path: Path = ()

    def at(self, key: str) -> "View":
        """The field of that name; its value is None where there is none."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return View(value, (*self.path, key))

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.at(key).value is not None

    def holds(self, key: str) -> bool:
        """Whether the field is there, null or not."""
        return isinstance(self.value, dict) and key in self.value

    def text(self, key: str) -> str | None:
        """The field, if it is a string."""
        value = self.at(key).value
        return value if isinstance(value, str) else None

    def members(self, key: str) -> Iterator["View"]:
        """The members of a list."""
        value = self.at(key).value
        if isinstance(value, list):
            for index, member in enumerate(value):
                yield View(member, (*self.path, key, index))

    def objects(self, key: str) -> Iterator["View"]:
        """The members of a list that are objects."""
        return (member for member in self.members(key) if isinstance(member.value, dict))

    def names(self, key: str) -> list[str]:
        """The names of the objects in a list."""
        return [name for each in self.objects(key) if (name := each.text("name")) is not None]

    def fault(self, message: str, hint: str = "", *, column: int | None = None) -> Fault:
        """An error about this value."""
        return Fault(self.path, message, hint, column=column)

    def breach(self, rule: CelRule) -> Fault:
        """A breach of a rule that the CRD states too, in the same words."""
        where = tuple(part for part in rule.field.split(".") if part)
        return Fault((*self.path, *where), rule.message, rule.hint)
