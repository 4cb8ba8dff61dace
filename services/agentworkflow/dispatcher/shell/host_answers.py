"""What came back from a function host, and what it means: pure.

The table of architecture.md, «Calling a step».
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import MalformedEvent, decode
from agentworkflow.events.types import STEP_COMPLETED, STEP_FAILED
from agentworkflow.runs.slots import Slot

START_TYPES: Final = frozenset({"pool", "warm", "cold"})

# Statuses that say «not now» of a whole host: the same attempt is posted again.
_AGAIN: Final = frozenset({429, 502, 503, 504})
_TOO_MANY: Final = 429
_OK: Final = 200
_SERVER_ERROR: Final = 500

_REASON: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
"""One word in PascalCase, as every reason is."""

_MAX_DETAIL: Final = 4_000
_MAX_PROBLEM: Final = 16_000


class Verdict(Enum):
    """What to do when a post brought no answer."""

    ELSEWHERE = "elsewhere"
    """Ask the next address at once: this one has no free slot, or nobody is there."""
    AGAIN = "again"
    """Post the same attempt again, after a pause."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The attempt has an output.

    Attributes:
        output: the value, if it came with the answer.
        reference: `sha256:…` of an output that the host has put beside the log, or None.
        start_type: `warm` or `cold`, by the host's word, or None.
        duration: of the handler, in ms, by the host's word, or None.
    """

    output: Any
    reference: str | None = None
    start_type: str | None = None
    duration: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt ended without an output.

    Attributes:
        reason: one word.
        problem: what the log and the run show.
        retry_after: in ms, or None.
        start_type: as in `Completed`.
        duration: as in `Completed`.
    """

    reason: str
    problem: Mapping[str, Any]
    retry_after: int | None = None
    start_type: str | None = None
    duration: int | None = None


Answer = Completed | Failed


@dataclass(frozen=True, slots=True)
class Expected:
    """The attempt that an answer has to be of."""

    run: str
    slot: Slot
    attempt: int
    token: str


def judge(
    status: int, headers: Iterable[tuple[str, str]], body: bytes, expected: Expected, *, pool: bool
) -> Answer | Verdict:
    """What a response means for the attempt.

    Args:
        status: of the HTTP response.
        headers: of the HTTP response.
        body: of the HTTP response.
        expected: the attempt that was posted.
        pool: the address was the pool's, and another one is left.
    """
    if pool and status == _TOO_MANY:
        return Verdict.ELSEWHERE
    if status in _AGAIN:
        return Verdict.AGAIN
    if status >= _SERVER_ERROR:
        return bad_answer("Crash", f"The host answered {status}.", body)
    if status != _OK:
        return bad_answer("Failure", f"The host answered {status}, not 200.", body)
    try:
        event = decode(list(headers), body)
    except MalformedEvent as error:
        return bad_answer("Failure", f"The answer is no CloudEvent: {error}", body)
    wrong = _mismatch(event, expected)
    if wrong:
        return bad_answer("Failure", wrong, body)
    return _completed(event) if event.type == STEP_COMPLETED else _failed(event)


def _mismatch(event: CloudEvent, expected: Expected) -> str:
    if event.type not in (STEP_COMPLETED, STEP_FAILED):
        return f"The answer is of type {event.type!r}, not {STEP_COMPLETED!r} or {STEP_FAILED!r}."
    item = expected.slot.item
    attributes = {
        "awfrun": expected.run,
        "awfstep": expected.slot.step,
        "awfitem": None if item is None else str(item),
        "awfattempt": str(expected.attempt),
        "awftoken": expected.token,
    }
    for name, value in attributes.items():
        found = event.get(name)
        if (None if found is None else str(found)) != value:
            # The token is compared like the rest, and never shown.
            return f"The answer's `{name}` is not that of this attempt."
    return ""


def _completed(event: CloudEvent) -> Answer:
    reference = event.get("dataref")
    output = event.data
    if isinstance(output, bytes):
        detail = f"The output is of type {event.datacontenttype!r}; a step's output is JSON."
        return bad_answer("Failure", detail, b"")
    return Completed(
        output,
        None if reference is None else str(reference),
        _start_type(event),
        _integer(event, "awfdurationms"),
    )


def _failed(event: CloudEvent) -> Answer:
    data = event.data
    if not isinstance(data, dict):
        return bad_answer("Failure", "The answer's data is no problem object.", b"")
    reason = data.get("reason")
    after = data.get("retryAfter")
    return Failed(
        reason=reason if isinstance(reason, str) and _REASON.fullmatch(reason) else "Failure",
        problem=bounded_problem(data),
        retry_after=_milliseconds(after),
        start_type=_start_type(event),
        duration=_integer(event, "awfdurationms"),
    )


def _milliseconds(seconds: Any) -> int | None:
    """A delay that a host asked for; None for what is no delay."""
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        return None
    if not math.isfinite(seconds) or seconds < 0:
        return None
    return round(seconds * 1000)


def bounded_problem(problem: Mapping[str, Any]) -> dict[str, Any]:
    """A problem that fits into a head: long texts are cut, and what is still too large left out."""
    cut = {name: _cut(value) for name, value in problem.items() if name != "retryAfter"}
    if len(json.dumps(cut)) <= _MAX_PROBLEM:
        return cut
    short = {name: cut.get(name) for name in ("type", "title", "detail", "reason")}
    return {name: value for name, value in short.items() if isinstance(value, str)}


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _MAX_DETAIL:
        return value[:_MAX_DETAIL] + "…"
    return value


def bad_answer(reason: str, detail: str, body: bytes) -> Failed:
    """The failure of an attempt whose host answered what it may not."""
    problem: dict[str, Any] = {
        "type": "https://agentworkflow.dev/problems/BadAnswer",
        "title": "The function's host gave no valid answer",
        "detail": detail,
        "reason": "BadAnswer" if reason == "Failure" else reason,
    }
    if body:
        problem["body"] = body[:500].decode(errors="replace")
    return Failed(reason, problem)


def crash(detail: str) -> Failed:
    """The failure of an attempt that no host would answer for."""
    problem = {
        "type": "https://agentworkflow.dev/problems/Crash",
        "title": "The function's host did not answer",
        "detail": detail,
        "reason": "Crash",
    }
    return Failed("Crash", problem)


def _start_type(event: CloudEvent) -> str | None:
    value = event.get("awfstarttype")
    return value if isinstance(value, str) and value in START_TYPES else None


def _integer(event: CloudEvent, name: str) -> int | None:
    value = event.get(name)
    try:
        return None if value is None else int(value)
    except ValueError:
        return None
