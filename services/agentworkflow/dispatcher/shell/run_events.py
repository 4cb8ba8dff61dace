"""Makes the CloudEvents that a run causes: calls of its steps, and news of itself. Pure."""

from typing import Any

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.types import (
    RUN_CANCELLED,
    RUN_FAILED,
    RUN_STARTED,
    RUN_SUCCEEDED,
    STEP_REQUESTED,
)
from agentworkflow.runs.ids import event_id
from agentworkflow.runs.model import Run, RunState
from agentworkflow.runs.reading import rfc3339
from agentworkflow.runs.slots import Slot

_JSON = "application/json"

_NEWS = {
    RunState.SUCCEEDED: RUN_SUCCEEDED,
    RunState.FAILED: RUN_FAILED,
    RunState.CANCELLED: RUN_CANCELLED,
}


def source_of(namespace: str, workflow: str) -> str:
    """The `source` of every event of a workflow."""
    return f"/agentworkflow/{namespace}/{workflow}"


def step_requested(
    run: Run, slot: Slot, attempt: int, token: str, data: Any, reference: str | None, deadline: int
) -> CloudEvent:
    """The call of an attempt.

    Args:
        run: the run.
        slot: the step or item.
        attempt: its number.
        token: of the attempt.
        data: the input, unless it is given by reference.
        reference: `sha256:…` of an input that is kept beside the log, or None.
        deadline: when the attempt is given up, in ms.
    """
    function = run.spec(slot.step).function or ""
    extensions = _extensions(run) | {
        "awfstep": slot.step,
        "awfattempt": str(attempt),
        "awftoken": token,
        "awffunction": function,
        "awfdeadline": rfc3339(deadline),
    }
    if slot.item is not None:
        extensions["awfitem"] = str(slot.item)
    if reference is not None:
        extensions["dataref"] = reference
    return CloudEvent(
        id=event_id(run.id, "requested", slot.step, slot.item, attempt),
        source=source_of(run.namespace, run.workflow),
        type=STEP_REQUESTED,
        datacontenttype=None if reference else _JSON,
        extensions=extensions,
        data=None if reference else data,
    )


def run_news(run: Run, entry: int, output: Any, size: int | None = None) -> CloudEvent:
    """The event that tells of a run's start or end.

    Args:
        run: the run.
        entry: the log entry that is told of; the last one of a terminal run is its end.
        output: the result, for a run that succeeded.
        size: of a result that is too large for an event; it is then left out.
    """
    ended = run.is_terminal and entry == run.output_entry
    kind = _NEWS[run.state] if ended else RUN_STARTED
    data: dict[str, Any] = {"run": run.id, "workflow": run.workflow, "namespace": run.namespace}
    time = run.started or run.created
    if ended:
        time = run.ended or run.created
        data |= {"state": str(run.state), "reason": run.reason, "steps": run.requested}
        data["durationMs"] = time - run.created
        if run.problem is not None:
            data["problem"] = run.problem
        elif size is not None:
            data["outputBytes"] = size
        else:
            data["output"] = output
    return CloudEvent(
        id=f"{run.id}/{entry}/{kind.rsplit('.', 1)[1]}",
        source=source_of(run.namespace, run.workflow),
        type=kind,
        subject=run.id,
        time=rfc3339(time),
        datacontenttype=_JSON,
        extensions=_extensions(run),
        data=data,
    )


def _extensions(run: Run) -> dict[str, str | int | bool]:
    extensions: dict[str, str | int | bool] = {
        "awfrun": run.id,
        "awfworkflow": run.workflow,
        "awfnamespace": run.namespace,
        "awfdepth": str(run.origin.depth + 1),
        "partitionkey": run.id,
    }
    if run.session is not None:
        extensions["awfsession"] = run.session
    if run.origin.trace is not None:
        extensions["traceparent"] = run.origin.trace
    return extensions
