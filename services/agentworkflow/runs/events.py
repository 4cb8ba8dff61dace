"""What can happen to a run: the entries of its log, and how they are written.

Each event is one frozen dataclass and one JSON object. No event holds a token or a secret.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final

from agentworkflow.runs.values import (
    NULL,
    Blob,
    EventData,
    Inline,
    OutputOf,
    Value,
    decode_value,
    dump,
    encode_value,
    stow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        time: milliseconds since the epoch, by the store's clock.
    """

    type: ClassVar[str]
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequested(Event):
    """A run was asked for. Always the first entry.

    Attributes:
        digest: of the definition that the run pins.
        input: the run's input.
        kind: `api`, `route` or `event`.
        trigger: the trigger or route that started it.
        event: the event that started it, as structured JSON, or None.
        cause: its `source`, `id` and `type`, or None.
        session: the session id, or None.
        webhook: where the result is sent, or None.
        depth: how many events caused each other before this run.
        deadline: when the run ends as failed, or None.
        random: the id was drawn, so no later start can name the same run.
        trace: the `traceparent` of the start, or None.
    """

    type: ClassVar[str] = "run.requested"
    digest: str
    input: Value
    kind: str = "api"
    trigger: str | None = None
    event: Value | None = None
    cause: Mapping[str, str] | None = None
    session: str | None = None
    webhook: str | None = None
    depth: int = 0
    deadline: int | None = None
    random: bool = False
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """The run left its session's queue, with the session's value as it was then."""

    type: ClassVar[str] = "run.started"
    session: Value = NULL


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSkipped(Event):
    """The step's `when` was false."""

    type: ClassVar[str] = "step.skipped"
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExpanded(Event):
    """The list of a `forEach` step is known."""

    type: ClassVar[str] = "step.expanded"
    step: str
    items: Value
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequested(Event):
    """An attempt is due at `due` and given up at `deadline`."""

    type: ClassVar[str] = "step.requested"
    step: str
    item: int | None = None
    attempt: int
    due: int
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCompleted(Event):
    """An attempt answered with a result.

    Attributes:
        start_type: `pool`, `warm` or `cold`.
        duration: of the handler in ms, by the host's word, or None.
    """

    type: ClassVar[str] = "step.completed"
    step: str
    item: int | None = None
    attempt: int
    output: Value
    start_type: str | None = None
    duration: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(Event):
    """An attempt ended without a result; attempt 0 if it failed before the first.

    Attributes:
        reason: one word; what `retry.on` is compared with.
        problem: `type`, `title`, `detail` and what else the failure brought.
        retry_after: the delay in ms that the handler asked for, or None.
    """

    type: ClassVar[str] = "step.failed"
    step: str
    item: int | None = None
    attempt: int
    reason: str
    problem: Mapping[str, Any]
    retry_after: int | None = None
    start_type: str | None = None
    duration: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWaiting(Event):
    """The step waits for a signal, or until a time, and no process exists meanwhile."""

    type: ClassVar[str] = "step.waiting"
    step: str
    signal: str | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitElapsed(Event):
    """The time of a waiting step is over; `output` is what the step then has."""

    type: ClassVar[str] = "step.elapsed"
    step: str
    output: Value = NULL
    problem: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalReceived(Event):
    """A signal came from the API."""

    type: ClassVar[str] = "signal.received"
    name: str
    output: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanExtended(Event):
    """The run's plan has grown by `steps`, written as in the resource."""

    type: ClassVar[str] = "plan.extended"
    steps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested(Event):
    """Somebody wants the run to end."""

    type: ClassVar[str] = "run.cancelrequested"
    reason: str = "CancelRequested"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineReached(Event):
    """The run's deadline is over."""

    type: ClassVar[str] = "run.deadlinereached"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The run is terminal. Always the last entry.

    Attributes:
        state: `Succeeded`, `Failed` or `Cancelled`.
        reason: one word, or None for success.
        problem: why, or None.
        output: the result, or None.
        session: the session's new value, or None to leave it as it is.
    """

    type: ClassVar[str] = "run.finished"
    state: str
    reason: str | None = None
    problem: Mapping[str, Any] | None = None
    output: Value | None = None
    session: Value | None = None


_KINDS: Final[dict[str, type[Event]]] = {
    kind.type: kind
    for kind in (
        RunRequested,
        RunStarted,
        StepSkipped,
        StepExpanded,
        StepRequested,
        StepCompleted,
        StepFailed,
        StepWaiting,
        WaitElapsed,
        SignalReceived,
        PlanExtended,
        CancelRequested,
        DeadlineReached,
        RunFinished,
    )
}
VALUE_FIELDS: Final = ("event", "input", "items", "output", "session")
"""Fields that hold a `Value`, wherever they occur."""

_VALUES: Final = frozenset(VALUE_FIELDS)


def encode_event(event: Event) -> str:
    """An event as one line of JSON; fields that are None are left out."""
    record: dict[str, Any] = {"type": event.type}
    for field in fields(event):
        value = getattr(event, field.name)
        if value is None:
            continue
        record[field.name] = (
            encode_value(value) if isinstance(value, (Inline, Blob, OutputOf, EventData)) else value
        )
    return dump(record)


def stow_event(event: Event) -> tuple[Event, dict[str, bytes]]:
    """The event with its large values beside it, and those as blobs by digest."""
    blobs: dict[str, bytes] = {}
    kept: dict[str, Any] = {}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, Inline):
            stowed, more = stow(value.value)
            if more:
                kept[field.name] = stowed
                blobs |= more
    return (replace(event, **kept), blobs) if kept else (event, blobs)


def decode_event(text: str) -> Event | None:
    """The event of a log entry; None for one that the fold skips, such as progress."""
    record = json.loads(text)
    kind = _KINDS.get(record.pop("type"))
    if kind is None:
        return None
    for name in _VALUES & record.keys():
        if isinstance(record[name], dict):
            record[name] = decode_value(record[name])
    if kind is PlanExtended:
        record["steps"] = tuple(record["steps"])
    return kind(**record)
