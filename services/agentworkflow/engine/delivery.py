"""Decides what follows from the answer to one delivery: Knative's data-plane contract, pure.

The rules are those of the Knative Eventing data plane specification.
Only 404, 409, 429 and 5xx are tried again; a connection that failed counts as a 500, as Knative's
dispatcher reports it; every other answer outside 2xx is final.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Literal

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.types import (
    AWF_DEPTH,
    KNATIVE_ERROR_CODE,
    KNATIVE_ERROR_DATA,
    KNATIVE_ERROR_DEST,
    OWN_PREFIX,
)

MAX_DEPTH: Final = 16
"""An event whose cause lies deeper than this in a chain of events is dead-lettered as a loop."""

ERROR_DATA_BYTES: Final = 768
"""How much of a failed answer is kept: 1024 characters of base64, which is Knative's limit."""

_RETRIED: Final = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
)
_PACED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How one Trigger delivers; the names are Knative's, the times are seconds.

    Attributes:
        retry: attempts after the first.
        backoff: ``Exponential`` waits ``delay``·2ⁿ (n from 0), ``Linear`` ``delay``·n (n from 1).
        delay: see ``backoff``; Knative's own default.
        delay_max: no wait is longer, whatever the formula says.
        retry_after_max: a subscriber's ``Retry-After`` is honoured up to this.
        timeout: of one POST; Knative Serving ends a request after ten minutes.
    """

    retry: int = 12
    backoff: Literal["Exponential", "Linear"] = "Exponential"
    delay: float = 0.2
    delay_max: float = 600.0
    retry_after_max: float = 86_400.0
    timeout: float = 600.0

    def wait_before(self, retry: int, retry_after: float | None) -> float:
        """Seconds before the given retry, which counts from 1."""
        factor = retry if self.backoff == "Linear" else 2.0 ** (retry - 1)
        wait = min(self.delay * factor, self.delay_max)
        if retry_after is None:
            return wait
        return max(wait, min(retry_after, self.retry_after_max))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of one POST.

    Attributes:
        status: the HTTP status; 500 if there was none.
        body: the beginning of a failed answer, or a sentence about why there was none.
        retry_after: seconds, if the answer asked for it and its status allows it.
        reply: the event in a 200.
    """

    status: int
    body: bytes = b""
    retry_after: float | None = None
    reply: CloudEvent | None = None

    @property
    def delivered(self) -> bool:
        """Whether the subscriber has taken the event."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def retryable(self) -> bool:
        """Whether another attempt may end otherwise."""
        return self.status in _RETRIED or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an event goes to the dead-letter sink."""

    code: int
    data: str
    dest: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the delivery of one event to one Trigger is; kept with a postponed entry.

    Attributes:
        failed: attempts at the subscriber, or at the sink once ``failure`` is set, that failed.
        failure: set when the subscriber was given up: the event is on its way to the sink.
    """

    failed: int = 0
    failure: Failure | None = None

    def dump(self) -> str:
        """Write as one line of JSON."""
        members: dict[str, object] = {"failed": self.failed}
        if self.failure is not None:
            failure = self.failure
            members |= {"code": failure.code, "data": failure.data, "dest": failure.dest}
        return json.dumps(members)

    @classmethod
    def load(cls, text: str) -> "Progress":
        """Read what `dump` wrote; an empty text is a delivery that has not begun."""
        if not text:
            return cls()
        members = json.loads(text)
        failure = None
        if "code" in members:
            failure = Failure(members["code"], members["data"], members["dest"])
        return cls(members["failed"], failure)


@dataclass(frozen=True, slots=True)
class Done:
    """The delivery is over; ``reply`` goes back into the broker."""

    reply: CloudEvent | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """The next attempt comes after ``delay`` seconds."""

    delay: float
    progress: Progress


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The subscriber will not take the event: it goes to the dead-letter sink."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Lost:
    """The dead-letter sink will not take it either; Knative drops such an event, and so do we."""

    answer: Answer


def judge_subscriber(
    policy: DeliveryPolicy, progress: Progress, answer: Answer, event: CloudEvent, dest: str
) -> Done | Later | GiveUp:
    """What follows from the subscriber's answer."""
    if answer.delivered:
        return Done(caused_by(event, answer.reply))
    failed = progress.failed + 1
    if answer.retryable and failed <= policy.retry:
        return Later(policy.wait_before(failed, answer.retry_after), Progress(failed))
    return GiveUp(Progress(failure=Failure(answer.status, encode_error_data(answer.body), dest)))


def judge_sink(policy: DeliveryPolicy, progress: Progress, answer: Answer) -> Done | Later | Lost:
    """What follows from the dead-letter sink's answer; its replies are ignored."""
    if answer.delivered:
        return Done()
    failed = progress.failed + 1
    if answer.retryable and failed <= policy.retry:
        delay = policy.wait_before(failed, answer.retry_after)
        return Later(delay, replace(progress, failed=failed))
    return Lost(answer)


def depth_of(event: CloudEvent) -> int:
    """How many events of ours lie before this one; 0 for one from outside."""
    try:
        return int(event.get(AWF_DEPTH) or 0)
    except ValueError:
        return 0


def caused_by(cause: CloudEvent, reply: CloudEvent | None) -> CloudEvent | None:
    """The reply as it goes back into the broker: one deeper than its cause, whatever it says."""
    if reply is None:
        return None
    return reply.with_extensions({AWF_DEPTH: depth_of(cause) + 1})


def loop_failure(event: CloudEvent, dest: str) -> Failure | None:
    """Why the event may go no further, if it lies too deep."""
    depth = depth_of(event)
    if depth <= MAX_DEPTH:
        return None
    problem = {
        "title": "Loop",
        "reason": "Loop",
        "detail": f"awfdepth is {depth}, more than {MAX_DEPTH}: the events cause each other",
    }
    body = json.dumps(problem).encode()
    return Failure(HTTPStatus.LOOP_DETECTED.value, encode_error_data(body), dest)


def reserved(event: CloudEvent, named_types: frozenset[str]) -> bool:
    """Whether the event is one of ours that this Trigger does not name exactly."""
    return event.type.startswith(OWN_PREFIX) and event.type not in named_types


def dead_letter(event: CloudEvent, failure: Failure) -> CloudEvent:
    """The event as it goes to the dead-letter sink: as it came, and Knative's three attributes."""
    extensions: dict[str, str | int | bool] = {
        KNATIVE_ERROR_DEST: failure.dest,
        KNATIVE_ERROR_CODE: failure.code,
    }
    if failure.data:
        extensions[KNATIVE_ERROR_DATA] = failure.data
    return event.with_extensions(extensions)


def encode_error_data(body: bytes) -> str:
    """Base64 of what may stand in the attribute."""
    return base64.b64encode(body[:ERROR_DATA_BYTES]).decode("ascii")


def parse_retry_after(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the subscriber asks for; None unless a 429 or 503 says it in a valid way."""
    value = headers.get("retry-after", "").strip()
    if status not in _PACED or not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
