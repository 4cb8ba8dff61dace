"""What validation finds: one sentence about one place, and what to write there instead."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentworkflow.workflow.models import AgentWorkflow

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One error in a resource, before its position in a file is known.

    Attributes:
        path: keys and indexes from the resource's root.
        message: what is wrong.
        hint: what to write instead, or an empty string.
        at_key: the error is the field's name, not its value.
        column: 1-based position in a string value, where that is known.
    """

    path: Path
    message: str
    hint: str = ""
    at_key: bool = False
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One error, with its place. `line` and `column` count from 1; 0 where there is no file."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else ""
        path = f"{self.path}: " if self.path else ""
        hint = f" — {self.hint}" if self.hint else ""
        return f"{place}{path}{self.message}{hint}"


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict: every workflow that is valid, and everything that is wrong with the others."""

    workflows: tuple["AgentWorkflow", ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def path_text(path: Path) -> str:
    """A path as a reader writes it: `spec.steps[1].needs[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("-", "_").isidentifier():
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def nearest(name: str, known: Iterable[str], *, shown: int = 12) -> str:
    """A hint for a name that is not known: the closest one, or all there are."""
    names = sorted(set(known))
    lowered = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    if close:
        return f'did you mean "{lowered[close[0]]}"?'
    if not names:
        return ""
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"known here: {', '.join(names[:shown])}{rest}"
