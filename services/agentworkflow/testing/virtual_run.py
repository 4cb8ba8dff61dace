"""One run in memory, folded by the real fold, with a clock that the test moves.

It does what a dispatcher's shell does (fold, call, fire timers), but keeps the log in a list and
the due set in a dict. Nothing waits: a call takes no time, and time passes when it is told to.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agentworkflow.functions.context import Context
from agentworkflow.runs.decide import (
    call_input,
    call_parts,
    decide,
    elapsed,
    wanted,
)
from agentworkflow.runs.due import parse_due
from agentworkflow.runs.events import (
    CancelRequested,
    DeadlineReached,
    Event,
    SignalReceived,
    StepCompleted,
    StepFailed,
    decode_event,
    encode_event,
)
from agentworkflow.runs.evolve import evolve
from agentworkflow.runs.ids import idempotency_key
from agentworkflow.runs.model import Run, Unsaved
from agentworkflow.runs.problems import expression_problem
from agentworkflow.runs.reading import fields_of_part, value_of_part
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.values import Inline
from agentworkflow.runs.view import RESULT, parts_of_view, view_of
from agentworkflow.testing.calls import CallResult, Progress
from agentworkflow.workflow.durations import parse_duration
from agentworkflow.workflow.expressions import EvaluationError
from agentworkflow.workflow.parts import Part

Caller = Callable[[str, Any, Context], CallResult]
_FOLDED_TIMERS = frozenset({"attempt", "deadline", "wait", "call"})


@dataclass(frozen=True, slots=True)
class StepCall:
    """One call that a run made.

    Attributes:
        function: the function's name.
        step: the step's name.
        item: index in a `forEach` step, or None.
        attempt: from 1.
        input: what the function got.
        result: what became of it.
    """

    function: str
    step: str
    item: int | None
    attempt: int
    input: Any
    result: CallResult


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step of a run, as the API shows it."""

    name: str
    state: str
    reason: str | None
    attempts: int
    output: Any
    problem: Mapping[str, Any] | None


class StuckError(AssertionError):
    """A run waits for something that only the test can give it."""


