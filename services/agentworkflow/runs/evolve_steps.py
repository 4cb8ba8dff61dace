"""What happened to the attempts of a step: asked for, answered, failed, skipped, expanded.

Each function folds one event into a draft, and says False if the event is stale or impossible.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentworkflow.runs import due
from agentworkflow.runs.draft import Draft
from agentworkflow.runs.events import (
    StepCompleted,
    StepExpanded,
    StepFailed,
    StepRequested,
    StepSkipped,
)
from agentworkflow.runs.model import Attempts, Items, StepState
from agentworkflow.runs.slots import Slot
from agentworkflow.workflow.plan import StepSpec


def may_start(draft: Draft, slot: Slot) -> bool:
    """Whether everything that a step needs is terminal, and nothing was decided about it yet."""
    return slot in draft.frontier and draft.attempts(slot).state is StepState.PENDING


def step_skipped(draft: Draft, event: StepSkipped) -> bool:
    """The step ends without an output."""
    slot = Slot(event.step)
    if not may_start(draft, slot):
        return False
    draft.end(slot, replace(draft.attempts(slot), state=StepState.SKIPPED))
    return True


def step_expanded(draft: Draft, event: StepExpanded) -> bool:
    """The items of the step may start; a step without any has ended."""
    slot = Slot(event.step)
    if not may_start(draft, slot):
        return False
    known = draft.attempts(slot)
    items = Items(entry=draft.entry, total=event.total)
    expanded = replace(known, items=items, started=event.time)
    if items.is_done:
        draft.end(slot, replace(expanded, state=StepState.SUCCEEDED))
    else:
        draft.put(slot, replace(expanded, state=StepState.REQUESTED))
    return True


def step_requested(draft: Draft, event: StepRequested) -> bool:
    """An attempt is in flight, with a call and a timer due."""
    slot = Slot(event.step, event.item)
    known = draft.attempts(slot)
    if event.attempt != known.attempt + 1 or not _is_next(draft, slot, known):
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


def _is_next(draft: Draft, slot: Slot, known: Attempts) -> bool:
    """Whether an attempt of the slot is what the fold looks for."""
    if slot.item is None or known.attempt:
        return slot in draft.frontier and known.items is None
    items = draft.attempts(Slot(slot.step)).items
    return Slot(slot.step) in draft.frontier and items is not None and slot.item == items.next


def _begin_item(draft: Draft, step: str, item: int) -> None:
    slot = Slot(step)
    known = draft.attempts(slot)
    if known.items is None:  # pragma: no cover - an item exists only after its list
        return
    items = replace(known.items, next=item + 1, running=known.items.running + 1)
    draft.put(slot, replace(known, items=items))
    if items.next == items.total or items.running >= draft.run.spec(step).parallelism:
        draft.leave(slot)


def step_completed(draft: Draft, event: StepCompleted) -> bool:
    """The current attempt brought an output."""
    slot = Slot(event.step, event.item)
    if not _take(draft, slot, event.attempt):
        return False
    known = draft.attempts(slot)
    succeeded = replace(
        known,
        state=StepState.SUCCEEDED,
        output=draft.entry,
        # What earlier attempts ended with is in the log; the step itself has not failed.
        reason=None,
        error=None,
        start_type=event.start_type or known.start_type,
    )
    draft.end(slot, succeeded)
    return True


def step_failed(draft: Draft, event: StepFailed) -> bool:
    """The current attempt, or the step before its first, ended without an output."""
    slot = Slot(event.step, event.item)
    if event.attempt == 0:
        if not may_start(draft, slot):
            return False
    elif not _take(draft, slot, event.attempt):
        return False
    spec = draft.run.spec(event.step)
    known = draft.attempts(slot)
    failed = replace(
        known,
        reason=event.reason,
        error=draft.entry,
        start_type=event.start_type or known.start_type,
        retry_after=event.retry_after,
    )
    retried = event.reason in spec.retry.on and 0 < event.attempt <= spec.retry.limit
    if retried:
        draft.put(slot, replace(failed, state=StepState.BACKOFF))
        draft.look_at(slot)
    else:
        end_failed(draft, slot, spec, failed, event.problem)
    return True


def end_failed(
    draft: Draft, slot: Slot, spec: StepSpec, failed: Attempts, problem: Mapping[str, Any]
) -> None:
    """A slot failed for good: the run goes on without its output, or fails with it."""
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
