"""What happened: `evolve(run, event) -> run`.

A stale or impossible event changes nothing: the same object comes back, and nothing is logged.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from agentworkflow.runs import due, evolve_steps, evolve_waits
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
    Origin,
    Run,
    RunState,
    StepState,
    slots_without_needs,
)
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.values import OutputOf


def evolve(run: Run, event: Event) -> Run:
    """The run after an event; the same object if the event changes nothing.

    The first cause of a run's end decides how it ends: between that and the end itself, which are
    in one commit, nothing else counts, in whatever order a batch brings it.
    """
    if run.is_terminal or (run.is_ending and not isinstance(event, RunFinished)):
        return run
    if (run.version == 0) is not isinstance(event, RunRequested):
        return run
    draft = Draft(run, event.time)
    return draft.freeze() if _HANDLERS[type(event)](draft, event) else run


def _run_requested(draft: Draft, event: RunRequested) -> bool:
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


def _plan_extended(draft: Draft, event: PlanExtended) -> bool:
    specs = draft.run.definition.compile_steps(event.steps)
    added = draft.run.plan.additions(specs)
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
    draft.changes["cancel"] = event.reason
    return True


def _deadline_reached(draft: Draft, _event: DeadlineReached) -> bool:
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
    draft.changes |= {
        "state": RunState(event.state),
        "reason": event.reason,
        "problem": event.problem,
        "output": event.output if isinstance(event.output, OutputOf) else None,
        "output_entry": draft.entry,
        "ended": event.time,
    }
    return True


_HANDLERS: Final[Mapping[type[Event], Callable[[Draft, Any], bool]]] = {
    RunRequested: _run_requested,
    RunStarted: _run_started,
    StepSkipped: evolve_steps.step_skipped,
    StepExpanded: evolve_steps.step_expanded,
    StepRequested: evolve_steps.step_requested,
    StepCompleted: evolve_steps.step_completed,
    StepFailed: evolve_steps.step_failed,
    StepWaiting: evolve_waits.step_waiting,
    WaitElapsed: evolve_waits.wait_elapsed,
    SignalReceived: evolve_waits.signal_received,
    PlanExtended: _plan_extended,
    CancelRequested: _cancel_requested,
    DeadlineReached: _deadline_reached,
    RunFinished: _run_finished,
}
