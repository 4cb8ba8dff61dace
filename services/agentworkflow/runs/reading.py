"""Where the parts of a run are: which log entries hold them, and what they come to.

A shell reads the entries, with their blobs, and hands them back; nothing is read here.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from agentworkflow.runs.model import Run, StepState
from agentworkflow.runs.slots import Slot
from agentworkflow.workflow.definition import event_binding_of_json
from agentworkflow.workflow.parts import Part, output_of

REQUEST_ENTRY = 1
"""The first log entry, which holds the run's input and the event that started it."""

EntryField = tuple[int, str]
"""A log entry, and the field of it that holds a value."""


def fields_of_part(run: Run, part: Part) -> tuple[EntryField, ...]:
    """The entries, and the field in each, that a part is made from."""
    if part.kind == "input":
        return ((REQUEST_ENTRY, "input"), (REQUEST_ENTRY, "event"))
    if part.kind == "event":
        return ((REQUEST_ENTRY, "event"),)
    if part.kind == "session":
        return () if run.session_entry is None else ((run.session_entry, "session"),)
    step = part.step or ""
    known = run.attempts(Slot(step))
    if part.kind == "items":
        return () if known.items is None else ((known.items.entry, "items"),)
    if part.kind == "error":
        entries = [known.error, *(attempts.error for _, attempts in _failed_items(run, step))]
        return tuple((entry, "problem") for entry in entries if entry is not None)
    if known.items is not None:
        slots = (run.items.get(Slot(step, item)) for item in range(known.items.total))
        return tuple((a.output, "output") for a in slots if a is not None and a.output is not None)
    return () if known.output is None else ((known.output, "output"),)


def value_of_part(run: Run, part: Part, read: Mapping[EntryField, Any]) -> Any:
    """What a part comes to.

    Args:
        run: the run.
        part: the part.
        read: the values of `fields_of_part`, with blobs in place of their digests. A field that
            its entry lacks is absent.
    """
    if part.kind == "input":
        event = read.get((REQUEST_ENTRY, "event"))
        if (REQUEST_ENTRY, "input") in read:
            return read[REQUEST_ENTRY, "input"]
        return None if event is None else event_binding_of_json(event)["data"]
    if part.kind == "event":
        event = read.get((REQUEST_ENTRY, "event"))
        return None if event is None else event_binding_of_json(event)
    if part.kind == "session":
        return None if run.session_entry is None else read.get((run.session_entry, "session"))
    return _value_of_step(run, part, read)


def _value_of_step(run: Run, part: Part, read: Mapping[EntryField, Any]) -> Any:
    step = part.step or ""
    known = run.attempts(Slot(step))
    if part.kind == "items":
        return None if known.items is None else read.get((known.items.entry, "items"))
    if part.kind == "error":
        return _error(run, step, read)
    if known.items is None:
        return None if known.output is None else read.get((known.output, "output"))
    if known.state is not StepState.SUCCEEDED:
        return None
    outputs: list[Any] = []
    for index in range(known.items.total):
        entry = run.attempts(Slot(step, index)).output
        outputs.append(None if entry is None else read.get((entry, "output")))
    return outputs


def _error(run: Run, step: str, read: Mapping[EntryField, Any]) -> Any:
    known = run.attempts(Slot(step))
    if known.state is StepState.FAILED and known.error is not None:
        return read.get((known.error, "problem"))
    failed = _failed_items(run, step)
    if known.items is None or not failed:
        return None
    problems = [
        {"index": slot.item, "problem": read.get((attempts.error or 0, "problem"))}
        for slot, attempts in failed
    ]
    title = f"{len(failed)} of {known.items.total} items failed"
    return {"title": title, "reason": "ItemsFailed", "items": problems}


def _failed_items(run: Run, step: str) -> list[tuple[Slot, Any]]:
    known = run.attempts(Slot(step))
    if known.items is None or not known.items.failed:
        return []
    slots = (Slot(step, item) for item in range(known.items.total))
    found = ((slot, run.items.get(slot)) for slot in slots)
    return [(slot, a) for slot, a in found if a is not None and a.state is StepState.FAILED]


def bindings_of(
    run: Run, names: Iterable[str], steps: Iterable[str], values: Mapping[Part, Any]
) -> dict[str, Any]:
    """The roots that an expression sees; `item` and `index` are added by who knows them.

    Args:
        run: the run.
        names: roots that are read.
        steps: steps that are read.
        values: the parts that are read.
    """
    roots: dict[str, Any] = {}
    for name in names:
        if name == "run":
            roots[name] = _run_binding(run)
        elif name == "steps":
            known = (step for step in steps if step in run.plan.steps)
            roots[name] = {step: _step_binding(run, step, values) for step in known}
        elif name in ("input", "event", "session"):
            roots[name] = values[Part(name)]  # type: ignore[arg-type]
    return roots


def _run_binding(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.workflow,
        "namespace": run.namespace,
        "startedAt": rfc3339(run.created if run.started is None else run.started),
    }


def _step_binding(run: Run, step: str, values: Mapping[Part, Any]) -> dict[str, Any]:
    binding: dict[str, Any] = {"state": str(run.attempts(Slot(step)).state)}
    for part in (output_of(step), Part("error", step)):
        if part in values:
            binding[part.kind] = values[part]
    return binding


def part_of_result(run: Run) -> Part | None:
    """The part that a run's result refers to, if it is the output of a step."""
    return None if run.output is None else output_of(run.output.step)


def rfc3339(milliseconds: int) -> str:
    """Milliseconds since the epoch as RFC 3339 in UTC."""
    moment = dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
