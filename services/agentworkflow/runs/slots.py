"""The places of a run that attempts are made for: a step, or one item of a `forEach` step."""

from typing import NamedTuple


class Slot(NamedTuple):
    """A step, or one of its items.

    Attributes:
        step: the step's name.
        item: index into the list of a `forEach` step, or None for the step itself.
    """

    step: str
    item: int | None = None

    def __str__(self) -> str:
        return self.step if self.item is None else f"{self.step}/{self.item}"
