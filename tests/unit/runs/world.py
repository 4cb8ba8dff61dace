"""One run in memory, as a dispatcher's shell would keep it: log, head fields, due set, clock.

Every event is encoded and read back; after every event the run is compared with the one that its
head gives, and its counts with a naive recount. So each test checks the invariants besides its own
sentence.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentworkflow.runs import due
from agentworkflow.runs.decide import call_input, call_parts, decide, elapsed, wanted
from agentworkflow.runs.events import (
    VALUE_FIELDS,
    CancelRequested,
    DeadlineReached,
    Event,
    RunRequested,
    RunStarted,
    SignalReceived,
    StepCompleted,
    StepFailed,
    decode_event,
    encode_event,
    stow_event,
)
from agentworkflow.runs.evolve import evolve
from agentworkflow.runs.head import run_of_head, unsaved_fields
from agentworkflow.runs.model import STEP_TERMINAL, Run, RunState, StepState, Unsaved, blank
from agentworkflow.runs.reading import EntryField, fields_of_part, value_of_part
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.values import Blob, EventData, Inline, OutputOf, decode_value
from agentworkflow.runs.view import RESULT, parts_of_view, view_of
from agentworkflow.workflow.definition import Definition, compile_resource
from agentworkflow.workflow.parts import Part

RUN = "5b1f0c1e-2f64-5d7e-9d1c-6a5a3c1b7a10-00"
SECRET = "a secret that nobody may see"
START = 1_700_000_000_000

Step = Mapping[str, Any]


def build_definition(
    steps: Sequence[Step],
    *,
    functions: Mapping[str, Mapping[str, Any]] | None = None,
    **spec: Any,
) -> Definition:
    """A workflow of these steps. Functions that are only named get the defaults."""
    named: dict[str, Mapping[str, Any]] = {
        step["function"]: {} for step in steps if "function" in step
    }
    listed = [
        {"name": name, "handler": "shop:handler", **settings}
        for name, settings in {"f": {}, **named, **(functions or {})}.items()
    ]
    resource = {
        "apiVersion": "agentworkflow.dev/v1alpha1",
        "kind": "AgentWorkflow",
        "metadata": {"name": "shop"},
        "spec": {"functions": listed, "steps": list(steps), **spec},
    }
    return compile_resource(resource)


class World:
    """A run and its surroundings. `give` is one commit; the rest are shorthands for it."""

    def __init__(
        self,
        definition: Definition,
        *,
        input: Any = None,  # noqa: A002 - the word of the resource
        event: Mapping[str, Any] | None = None,
        session: str | None = None,
        session_value: Any = None,
        webhook: str | None = None,
        started: bool = True,
        checked: bool = True,
    ) -> None:
        self.definition = definition
        self.now = START
        self.log: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self.head: dict[str, str] = {}
        self.due: dict[str, int] = {}
        self.checked = checked
        self.run = blank(RUN, SECRET, definition)
        self.session_value = session_value
        deadline = definition.deadline_ms
        requested = RunRequested(
            time=self.now,
            digest=definition.digest,
            input=EventData() if event else Inline({} if input is None else input),
            kind="api" if event is None else "event",
            event=None if event is None else Inline(dict(event)),
            session=session,
            webhook=webhook,
            deadline=None if deadline is None else self.now + deadline,
        )
        self.give(requested, *([self.start_event()] if started else []))

    # --- what a test gives ---------------------------------------------------------------

    def start_event(self) -> RunStarted:
        return RunStarted(time=self.now, session=Inline(self.session_value))

    def give(self, *events: Event) -> list[bool]:
        """Fold events, settle and commit; says which of them changed the run."""
        applied = [self.fold(event) for event in events]
        self.settle()
        self.commit()
        return applied

    def lose(self, *events: Event) -> None:
        """Fold events and die before the commit: nothing of it happened."""
        committed = len(self.log)
        for event in events:
            self.fold(event)
        self.settle()
        del self.log[committed:]
        self.restart()

    def complete(self, step: str, output: Any = None, item: int | None = None, **more: Any) -> bool:
        return self.give(self.completed(step, output, item, **more))[0]

    def completed(
        self, step: str, output: Any = None, item: int | None = None, **more: Any
    ) -> StepCompleted:
        """The answer of the current attempt, or of `attempt`."""
        attempt = more.pop("attempt", self.run.attempts(Slot(step, item)).attempt)
        return StepCompleted(
            time=self.now, step=step, item=item, attempt=attempt, output=Inline(output), **more
        )

    def fail(
        self, step: str, reason: str = "Failure", item: int | None = None, **more: Any
    ) -> bool:
        return self.give(self.failed(step, reason, item, **more))[0]

    def failed(
        self, step: str, reason: str = "Failure", item: int | None = None, **more: Any
    ) -> StepFailed:
        """The failure of the current attempt, or of `attempt`."""
        attempt = more.pop("attempt", self.run.attempts(Slot(step, item)).attempt)
        problem = {"title": f"{step} broke", "reason": reason}
        return StepFailed(
            time=self.now,
            step=step,
            item=item,
            attempt=attempt,
            reason=reason,
            problem=problem,
            **more,
        )

    def signal(self, name: str, value: Any = None) -> bool:
        return self.give(SignalReceived(time=self.now, name=name, output=Inline(value)))[0]

    def cancel(self, reason: str = "CancelRequested") -> bool:
        return self.give(CancelRequested(time=self.now, reason=reason))[0]

    def fire(self, member: str) -> bool:
        """Let a timer of the due set fire, at its time or now, whichever is later."""
        self.now = max(self.now, self.due.get(member, 0))
        return self.give(self.timer_event(member))[0]

    def timer_event(self, member: str) -> Event:
        """What a shell folds when a timer is due."""
        entry = due.parse_due(member)
        slot = entry.slot or Slot("")
        if entry.kind == "deadline":
            return DeadlineReached(time=self.now)
        if entry.kind == "wait":
            return elapsed(self.run, slot.step, self.now)
        return self.failed(slot.step, "DeadlineExceeded", slot.item, attempt=entry.number)

    def restart(self) -> None:
        """Go on from what was committed, as another dispatcher would."""
        self.run = self.of_head(self.head)

    # --- the shell -----------------------------------------------------------------------

    def fold(self, event: Event) -> bool:
        kept, blobs = stow_event(event)
        read = decode_event(encode_event(kept))
        assert read is not None
        run = evolve(self.run, read)
        if run is self.run:
            return False
        assert run.version == self.run.version + 1
        self.run = run
        self.log.append(encode_event(kept))
        self.blobs |= blobs
        if self.checked:
            self.check()
        return True

    def settle(self) -> None:
        for _ in range(10_000):
            commands = self.decide()
            if not commands:
                return
            for command in commands:
                self.fold(command)
        raise AssertionError("the run never settles")

    def decide(self) -> list[Event]:
        return decide(self.run, self.load(wanted(self.run)), self.now)

    def commit(self) -> None:
        self.head |= unsaved_fields(self.run)
        self.due |= self.run.unsaved.due
        for member in self.run.unsaved.undue:
            self.due.pop(member, None)
        if self.run.unsaved != Unsaved():
            self.run = replace(self.run, unsaved=Unsaved())
        if self.checked:
            self.check_due()

    def load(self, parts: Iterable[Part]) -> dict[Part, Any]:
        """The parts, read from the log and the blobs alone."""
        loaded = {}
        for part in parts:
            read: dict[EntryField, Any] = {}
            for field in fields_of_part(self.run, part):
                self._read(field, read)
            loaded[part] = value_of_part(self.run, part, read)
        return loaded

    def _read(self, field: EntryField, read: dict[EntryField, Any]) -> None:
        record = json.loads(self.log[field[0] - 1])
        if field[1] not in record:
            return
        if field[1] == "problem":
            read[field] = record["problem"]
            return
        assert field[1] in VALUE_FIELDS
        value = decode_value(record[field[1]])
        if isinstance(value, Inline):
            read[field] = value.value
        elif isinstance(value, Blob):
            read[field] = json.loads(self.blobs[value.digest])

    # --- what a test reads ---------------------------------------------------------------

    @property
    def state(self) -> str:
        return str(self.run.state)

    @property
    def reason(self) -> str | None:
        return self.run.reason

    @property
    def output(self) -> Any:
        assert self.run.state is RunState.SUCCEEDED, (self.state, self.reason, self.run.problem)
        if isinstance(self.run.output, OutputOf):
            part = Part("output", self.run.output.step)
            return self.load([part])[part]
        read: dict[EntryField, Any] = {}
        field = (self.run.output_entry or 0, "output")
        self._read(field, read)
        return read.get(field)

    @property
    def problem(self) -> Mapping[str, Any]:
        assert self.run.problem is not None
        return self.run.problem

    @property
    def view(self) -> dict[str, Any]:
        values = self.load(parts_of_view(self.run))
        if self.run.state is RunState.SUCCEEDED and self.run.output is None:
            values[RESULT] = self.output
        return view_of(self.run, values)

    def step(self, name: str) -> dict[str, Any]:
        """A step as the API shows it."""
        found: dict[str, Any] = next(s for s in self.view["steps"] if s["name"] == name)
        return found

    @property
    def states(self) -> dict[str, str]:
        """Step → state, as the API shows it."""
        return {step["name"]: step["state"] for step in self.view["steps"]}

    @property
    def calls(self) -> list[str]:
        """Calls in flight, as `step` or `step/item`, in order."""
        slots = sorted(self.run.live, key=lambda slot: (slot.step, slot.item or 0))
        return [str(slot) for slot in slots]

    def input(self, step: str, item: int | None = None) -> Any:
        """The input that a call in flight is made with."""
        slot = Slot(step, item)
        assert slot in self.run.live
        return call_input(self.run, slot, self.load(call_parts(self.run, slot)))

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.log]

    @property
    def types(self) -> list[str]:
        return [entry["type"] for entry in self.entries]

    def due_of(self, kind: str) -> dict[str, int]:
        """Due members of one kind."""
        return {m: at for m, at in self.due.items() if due.parse_due(m).kind == kind}

    # --- what always holds ---------------------------------------------------------------

    def of_head(self, fields: Mapping[str, str]) -> Run:
        return run_of_head(RUN, SECRET, len(self.log), fields, self.definition)

    def rebuilt(self) -> Run:
        """The run from its log alone."""
        run = blank(RUN, SECRET, self.definition)
        for text in self.log:
            event = decode_event(text)
            assert event is not None
            following = evolve(run, event)
            assert following is not run, text
            run = following
        return replace(run, unsaved=Unsaved())

    def check(self) -> None:
        run = self.run
        assert self.of_head(self.head | unsaved_fields(run)) == replace(run, unsaved=Unsaved())
        states = {name: run.attempts(Slot(name)).state for name in run.plan.steps}
        over = run.is_terminal
        assert run.open == sum(state not in STEP_TERMINAL for state in states.values())
        waiting = sum(state is StepState.WAITING for state in states.values())
        assert run.waiting == (0 if over else waiting)
        assert dict(run.live) == ({} if over else self._live())
        assert run.requested == self.types.count("step.requested")
        for name, known in run.steps.items():
            if known.items is None:
                continue
            items = [run.items[Slot(name, n)].state for n in range(known.items.next)]
            open_items = {StepState.REQUESTED, StepState.BACKOFF}
            assert known.items.running == sum(state in open_items for state in items)
            assert known.items.succeeded == items.count(StepState.SUCCEEDED)
            assert known.items.failed == items.count(StepState.FAILED)
        if over:
            assert run.frontier == ()
        elif not run.is_ending and run.started is not None:
            assert set(run.frontier) == self._frontier(states)
            assert len(run.frontier) == len(set(run.frontier))

    def _live(self) -> dict[Slot, int]:
        found = {Slot(name): known for name, known in self.run.steps.items() if not known.items}
        found |= dict(self.run.items.items())
        requested = StepState.REQUESTED
        return {slot: known.attempt for slot, known in found.items() if known.state is requested}

    def _frontier(self, states: Mapping[str, StepState]) -> set[Slot]:
        run = self.run
        found = {slot for slot, known in run.items.items() if known.state is StepState.BACKOFF}
        for name, spec in run.plan.steps.items():
            known = run.attempts(Slot(name))
            ready = all(states[need] in STEP_TERMINAL for need in spec.needs)
            assert (known.open_needs == 0) == ready
            room = (
                known.state is StepState.REQUESTED
                and known.items is not None
                and known.items.next < known.items.total
                and known.items.running < spec.parallelism
            )
            if known.state is StepState.BACKOFF or room:
                found.add(Slot(name))
            if known.state is StepState.PENDING and ready:
                found.add(Slot(name))
        return found

    def check_due(self) -> None:
        """After a commit nothing is undecided, and exactly what is needed is due."""
        run = self.run
        assert self.decide() == []
        expected = set()
        if not run.is_terminal:
            for slot, attempt in self._live().items():
                expected |= {due.call_of(RUN, slot, attempt)}
                expected |= {due.attempt_timer_of(RUN, slot, attempt)}
            for name, known in run.steps.items():
                wait = run.spec(name).wait
                if known.state is StepState.WAITING and wait and wait.timeout_ms is not None:
                    expected.add(due.wait_timer_of(RUN, name))
            if run.deadline is not None:
                expected.add(due.deadline_timer_of(RUN))
        news = self.due_of("pub") | self.due_of("hook")
        assert self.due.keys() - news.keys() == expected
