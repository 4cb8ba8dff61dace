"""Calls a handler for one event: data in by its parameters, result or exception out as an outcome.

Used by children and by the test kit, on whatever thread or loop they choose.
"""

import contextlib
import functools
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import MalformedEvent, decode
from agentworkflow.events.types import AWF_TOKEN
from agentworkflow.functions.author import Failure, Retry
from agentworkflow.functions.binding import InputRefused, bind
from agentworkflow.functions.context import Context
from agentworkflow.functions.frames import LARGEST_BODY
from agentworkflow.functions.loading import Loaded
from agentworkflow.functions.mapping import MappingError, resolve
from agentworkflow.functions.outcomes import Failed, Outcome, Returned, shorten
from agentworkflow.functions.result import ResultError, encode_result

__all__ = ["Job", "call", "finish", "outcome_of_error", "prepare"]


@dataclass(frozen=True, slots=True)
class Job:
    """One event for one handler, as the front sent it: HTTP headers and body, and the context.

    `trigger` is the trigger a user's event came through; None for a step, whose input is checked
    for unknown fields (`strict`).
    """

    number: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    context: Mapping[str, Any]
    trigger: str | None
    strict: bool

    @classmethod
    def from_frame(cls, meta: Mapping[str, Any], body: bytes) -> "Job":
        """Read the frame that the front wrote."""
        return cls(
            number=meta["job"],
            headers=tuple((name, value) for name, value in meta["headers"]),
            body=body,
            context=meta["context"],
            trigger=meta["trigger"],
            strict=meta["strict"],
        )


def context_of(job: Job, report: Callable[[float, str], None]) -> Context:
    """Return the handler's context for this job."""
    members = dict(job.context)
    deadline = members.pop("deadline", None)
    return Context(
        **members,
        deadline=None if deadline is None else datetime.fromtimestamp(deadline, UTC),
        report=report,
    )


def prepare(loaded: Loaded, job: Job, report: Callable[[float, str], None]) -> Callable[[], Any]:
    """Return the call with its arguments in place. Raises InputRefused and its kin."""
    context = context_of(job, report)
    if _needs_data_only(loaded, job):
        data = json.loads(job.body) if job.body else None
        return _with_data(loaded, data, context, None, strict=job.strict)
    # A structured event has the attempt's token in its body; it is not for user code.
    event = decode(job.headers, job.body).without_extensions(AWF_TOKEN)
    return prepare_event(loaded, event, context, trigger=job.trigger, strict=job.strict)


def _needs_data_only(loaded: Loaded, job: Job) -> bool:
    """Tell whether the event itself can stay unread: the front has checked it already.

    Reading it again in a fresh fork copies 200 pages of memory, a good part of a warm start.
    """
    headers = dict(job.headers)
    return (
        job.trigger is None
        and not loaded.signature.takes_event
        and "ce-specversion" in headers
        and headers.get("content-type") == "application/json"
    )


def prepare_event(
    loaded: Loaded, event: CloudEvent, context: Context, *, trigger: str | None, strict: bool
) -> Callable[[], Any]:
    """Return the call for an event and a context; mapped if the trigger says how."""
    data = event.data
    mapping = loaded.entry.trigger(trigger) if trigger else None
    if mapping is not None and mapping.input is not None:
        data = resolve(mapping.input, event)
    return _with_data(loaded, data, context, event, strict=strict)


def _with_data(
    loaded: Loaded, data: Any, context: Context, event: CloudEvent | None, *, strict: bool
) -> Callable[[], Any]:
    if loaded.input_schema is not None:
        loaded.input_schema.check({} if data is None else data)
    positional, named = bind(loaded.signature, data, context=context, event=event, strict=strict)
    return functools.partial(loaded.handler, *positional, **named)


def finish(loaded: Loaded, value: Any) -> Outcome:
    """Return the outcome of a value that the handler returned."""
    try:
        output = encode_result(value)
    except ResultError as error:
        return _bad_answer(loaded, "The handler's result cannot be written as JSON", str(error))
    except Exception as error:  # noqa: BLE001 - a model's or mapping's own code runs here
        return outcome_of_error(error)
    if len(output) > LARGEST_BODY:
        return _bad_answer(
            loaded,
            "The handler's result is too large",
            f"{len(output)} bytes of JSON; at most {LARGEST_BODY}: store it and return its address",
        )
    if loaded.output_schema is not None:
        try:
            loaded.output_schema.check(json.loads(output))
        except InputRefused as error:
            title = "The handler's result is not what outputSchema says"
            return Failed(
                reason="BadAnswer",
                title=title,
                detail=shorten(str(error)),
                errors=tuple(each.to_json() for each in error.errors),
            )
    return Returned(output)


def _bad_answer(loaded: Loaded, title: str, detail: str) -> Failed:
    sys.stderr.write(f"{loaded.entry.name}: {title}: {detail}\n")
    return Failed(reason="BadAnswer", title=title, detail=shorten(detail))


def call(loaded: Loaded, job: Job, report: Callable[[float, str], None]) -> Outcome:
    """Run a sync handler to its end, on this thread. Never raises."""
    try:
        return finish(loaded, prepare(loaded, job, report)())
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its attempt only
        return outcome_of_error(error)


def outcome_of_error(error: BaseException) -> Failed:
    """Return what an exception of a handler means. Its traceback goes to the log only."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # a task group wraps what its one failing task raised
    if isinstance(error, Retry):
        return Failed(
            reason="Retry",
            title="The handler asked for another attempt",
            detail=shorten(error.detail),
            retry_after=error.after,
        )
    if isinstance(error, InputRefused):
        return Failed(
            reason="InvalidInput",
            title="The function does not take this input",
            detail=shorten(str(error)),
            errors=tuple(each.to_json() for each in error.errors),
        )
    if isinstance(error, MappingError):
        return Failed(
            reason="InvalidInput",
            title="The trigger's input names what the event does not have",
            detail=shorten(str(error)),
            errors=({"path": "event", "message": shorten(str(error))},),
        )
    if isinstance(error, MalformedEvent):
        return Failed(
            reason="InvalidInput",
            title=error.problem.title,
            detail=shorten(error.problem.detail),
            errors=tuple(each.to_json() for each in error.problem.errors),
        )
    _print_traceback(error)
    if isinstance(error, Failure):
        return Failed(
            reason="Failure",
            type=shorten(str(error.type)),
            title=shorten(str(error.title)),
            detail=shorten(str(error.detail)),
        )
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code
        return Failed(
            reason="Crash",
            title="The handler left its process",
            detail=shorten(f"it called sys.exit({code!r}) before it returned a result"),
        )
    if isinstance(error, MemoryError):
        return Failed(
            reason="OutOfMemory",
            title="The handler ran out of memory",
            detail=shorten(f"MemoryError: {_message(error)}".rstrip(": ")),
        )
    return Failed(reason="Failure", title=_class_name(error), detail=shorten(_message(error)))


def _class_name(error: BaseException) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the failure itself
        return "(its message cannot be shown)"


def _print_traceback(error: BaseException) -> None:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    with contextlib.suppress(Exception):
        traceback.print_exception(type(error), error, trace or error.__traceback__)