class VirtualRun:
    """A run that a `WorkflowTest` started. It stands still until the test moves it."""

    def __init__(self, run: Run, events: Iterable[Event], call: Caller) -> None:
        self._run = run
        self._log: list[Event] = []
        self._due: dict[str, int] = {}
        self._call = call
        self._calls: list[StepCall] = []
        self._now = 0
        for event in events:
            self._now = event.time
            self._fold(event)
        self._settle()
        self._work()

    # --- what a test reads ----------------------------------------------------------------

    @property
    def id(self) -> str:
        """The run's id."""
        return self._run.id

    @property
    def state(self) -> str:
        """`Pending`, `Running`, `Waiting`, `Succeeded`, `Failed` or `Cancelled`."""
        return str(self._run.state)

    @property
    def reason(self) -> str | None:
        """One word for how the run ended, such as `StepFailed`; None for success."""
        return self._run.reason

    @property
    def problem(self) -> Mapping[str, Any] | None:
        """Why the run ended otherwise than by success."""
        return self._run.problem

    @property
    def output(self) -> Any:
        """The run's result.

        Raises:
            StuckError: the run has none; the message says its state and problem.
        """
        view = self.view
        if self.state != "Succeeded":
            raise StuckError(
                f"run of {self._run.workflow} has no output: it is {self.state}"
                f"{f' ({self.reason})' if self.reason else ''}, problem {view['problem']}, steps "
                + ", ".join(f"{step['name']}: {step['state']}" for step in view["steps"])
            )
        return view["output"]

    @property
    def steps(self) -> dict[str, StepResult]:
        """The steps by name, in the order of the workflow."""
        return {
            step["name"]: StepResult(
                name=step["name"],
                state=step["state"],
                reason=step["reason"],
                attempts=step["attempts"],
                output=step["output"],
                problem=step["problem"],
            )
            for step in self.view["steps"]
        }

    @property
    def calls(self) -> tuple[StepCall, ...]:
        """Every call that was made, in order."""
        return tuple(self._calls)

    def calls_of(self, function: str) -> tuple[StepCall, ...]:
        """The calls of one function, in order."""
        return tuple(call for call in self._calls if call.function == function)

    @property
    def progress(self) -> tuple[Progress, ...]:
        """Every progress report of every call, in order."""
        return tuple(report for call in self._calls for report in call.result.progress)

    @property
    def view(self) -> dict[str, Any]:
        """The run as the API shows it."""
        values = self._load(parts_of_view(self._run))
        ending = getattr(self._log[-1], "output", None) if self._run.is_terminal else None
        if isinstance(ending, Inline):
            values[RESULT] = ending.value
        return view_of(self._run, values)

    @property
    def now(self) -> datetime:
        """The time of this run."""
        return datetime.fromtimestamp(self._now / 1000, UTC)

    @property
    def new_session(self) -> tuple[str, Any] | None:
        """The session and the value that the run gave it; None if it gave none."""
        value = getattr(self._log[-1], "session", None)
        if not self._run.is_terminal or self._run.session is None or not isinstance(value, Inline):
            return None
        return self._run.session, value.value

    # --- what a test does -----------------------------------------------------------------

    def signal(self, name: str, value: Any = None) -> None:
        """Give the run a signal, now or before its step waits for it.

        Raises:
            StuckError: the run has ended, or no step waits for a signal of this name.
        """
        if self._run.is_terminal:
            raise StuckError(f"the run is {self.state}: it takes no signal {name!r}.")
        waits = (spec.wait for spec in self._run.plan.steps.values())
        known = sorted(wait.signal for wait in waits if wait is not None and wait.signal)
        if name not in known:
            raise StuckError(f"no step waits for the signal {name!r}; known here: {known}.")
        self._input(SignalReceived(time=self._now, name=name, output=Inline(value)))

    def cancel(self) -> None:
        """Cancel the run."""
        self._input(CancelRequested(time=self._now))

    def advance(self, duration: str | timedelta) -> None:
        """Let time pass: every timer within it fires in order.

        Args:
            duration: as in the resource, such as `24h`, or a timedelta.
        """
        seconds = (
            duration.total_seconds()
            if isinstance(duration, timedelta)
            else parse_duration(duration)
        )
        end = self._now + round(seconds * 1000)
        while (member := self._next()) is not None and self._due[member] <= end:
            self._fire(member)
        self._now = max(self._now, end)

    def finish(self) -> None:
        """Let as much time pass as the run needs to end, or to wait for a signal without end."""
        while (member := self._next()) is not None:
            self._fire(member)

    # --- the shell ------------------------------------------------------------------------

    def _input(self, event: Event) -> None:
        if self._fold(event):
            self._settle()
        self._work()

    def _work(self) -> None:
        """Make every call, and pass over the delays between attempts, until the run waits."""
        while any(parse_due(member).kind == "call" for member in self._due):
            member = self._next()
            if member is None:  # pragma: no cover - a call is a member
                return
            self._fire(member)

    def _next(self) -> str | None:
        if self._run.is_terminal or not self._due:
            return None
        # Of what is due at one time calls come first: a handler that takes no time is in time.
        return min(self._due, key=lambda each: (self._due[each], not each.startswith("call|")))

    def _fire(self, member: str) -> None:
        self._now = max(self._now, self._due.pop(member))
        entry = parse_due(member)
        slot = entry.slot or Slot("")
        if entry.kind == "call":
            self._perform(slot, entry.number)
        elif entry.kind == "wait":
            self._fold(elapsed(self._run, slot.step, self._now))
        elif entry.kind == "deadline":
            self._fold(DeadlineReached(time=self._now))
        self._settle()
        if entry.kind != "call":
            self._work()

    def _fold(self, event: Event) -> bool:
        read = decode_event(encode_event(event))
        if read is None:  # pragma: no cover - every event of the fold is read back
            return False
        run = evolve(self._run, read)
        if run is self._run:
            return False
        for member, at in run.unsaved.due.items():
            if parse_due(member).kind in _FOLDED_TIMERS:
                self._due[member] = at
        for member in run.unsaved.undue:
            self._due.pop(member, None)
        self._run = replace(run, unsaved=Unsaved())
        self._log.append(read)
        return True

    def _settle(self) -> None:
        while commands := decide(self._run, self._load(wanted(self._run)), self._now):
            for command in commands:
                self._fold(command)

    def _perform(self, slot: Slot, attempt: int) -> None:
        run = self._run
        spec = run.spec(slot.step)
        function = spec.function or ""
        try:
            given = call_input(run, slot, self._load(call_parts(run, slot)))
        except EvaluationError as error:
            failed = CallResult(reason="ExpressionFailed", problem=expression_problem(error))
            self._end_attempt(slot, attempt, failed)
            return
        context = Context(
            function=function,
            workflow=run.workflow,
            namespace=run.namespace,
            run=run.id,
            step=slot.step,
            item=slot.item,
            attempt=attempt,
            session=run.session,
            deadline=datetime.now(UTC) + timedelta(milliseconds=spec.timeout_ms),
            idempotency_key=idempotency_key(run.id, slot.step, slot.item),
        )
        result = self._call(function, given, context)
        self._calls.append(StepCall(function, slot.step, slot.item, attempt, given, result))
        self._end_attempt(slot, attempt, result)

    def _end_attempt(self, slot: Slot, attempt: int, result: CallResult) -> None:
        ended: Event
        if result.reason is None:
            ended = StepCompleted(
                time=self._now,
                step=slot.step,
                item=slot.item,
                attempt=attempt,
                output=Inline(result.value),
            )
        else:
            after = result.retry_after
            ended = StepFailed(
                time=self._now,
                step=slot.step,
                item=slot.item,
                attempt=attempt,
                reason=result.reason,
                problem=result.problem or {},
                retry_after=None if after is None else round(after * 1000),
            )
        self._fold(ended)

    def _load(self, parts: Iterable[Part]) -> dict[Part, Any]:
        loaded = {}
        for part in parts:
            read = {}
            for entry, field in fields_of_part(self._run, part):
                value = getattr(self._log[entry - 1], field, None)
                if isinstance(value, Inline):
                    read[entry, field] = value.value
                elif value is not None and field == "problem":
                    read[entry, field] = value
            loaded[part] = value_of_part(self._run, part, read)
        return loaded
