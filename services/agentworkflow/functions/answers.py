"""Writes outcomes as HTTP answers: the table «What a function host answers», row by row. Pure."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from agentworkflow.events import types
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import encode_binary
from agentworkflow.events.problem import MEDIA_TYPE, Problem
from agentworkflow.functions.admission import Answer
from agentworkflow.functions.outcomes import Failed, Ran, Returned
from agentworkflow.functions.requests import StepRequest, deeper
from agentworkflow.functions.table import FunctionEntry, FunctionTable, Trigger

__all__ = ["StartType", "answer_problem", "answer_step", "answer_user_event", "json_bytes"]

StartType = Literal["cold", "warm"]

_JSON = "application/json"
_RETRY_SECONDS = 1.0


def json_bytes(value: Any) -> bytes:
    """Return compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def now_text() -> str:
    """Return the time as RFC 3339 in UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def source_of(table: FunctionTable, function: str) -> str:
    """Return the `source` of events that a function of this host sends."""
    return f"/agentworkflow/{table.namespace}/{table.workflow}/{function}"


def answer_problem(problem: Problem, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a refusal as problem+json. It is not final: who asks again wants another try."""
    return Answer(
        problem.status or 500,
        {"content-type": MEDIA_TYPE, **(headers or {})},
        json_bytes(problem.to_json()),
        is_final=False,
    )


def answer_step(
    table: FunctionTable,
    request: StepRequest,
    ran: Ran,
    start_type: StartType,
    dataref: str | None = None,
) -> Answer:
    """Answer a step request: always 200, with `step.completed` or `step.failed`.

    `dataref` stands for an output that was stored as a blob.
    """
    done = isinstance(ran.outcome, Returned)
    extensions = request.echo() | {
        types.AWF_START_TYPE: start_type,
        types.AWF_DURATION_MS: str(ran.duration_ms),
    }
    if dataref is not None:
        extensions[types.DATA_REF] = dataref
    event = CloudEvent(
        id=f"{request.subject}/{'completed' if done else 'failed'}",
        source=source_of(table, request.function),
        type=types.STEP_COMPLETED if done else types.STEP_FAILED,
        time=now_text(),
        datacontenttype=_JSON,
        extensions=extensions,
    )
    headers, _ = encode_binary(event)
    if dataref is not None:
        return Answer(200, headers)
    return Answer(200, headers, _data(ran.outcome))


def _data(outcome: Returned | Failed) -> bytes:
    if isinstance(outcome, Returned):
        return outcome.output
    return json_bytes(outcome.problem())


def answer_user_event(
    table: FunctionTable, entry: FunctionEntry, trigger: Trigger | None, event: CloudEvent, ran: Ran
) -> Answer:
    """Answer a user's event, so that its broker does what the handler's outcome asks for."""
    outcome = ran.outcome
    if isinstance(outcome, Returned):
        if outcome.is_nothing:
            return Answer(204)
        return _reply(table, entry, trigger, event, outcome)
    status = {"Retry": 503, "InvalidInput": 422}.get(outcome.reason, 500)
    problem = Problem(
        type=outcome.type,
        title=outcome.title,
        status=status,
        detail=outcome.detail,
        extensions={"reason": outcome.reason, "errors": [dict(each) for each in outcome.errors]}
        if outcome.errors
        else {"reason": outcome.reason},
    )
    headers = {}
    if outcome.reason == "Retry":
        after = _RETRY_SECONDS if outcome.retry_after is None else outcome.retry_after
        headers["retry-after"] = str(math.ceil(after))
    return answer_problem(problem, headers)


def _reply(
    table: FunctionTable,
    entry: FunctionEntry,
    trigger: Trigger | None,
    event: CloudEvent,
    outcome: Returned,
) -> Answer:
    kept = (types.PARTITION_KEY, types.TRACEPARENT, types.TRACESTATE)
    extensions = {name: event.extensions[name] for name in kept if name in event.extensions}
    reply = CloudEvent(
        # The same for every delivery of the same event: whoever gets it twice can tell.
        id=f"{event.source}/{event.id}/{entry.name}",
        source=source_of(table, entry.name),
        type=(trigger.reply if trigger else None) or f"{entry.name}.completed",
        time=now_text(),
        datacontenttype=_JSON,
        extensions=extensions | deeper(event),
    )
    headers, _ = encode_binary(reply)
    return Answer(200, headers, outcome.output)
