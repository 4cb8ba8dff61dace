"""What happened to steps that wait: for a signal, or for a time.

Each function folds one event into a draft, and says False if the event is stale or impossible.
"""

from dataclasses import replace
from typing import Final

from agentworkflow.runs import due
from agentworkflow.runs.draft import Draft
from agentworkflow.runs.events import SignalReceived, StepWaiting, WaitElapsed
from agentworkflow.runs.evolve_steps import end_failed, may_start
from agentworkflow.runs.model import StepState
from agentworkflow.runs.slots import Slot

MAX_SIGNALS: Final = 100
"""Signals of one name that are kept for steps that do not wait yet."""


def step_waiting(draft: Draft, event: StepWaiting) -> bool:
    """The step waits, or takes a signal that came before it."""
    slot = Slot(event.step)
    if not may_start(draft, slot):
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


def signal_received(draft: Draft, event: SignalReceived) -> bool:
    """The first step that waits for the signal has it; if none does, it is kept."""
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


def wait_elapsed(draft: Draft, event: WaitElapsed) -> bool:
    """The time of a waiting step is over."""
    slot = Slot(event.step)
    known = draft.attempts(slot)
    if known.state is not StepState.WAITING:
        return False
    _stop_waiting(draft, slot)
    if event.problem is None:
        draft.end(slot, replace(known, state=StepState.SUCCEEDED, output=draft.entry))
    else:
        failed = replace(known, reason=event.problem.get("reason"), error=draft.entry)
        end_failed(draft, slot, draft.run.spec(event.step), failed, event.problem)
    return True


def _stop_waiting(draft: Draft, slot: Slot) -> None:
    draft.waiting -= 1
    draft.disarm(due.wait_timer_of(draft.run.id, slot.step))
