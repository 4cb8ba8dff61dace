"""A run while one event is folded into it: the changes, collected and frozen once.

It is the only mutable thing in this package, and it never leaves `evolve`.
"""

from dataclasses import replace
from typing import Any

from agentworkflow.runs.head import PLAN_FIELD, RUN_FIELD, field_of_signal, field_of_slot
from agentworkflow.runs.model import Attempts, Failure, Run, RunState, StepState, Unsaved
from agentworkflow.runs.slots import Slot


class Draft:
    """Collects what an event changes; `freeze` makes the new run."""

    def __init__(self, run: Run, time: int) -> None:
        self.run = run
        self.time = time
        self.entry = run.version + 1
        self.changes: dict[str, Any] = {}
        self.steps = run.steps
        self.items = run.items
        self.live = run.live
        self.signals = run.signals
        self.open = run.open
        self.waiting = run.waiting
        self.frontier = run.frontier
        self._fields = run.unsaved.fields
        self._marks = run.unsaved.marks

    def attempts(self, slot: Slot) -> Attempts:
        """What is known of a slot, with the changes so far."""
        changed = self.steps.get(slot.step) if slot.item is None else self.items.get(slot)
        return changed or self.run.attempts(slot)

    def put(self, slot: Slot, attempts: Attempts) -> None:
        """Record what is now known of a slot."""
        if slot.item is None:
            self.steps = self.steps.insert(slot.step, attempts)
        else:
            self.items = self.items.insert(slot, attempts)
        self._fields = self._fields.insert(field_of_slot(slot))

    def put_signals(self, name: str, entries: tuple[int, ...]) -> None:
        """Record the signals of a name that no step has taken."""
        self.signals = self.signals.insert(name, entries)
        self._fields = self._fields.insert(field_of_signal(name))

    def put_plan(self) -> None:
        """Record that the plan has grown."""
        self._fields = self._fields.insert(PLAN_FIELD)

    def arm(self, member: str, at: int) -> None:
        """Add to the due set."""
        self._marks = self._marks.push_front((member, at))

    def disarm(self, member: str) -> None:
        """Remove from the due set."""
        self._marks = self._marks.push_front((member, None))

    def look_at(self, *slots: Slot) -> None:
        """Let `decide` look at slots."""
        self.frontier += tuple(slot for slot in slots if slot not in self.frontier)

    def leave(self, slot: Slot) -> None:
        """Nothing is to be decided about a slot any more."""
        if slot in self.frontier:
            self.frontier = tuple(other for other in self.frontier if other != slot)

    def end(self, slot: Slot, attempts: Attempts) -> None:
        """A slot is terminal and the run goes on: whatever waited for it may start."""
        self._close(slot, attempts)
        if slot.item is None:
            self._release(slot.step)
            return
        step = Slot(slot.step)
        known = self._counted(step, attempts)
        if known.items is not None and known.items.is_done:
            self.end(step, replace(known, state=StepState.SUCCEEDED))
            return
        self.put(step, known)
        if known.items is not None and known.items.next < known.items.total:
            self.look_at(step)

    def fail_run(self, slot: Slot, attempts: Attempts, problem: dict[str, Any]) -> None:
        """A slot is terminal and ends the run: nothing that waited for it starts."""
        self._close(slot, attempts)
        if slot.item is not None:
            step = Slot(slot.step)
            known = self._counted(step, attempts)
            failed = replace(
                known, state=StepState.FAILED, reason=attempts.reason, error=attempts.error
            )
            self._close(step, failed)
        self.open -= 1
        self.changes["failure"] = Failure(slot, attempts.reason or "Failure", problem)

    def freeze(self) -> Run:
        """The run after the event."""
        state = self.changes.pop("state", None) or self._flow_state()
        return replace(
            self.run,
            version=self.entry,
            state=state,
            steps=self.steps,
            items=self.items,
            live=self.live,
            signals=self.signals,
            open=self.open,
            waiting=self.waiting,
            frontier=self.frontier,
            unsaved=Unsaved(self._fields.insert(RUN_FIELD), self._marks),
            **self.changes,
        )

    def _flow_state(self) -> RunState:
        if self.run.state is RunState.PENDING:
            return RunState.PENDING
        idle = not self.live and not self.frontier
        return RunState.WAITING if idle and self.waiting else RunState.RUNNING

    def _release(self, step: str) -> None:
        self.open -= 1
        for name in self.run.plan.dependents.get(step, ()):
            slot = Slot(name)
            known = self.attempts(slot)
            self.put(slot, replace(known, open_needs=known.open_needs - 1))
            if known.open_needs == 1:
                self.look_at(slot)

    def _close(self, slot: Slot, attempts: Attempts) -> None:
        self.put(slot, replace(attempts, ended=self.time, retry_after=None, deadline=None))
        self.leave(slot)

    def _counted(self, step: Slot, item: Attempts) -> Attempts:
        """The step of an item that ended, with the item in its counts."""
        known = self.attempts(step)
        items = known.items
        if items is None:  # pragma: no cover - an item exists only after its list
            return known
        succeeded = item.state is StepState.SUCCEEDED
        return replace(
            known,
            start_type=item.start_type or known.start_type,
            items=replace(
                items,
                running=items.running - 1,
                succeeded=items.succeeded + succeeded,
                failed=items.failed + (not succeeded),
            ),
        )
