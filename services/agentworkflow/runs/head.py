"""The head of a run: the small fields that a commit writes, and the run made from them.

One field for the run, one per step, one per item, one per signal name. A field is written only
when its part changed, so a commit costs what it brought.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from rpds import HashTrieMap

from agentworkflow.runs.model import (
    STEP_TERMINAL,
    TERMINAL,
    Attempts,
    Failure,
    Items,
    Origin,
    Run,
    RunState,
    StepState,
)
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.values import OutputOf
from agentworkflow.workflow.definition import Definition

RUN_FIELD: Final = "run"
PLAN_FIELD: Final = "plan"

_RUN_LETTERS: Final = {
    RunState.PENDING: "P",
    RunState.RUNNING: "R",
    RunState.WAITING: "W",
    RunState.SUCCEEDED: "S",
    RunState.FAILED: "F",
    RunState.CANCELLED: "C",
}
_STEP_LETTERS: Final = {
    StepState.PENDING: "P",
    StepState.REQUESTED: "R",
    StepState.BACKOFF: "B",
    StepState.WAITING: "W",
    StepState.SUCCEEDED: "S",
    StepState.FAILED: "F",
    StepState.SKIPPED: "K",
    StepState.CANCELLED: "C",
}
REQUESTED: Final = _STEP_LETTERS[StepState.REQUESTED]
"""How the field of a step or item says that an attempt is running."""

_RUN_STATES: Final = {letter: state for state, letter in _RUN_LETTERS.items()}
_STEP_STATES: Final = {letter: state for state, letter in _STEP_LETTERS.items()}

_ATTEMPT_KEYS: Final = {
    "need": "open_needs",
    "n": "attempt",
    "rs": "reason",
    "out": "output",
    "err": "error",
    "dl": "deadline",
    "at": "started",
    "end": "ended",
    "typ": "start_type",
    "ra": "retry_after",
}


def field_of_slot(slot: Slot) -> str:
    """The name of the field of a step or an item."""
    return f"s:{slot.step}" if slot.item is None else f"i:{slot.step}:{slot.item}"


def field_of_signal(name: str) -> str:
    """The name of the field of a signal that no step has taken."""
    return f"g:{name}"


def unsaved_fields(run: Run) -> dict[str, str]:
    """The fields that a commit has to write, encoded."""
    return {name: _encode_field(run, name) for name in run.unsaved.fields}


def _encode_field(run: Run, name: str) -> str:
    if name == RUN_FIELD:
        return _json(_run_record(run))
    if name == PLAN_FIELD:
        return _json(list(run.added))
    kind, rest = name.split(":", 1)
    if kind == "g":
        return _json(list(run.signals.get(rest) or ()))
    if kind == "s":
        return _json(_attempts_record(run.steps[rest]))
    step, item = rest.rsplit(":", 1)
    return _json(_attempts_record(run.items[Slot(step, int(item))]))


def _run_record(run: Run) -> dict[str, Any]:
    record: dict[str, Any] = {
        "st": _RUN_LETTERS[run.state],
        "dg": run.definition.digest,
        "at": run.created,
        "kind": run.origin.kind,
        "req": run.requested,
    }
    optional: dict[str, Any] = {
        "rs": run.reason,
        "pb": run.problem,
        "tr": run.origin.trigger,
        "ev": run.origin.event,
        "dp": run.origin.depth or None,
        "tp": run.origin.trace,
        "rnd": run.origin.random or None,
        "hook": run.origin.webhook,
        "sess": run.session,
        "go": run.started,
        "end": run.ended,
        "dl": run.deadline,
        "se": run.session_entry,
        "out": None if run.output is None else run.output.step,
        "oe": run.output_entry,
        "fr": [list(slot) for slot in run.frontier] or None,
        "cn": run.cancel,
        "ex": run.expired or None,
    }
    if run.failure is not None:
        optional["fl"] = [*run.failure.slot, run.failure.reason, run.failure.problem]
    return record | {key: value for key, value in optional.items() if value is not None}


def _attempts_record(known: Attempts) -> dict[str, Any]:
    record: dict[str, Any] = {"st": _STEP_LETTERS[known.state], "n": known.attempt}
    for key, name in _ATTEMPT_KEYS.items():
        value = getattr(known, name)
        if value is not None and key != "n" and not (key == "need" and value == 0):
            record[key] = value
    if known.items is not None:
        items = known.items
        record["it"] = [
            items.entry,
            items.total,
            items.next,
            items.running,
            items.succeeded,
            items.failed,
        ]
    return record


def digest_of_head(fields: Mapping[str, str]) -> str:
    """The digest of the definition that a head pins."""
    return str(json.loads(fields[RUN_FIELD])["dg"])


def run_of_head(
    run: str, secret: str, version: int, fields: Mapping[str, str], definition: Definition
) -> Run:
    """The run that a head describes.

    Args:
        run: the run id.
        secret: of the run.
        version: number of events in its log.
        fields: every field of the head but the store's own.
        definition: the one with the digest of `digest_of_head`.
    """
    record = json.loads(fields[RUN_FIELD])
    added = tuple(json.loads(fields[PLAN_FIELD])) if PLAN_FIELD in fields else ()
    plan = definition.plan.grown(definition.compile_steps(added)) if added else definition.plan
    steps: dict[str, Attempts] = {}
    items: dict[Slot, Attempts] = {}
    signals: dict[str, tuple[int, ...]] = {}
    for name, text in fields.items():
        kind, _, rest = name.partition(":")
        if kind == "s":
            steps[rest] = _attempts(json.loads(text))
        elif kind == "i":
            step, item = rest.rsplit(":", 1)
            items[Slot(step, int(item))] = _attempts(json.loads(text))
        elif kind == "g":
            signals[rest] = tuple(json.loads(text))
    live: dict[Slot, int] = {}
    waiting = 0
    state = _RUN_STATES[record["st"]]
    if state not in TERMINAL:
        live |= {Slot(name): known.attempt for name, known in steps.items() if _is_live(known)}
        live |= {slot: known.attempt for slot, known in items.items() if _is_live(known)}
        waiting = sum(known.state is StepState.WAITING for known in steps.values())
    ended = sum(known.state in STEP_TERMINAL for known in steps.values())
    return Run(
        id=run,
        secret=secret,
        definition=definition,
        plan=plan,
        added=added,
        version=version,
        state=state,
        reason=record.get("rs"),
        problem=record.get("pb"),
        origin=_origin(record),
        session=record.get("sess"),
        created=record["at"],
        started=record.get("go"),
        ended=record.get("end"),
        deadline=record.get("dl"),
        session_entry=record.get("se"),
        output=OutputOf(record["out"]) if "out" in record else None,
        output_entry=record.get("oe"),
        open=len(plan.steps) - ended,
        waiting=waiting,
        requested=record["req"],
        steps=HashTrieMap(steps),
        items=HashTrieMap(items),
        live=HashTrieMap(live),
        signals=HashTrieMap(signals),
        frontier=tuple(Slot(step, item) for step, item in record.get("fr", ())),
        failure=_failure(record.get("fl")),
        cancel=record.get("cn"),
        expired=record.get("ex", False),
    )


def _is_live(known: Attempts) -> bool:
    return known.state is StepState.REQUESTED and known.items is None


def _attempts(record: Mapping[str, Any]) -> Attempts:
    known = {name: record[key] for key, name in _ATTEMPT_KEYS.items() if key in record}
    items = Items(*record["it"]) if "it" in record else None
    return Attempts(state=_STEP_STATES[record["st"]], items=items, **known)


def _origin(record: Mapping[str, Any]) -> Origin:
    return Origin(
        kind=record["kind"],
        trigger=record.get("tr"),
        event=record.get("ev"),
        depth=record.get("dp", 0),
        trace=record.get("tp"),
        random=record.get("rnd", False),
        webhook=record.get("hook"),
    )


def _failure(record: list[Any] | None) -> Failure | None:
    if record is None:
        return None
    step, item, reason, problem = record
    return Failure(Slot(step, item), reason, problem)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
