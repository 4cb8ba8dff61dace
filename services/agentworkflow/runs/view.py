"""What people see of a run: its state with its steps, and its log, entry by entry.

Both are projections that name each field they show. No token, no secret, and nothing that a later
field might add gets out by accident.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agentworkflow.runs.model import STEP_TERMINAL, Attempts, Run, StepState
from agentworkflow.runs.reading import part_of_result, rfc3339
from agentworkflow.runs.slots import Slot
from agentworkflow.workflow.parts import Part, error_of, output_of

RESULT = Part("output", None)
"""The run's own result, among the parts of a view."""


@dataclass(frozen=True, slots=True)
class Large:
    """A value that is kept beside the log and not shown in a view.

    Attributes:
        size: as JSON, in bytes; of what is kept beside, where that is a part of the value.
    """

    size: int


def parts_of_view(run: Run) -> frozenset[Part]:
    """What a view shows beside the head: outputs and problems of steps that ended."""
    parts: set[Part] = set()
    for name, known in run.steps.items():
        if known.state is StepState.SUCCEEDED:
            parts.add(output_of(name))
        if known.error is not None or (known.items is not None and known.items.failed):
            parts.add(error_of(name))
    return frozenset(parts)


def view_of(run: Run, values: Mapping[Part, Any]) -> dict[str, Any]:
    """A run as the API shows it.

    Args:
        run: the run.
        values: what `parts_of_view` names, and `RESULT`; a value that is too large to show is
            `Large`. Then `outputBytes` stands beside a null output: `GET …/result` gives the
            run's.
    """
    reference = part_of_result(run)
    return {
        "run": run.id,
        "namespace": run.namespace,
        "workflow": run.workflow,
        "session": run.session,
        "state": str(run.state),
        "reason": run.reason,
        "problem": run.problem,
        **_output(values.get(reference or RESULT)),
        "createdAt": rfc3339(run.created),
        "startedAt": _time(run.started),
        "finishedAt": _time(run.ended),
        "durationMs": None if run.ended is None else run.ended - run.created,
        "startedBy": {
            "kind": run.origin.kind,
            "trigger": run.origin.trigger,
            "event": run.origin.event,
        },
        "steps": [_step_view(run, name, values) for name in run.plan.steps],
    }


def _step_view(run: Run, name: str, values: Mapping[Part, Any]) -> dict[str, Any]:
    known = run.attempts(Slot(name))
    state = known.state
    if run.is_terminal and state not in STEP_TERMINAL:
        # What was still open when the run ended is not written one by one: it reads as cancelled.
        state = StepState.CANCELLED
    return {
        "name": name,
        "state": str(state),
        "reason": known.reason if state is StepState.FAILED else None,
        "attempts": _attempts_made(run, name, known),
        "startType": known.start_type,
        "durationMs": _duration(known),
        **_output(values.get(output_of(name)) if state is StepState.SUCCEEDED else None),
        "problem": values.get(error_of(name)),
        "items": _items_view(known),
    }


def _output(value: Any) -> dict[str, Any]:
    if isinstance(value, Large):
        return {"output": None, "outputBytes": value.size}
    return {"output": value}


def _attempts_made(run: Run, name: str, known: Attempts) -> int:
    if known.items is None:
        return known.attempt
    made = (run.items.get(Slot(name, index)) for index in range(known.items.next))
    return sum(item.attempt for item in made if item is not None)


def _duration(known: Attempts) -> int | None:
    if known.started is None or known.ended is None:
        return None
    return known.ended - known.started


def _items_view(known: Attempts) -> dict[str, int] | None:
    if known.items is None:
        return None
    return {
        "total": known.items.total,
        "succeeded": known.items.succeeded,
        "failed": known.items.failed,
        "running": known.items.running,
    }


def _time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else rfc3339(milliseconds)


# What an entry shows: its name in the log → its name outside. Whatever is not here stays inside.
_SHOWN: Final[Mapping[str, str]] = {
    "step": "step",
    "item": "item",
    "attempt": "attempt",
    "total": "total",
    "reason": "reason",
    "problem": "problem",
    "start_type": "startType",
    "duration": "durationMs",
    "signal": "signal",
    "name": "name",
    "kind": "kind",
    "trigger": "trigger",
    "state": "state",
    "fraction": "fraction",
    "message": "message",
}
_SHOWN_TIMES: Final[Mapping[str, str]] = {"due": "due", "until": "until", "deadline": "deadline"}


def project_entry(text: str) -> dict[str, Any]:
    """A log entry as watchers see it. An output that is kept beside the log shows its size."""
    record = json.loads(text)
    shown: dict[str, Any] = {"type": record["type"], "time": rfc3339(record["time"])}
    shown |= {out: record[name] for name, out in _SHOWN.items() if name in record}
    shown |= {out: rfc3339(record[name]) for name, out in _SHOWN_TIMES.items() if name in record}
    output = record.get("output")
    if isinstance(output, dict):
        if "v" in output:
            shown["output"] = output["v"]
        elif "blob" in output:
            shown["outputBytes"] = output["size"]
        elif "of" in output:
            shown["outputOf"] = output["of"]
    return shown
