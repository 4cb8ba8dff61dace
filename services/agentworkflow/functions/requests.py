"""Reads what a CloudEvent asks of the host: a step of a run, with all that names its attempt."""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentworkflow.events import types
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.problem import FieldError, Problem, malformed

__all__ = ["StepRequest", "loop_problem", "read_step_request"]

MAX_DEPTH: Final = 16
"""A user's event whose cause lies deeper than this in a chain of events is refused as a loop."""

_ECHOED = (
    types.AWF_RUN,
    types.AWF_STEP,
    types.AWF_ITEM,
    types.AWF_ATTEMPT,
    types.AWF_TOKEN,
    types.AWF_FUNCTION,
    types.AWF_WORKFLOW,
    types.AWF_NAMESPACE,
    types.PARTITION_KEY,
    types.TRACEPARENT,
    types.TRACESTATE,
)


@dataclass(frozen=True, slots=True)
class StepRequest:
    """One attempt of a step. `deadline` is seconds since the epoch."""

    event: CloudEvent
    run: str
    step: str
    item: int | None
    attempt: int
    token: str
    function: str
    session: str | None
    deadline: float | None
    dataref: str | None

    @property
    def key(self) -> Hashable:
        """What makes two requests the same attempt: the token too, so that no other joins."""
        return (self.run, self.step, self.item, self.attempt, self.token)

    @property
    def subject(self) -> str:
        """The attempt in an event's id: `<run>/<step>[/<item>]/<attempt>`."""
        return f"{self.idempotency_key}/{self.attempt}"

    @property
    def idempotency_key(self) -> str:
        """`<run>/<step>[/<item>]`: the same for every attempt."""
        item = "" if self.item is None else f"/{self.item}"
        return f"{self.run}/{self.step}{item}"

    def echo(self) -> dict[str, str | int | bool]:
        """Return the extensions that an answer repeats, and `awfdepth` one deeper."""
        found = self.event.extensions
        echoed = {name: found[name] for name in _ECHOED if name in found}
        return echoed | deeper(self.event)


def deeper(cause: CloudEvent) -> dict[str, str | int | bool]:
    """Return `awfdepth` for an event that `cause` causes: what holds loops in check."""
    return {types.AWF_DEPTH: str(_depth(cause) + 1)}


def loop_problem(event: CloudEvent) -> Problem | None:
    """Return why a user's event is not handled, if too many events caused each other before it.

    Functions that answer each other's events have no run between them that would end it.
    """
    depth = _depth(event)
    if depth <= MAX_DEPTH:
        return None
    detail = f"{depth} events caused each other before this one; {MAX_DEPTH} are allowed"
    return Problem(title="Loop", status=422, detail=detail, extensions={"reason": "Loop"})


def _depth(event: CloudEvent) -> int:
    depth = str(event.extensions.get(types.AWF_DEPTH, "0"))
    # A number that is longer than this is as deep as any.
    return int(depth[:9]) if depth.isdecimal() else 0


def read_step_request(event: CloudEvent) -> StepRequest:
    """Read a `step.requested`. Raises MalformedEvent, which names every attribute that is wrong."""
    errors: list[FieldError] = []
    run = _text(event, types.AWF_RUN, errors)
    step = _text(event, types.AWF_STEP, errors)
    token = _text(event, types.AWF_TOKEN, errors)
    function = _text(event, types.AWF_FUNCTION, errors)
    attempt = _count(event, types.AWF_ATTEMPT, errors, required=True)
    item = _count(event, types.AWF_ITEM, errors, required=False)
    deadline = _moment(event, types.AWF_DEADLINE, errors)
    if errors:
        raise malformed(*errors)
    session, dataref = event.get(types.AWF_SESSION), event.get(types.DATA_REF)
    return StepRequest(
        event=event,
        run=run,
        step=step,
        item=item,
        attempt=attempt or 0,
        token=token,
        function=function,
        session=None if session is None else str(session),
        deadline=deadline,
        dataref=None if dataref is None else str(dataref),
    )


def _text(event: CloudEvent, name: str, errors: list[FieldError]) -> str:
    value = event.extensions.get(name)
    if not isinstance(value, str) or not value:
        errors.append(FieldError(name, "is missing: every step request carries it"))
        return ""
    return value


def _count(event: CloudEvent, name: str, errors: list[FieldError], *, required: bool) -> int | None:
    value = event.extensions.get(name)
    if value is None or value == "":
        if required:
            errors.append(FieldError(name, "is missing: every step request carries it"))
        return None
    if isinstance(value, bool) or not str(value).isdecimal():
        errors.append(FieldError(name, f"is {value!r}: it must be a number, 0 or more"))
        return None
    return int(value)


def _moment(event: CloudEvent, name: str, errors: list[FieldError]) -> float | None:
    value = event.extensions.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            raise ValueError(value)
    except ValueError:
        errors.append(FieldError(name, f"is {value!r}: it must be an RFC 3339 time"))
        return None
    return moment.timestamp()
