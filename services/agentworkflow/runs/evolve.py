"""What happened: `evolve(run, event) -> run`.

A stale or impossible event changes nothing: the same object comes back, and nothing is logged.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from agentworkflow.runs import due
from agentworkflow.runs.draft import Draft
from agentworkflow.runs.events import (
    CancelRequested,
    DeadlineReached,
    Event,
    PlanExtended,
    RunFinished,
    RunRequested,
    RunStarted,
    SignalReceived,
    StepCompleted,
    StepExpanded,
    StepFailed,
    StepRequested,
    StepSkipped,
    StepWaiting,
    WaitElapsed,
)
from agentworkflow.runs.model import (
    Attempts,
    Items,
    Origin,
    Run,
    RunState,
    StepState,
    slots_without_needs,
)
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.values import Value
from agentworkflow.workflow.plan import StepSpec

MAX_SIGNALS: Final = 100
"""Signals of one name that are kept for steps that do not wait yet."""


def evolve(run: Run, event: Event) -> Run:
    """The run after an event; the same object if the event changes nothing."""
    if run.is_terminal:
        return run
    draft = Draft(run, event.time)
    return draft.freeze() if _HANDLERS[type(event)](draft, event) else run


def _run_requested(draft: Draft, event: RunRequested) -> bool:
    if draft.run.version:
        return False
    draft.changes |= {
        "created": event.time,
        "session": event.session,
        "deadline": event.deadline,
        "origin": Origin(
            kind=event.kind,
            trigger=event.trigger,
            event=event.cause,
            depth=event.depth,
            trace=event.trace,
            random=event.random,
            webhook=event.webhook,
        ),
    }
    if event.deadline is not None:
        draft.arm(due.deadline_timer_of(draft.run.id), event.deadline)
    return True


def _run_started(draft: Draft, event: RunStarted) -> bool:
    if draft.run.started is not None:
        return False
    draft.changes |= {
        "state": RunState.RUNNING,
        "started": event.time,
        "session_entry": draft.entry,
    }
    draft.disarm(due.start_of(draft.run.id))
    draft.arm(due.publication_of(draft.run.id, draft.entry), event.time)
    draft.look_at(*slots_without_needs(draft.run.plan.steps.values()))
    return True


def _step_skipped(draft: Draft, event: StepSkipped) -> bool:
    slot = Slot(event.step)
    if slot not in draft.frontier:
        return False
    draft.end(slot, replace(draft.attempts(slot), state=StepState.SKIPPED))
    return True


def _step_expanded(draft: Draft, event: StepExpanded) -> bool:
    slot = Slot(event.step)
    known = draft.attempts(slot)
    if slot not in draft.frontier or known.items is not None:
        return False
    items = Items(entry=draft.entry, total=event.total)
    expanded = replace(known, items=items, started=event.time)
    if items.is_done:
        draft.end(slot, replace(expanded, state=StepState.SUCCEEDED))
    else:
        draft.put(slot, replace(expanded, state=StepState.REQUESTED))
    return True


def _step_requested(draft: Draft, event: StepRequested) -> bool:
    slot = Slot(event.step, event.item)
    known = draft.attempts(slot)
    if slot in draft.live or event.attempt != known.attempt + 1:
        return False
    draft.put(
        slot,
        replace(
            known,
            state=StepState.REQUESTED,
            attempt=event.attempt,
            deadline=event.deadline,
            started=event.time if known.started is None else known.started,
            retry_after=None,
        ),
    )
    draft.leave(slot)
    draft.live = draft.live.insert(slot, event.attempt)
    draft.changes["requested"] = draft.run.requested + 1
    draft.arm(due.call_of(draft.run.id, slot, event.attempt), event.due)
    draft.arm(due.attempt_timer_of(draft.run.id, slot, event.attempt), event.deadline)
    if event.item is not None and event.attempt == 1:
        _begin_item(draft, event.step, event.item)
    return True


def _begin_item(draft: Draft, step: str, item: int) -> None:
    slot = Slot(step)
    known = draft.attempts(slot)
    if known.items is None:  # pragma: no cover - an item exists only after its list
        return
    items = replace(known.items, next=item + 1, running=known.items.running + 1)
    draft.put(slot, replace(known, items=items))
    if items.next == items.total or items.running >= draft.run.spec(step).parallelism:
        draft.leave(slot)


def _step_completed(draft: Draft, event: StepCompleted) -> bool:
    slot = Slot(event.step, event.item)
    if not _take(draft, slot, event.attempt):
        return False
    draft.end(
        slot,
        replace(
            draft.attempts(slot),
            state=StepState.SUCCEEDED,
            output=draft.entry,
            start_type=event.start_type,
        ),
    )
    return True


def _step_failed(draft: Draft, event: StepFailed) -> bool:
    slot = Slot(event.step, event.item)
    spec = draft.run.plan.steps.get(event.step)
    if spec is None:
        return False
    if event.attempt == 0:
        if slot not in draft.frontier:
            return False
    elif not _take(draft, slot, event.attempt):
        return False
    failed = replace(
        draft.attempts(slot),
        reason=event.reason,
        error=draft.entry,
        start_type=event.start_type,
        retry_after=event.retry_after,
    )
    retried = event.reason in spec.retry.on and 0 < event.attempt <= spec.retry.limit
    if retried:
        draft.put(slot, replace(failed, state=StepState.BACKOFF))
        draft.look_at(slot)
    else:
        _end_failed(draft, slot, spec, failed, event.problem)
    return True


def _end_failed(
    draft: Draft, slot: Slot, spec: StepSpec, failed: Attempts, problem: Mapping[str, Any]
) -> None:
    ended = replace(failed, state=StepState.FAILED)
    if spec.continue_on_failure:
        draft.end(slot, ended)
    else:
        draft.fail_run(slot, ended, dict(problem))


def _take(draft: Draft, slot: Slot, attempt: int) -> bool:
    """Take an attempt out of flight; False if it is not the current one."""
    if draft.live.get(slot) != attempt:
        return False
    draft.live = draft.live.remove(slot)
    draft.disarm(due.call_of(draft.run.id, slot, attempt))
    draft.disarm(due.attempt_timer_of(draft.run.id, slot, attempt))
    return True


def _step_waiting(draft: Draft, event: StepWaiting) -> bool:
    slot = Slot(event.step)
    if slot not in draft.frontier:
        return False
    known = replace(draft.attempts(slot), started=event.time)
    kept = draft.signals.get(event.signal, ()) if event.signal else ()
    if event.signal and kept:
        draft.put_signals(event.signal, kept[1:])
        draft.end(slot, replace(known, state=StepState.SUCCEEDED, output=kept[0]))
        return True
    draft.put(slot, replace(known, state=StepState.WAITING))
    draft.leave(slot)
    draft.waiting += 1
    if event.until is not None:
        draft.arm(due.wait_timer_of(draft.run.id, event.step), event.until)
    if event.signal is not None and draft.run.origin.webhook is not None:
        # Whoever answers for the run has to hear that it waits for them.
        draft.arm(due.webhook_of(draft.run.id), event.time)
    return True


def _signal_received(draft: Draft, event: SignalReceived) -> bool:
    for spec in draft.run.plan.steps.values():
        if spec.wait is None or spec.wait.signal != event.name:
            continue
        slot = Slot(spec.name)
        known = draft.attempts(slot)
        if known.state is StepState.WAITING:
            _stop_waiting(draft, slot)
            draft.end(slot, replace(known, state=StepState.SUCCEEDED, output=draft.entry))
            return True
    kept = draft.signals.get(event.name, ())
    if len(kept) >= MAX_SIGNALS:
        return False
    draft.put_signals(event.name, (*kept, draft.entry))
    return True


def _wait_elapsed(draft: Draft, event: WaitElapsed) -> bool:
    slot = Slot(event.step)
    known = draft.attempts(slot) if event.step in draft.run.plan.steps else Attempts()
    if known.state is not StepState.WAITING:
        return False
    _stop_waiting(draft, slot)
    if event.problem is None:
        draft.end(slot, replace(known, state=StepState.SUCCEEDED, output=draft.entry))
    else:
        failed = replace(known, reason=event.problem.get("reason"), error=draft.entry)
        _end_failed(draft, slot, draft.run.spec(event.step), failed, event.problem)
    return True


def _stop_waiting(draft: Draft, slot: Slot) -> None:
    draft.waiting -= 1
    draft.disarm(due.wait_timer_of(draft.run.id, slot.step))


def _plan_extended(draft: Draft, event: PlanExtended) -> bool:
    specs = draft.run.definition.compile_steps(event.steps)
    added = [spec for spec in specs if spec.name not in draft.run.plan.steps]
    if not added:
        return False
    draft.changes["plan"] = draft.run.plan.grown(added)
    draft.changes["added"] = (*draft.run.added, *event.steps)
    draft.put_plan()
    draft.open += len(added)
    names = {spec.name for spec in added}
    for spec in added:
        open_needs = sum(need in names or not _is_ended(draft, need) for need in spec.needs)
        draft.put(Slot(spec.name), Attempts(open_needs=open_needs))
        if not open_needs:
            draft.look_at(Slot(spec.name))
    return True


def _is_ended(draft: Draft, step: str) -> bool:
    return draft.attempts(Slot(step)).ended is not None


def _cancel_requested(draft: Draft, event: CancelRequested) -> bool:
    if draft.run.cancel is not None:
        return False
    draft.changes["cancel"] = event.reason
    return True


def _deadline_reached(draft: Draft, _event: DeadlineReached) -> bool:
    if draft.run.expired:
        return False
    draft.changes["expired"] = True
    return True


def _run_finished(draft: Draft, event: RunFinished) -> bool:
    run = draft.run
    for slot, attempt in run.live.items():
        draft.disarm(due.call_of(run.id, slot, attempt))
        draft.disarm(due.attempt_timer_of(run.id, slot, attempt))
    draft.live = type(run.live)()
    if run.waiting:
        for name, known in run.steps.items():
            if known.state is StepState.WAITING:
                draft.disarm(due.wait_timer_of(run.id, name))
    draft.waiting = 0
    draft.frontier = ()
    draft.disarm(due.deadline_timer_of(run.id))
    draft.disarm(due.start_of(run.id))
    draft.arm(due.publication_of(run.id, draft.entry), event.time)
    if run.origin.webhook is not None:
        draft.arm(due.webhook_of(run.id), event.time)
    output: Value | None = event.output
    draft.changes |= {
        "state": RunState(event.state),
        "reason": event.reason,
        "problem": event.problem,
        "output": output,
        "output_entry": draft.entry,
        "ended": event.time,
    }
    return True


_HANDLERS: Final[Mapping[type[Event], Callable[[Draft, Any], bool]]] = {
    RunRequested: _run_requested,
    RunStarted: _run_started,
    StepSkipped: _step_skipped,
    StepExpanded: _step_expanded,
    StepRequested: _step_requested,
    StepCompleted: _step_completed,
    StepFailed: _step_failed,
    StepWaiting: _step_waiting,
    WaitElapsed: _wait_elapsed,
    SignalReceived: _signal_received,
    PlanExtended: _plan_extended,
    CancelRequested: _cancel_requested,
    DeadlineReached: _deadline_reached,
    RunFinished: _run_finished,
}
