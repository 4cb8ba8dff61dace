"""What became of one attempt: a value, or a failure with its reason in the protocol's words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Failed", "Outcome", "Ran", "Reason", "Returned", "from_frame", "shorten", "to_frame"]

Reason = Literal[
    "Retry", "Failure", "Crash", "DeadlineExceeded", "OutOfMemory", "InvalidInput", "BadAnswer"
]

_LONGEST_DETAIL = 4096


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler returned; `output` is its value as UTF-8 JSON."""

    output: bytes

    @property
    def is_nothing(self) -> bool:
        """Whether the handler returned None."""
        return self.output == b"null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed. `retry_after` (seconds) is what the handler asked for, if it did.

    `errors` are the places that refused the input: objects with `path` and `message`.
    """

    reason: Reason
    title: str
    detail: str = ""
    type: str = "about:blank"
    retry_after: float | None = None
    errors: tuple[Mapping[str, str], ...] = ()

    def problem(self) -> dict[str, Any]:
        """Return the problem object that `step.failed` carries."""
        members: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "detail": self.detail,
            "reason": self.reason,
        }
        if self.retry_after is not None:
            members["retryAfter"] = self.retry_after
        if self.errors:
            members["errors"] = [dict(each) for each in self.errors]
        return members


Outcome = Returned | Failed


@dataclass(frozen=True, slots=True)
class Ran:
    """An outcome, and how long the handler took (ms)."""

    outcome: Outcome
    duration_ms: int


def shorten(text: str) -> str:
    """Bound a text that user code chose, so that a problem stays readable and storable."""
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= _LONGEST_DETAIL:
        return text
    return f"{text[:_LONGEST_DETAIL]}… ({len(text) - _LONGEST_DETAIL} characters more)"


def to_frame(outcome: Outcome) -> tuple[dict[str, Any], bytes]:
    """Return the members and the body under which a child sends an outcome."""
    if isinstance(outcome, Returned):
        return {"returned": True}, outcome.output
    return {"returned": False, "problem": outcome.problem()}, b""


def from_frame(meta: Mapping[str, Any], body: bytes) -> Outcome:
    """Read what `to_frame` wrote. Raises KeyError or TypeError for anything else."""
    if meta["returned"]:
        return Returned(body)
    problem = meta["problem"]
    return Failed(
        reason=problem["reason"],
        type=problem["type"],
        title=problem["title"],
        detail=problem["detail"],
        retry_after=problem.get("retryAfter"),
        errors=tuple(problem.get("errors", ())),
    )
