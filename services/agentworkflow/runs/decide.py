"""What to do next: `decide(run, values, now) -> events`, and `wanted(run)`, what it has to see.

Everything slow is a step, so what is decided here is only which attempts to make, when, and how
the run ends. `decide` looks at the run's frontier, never over all of its steps.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agentworkflow.runs.events import (
    Event,
    RunFinished,
    StepExpanded,
    StepFailed,
    StepRequested,
    StepSkipped,
    StepWaiting,
    WaitElapsed,
)
from agentworkflow.runs.model import Attempts, Run, RunState, StepState
from agentworkflow.runs.problems import (
    budget_problem,
    cancel_problem,
    deadline_problem,
    expression_problem,
    signal_problem,
    step_problem,
)
from agentworkflow.runs.reading import bindings_of
from agentworkflow.runs.retries import retry_delay
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.tokens import jitter_of
from agentworkflow.runs.values import Inline, OutputOf, Value
from agentworkflow.workflow.expressions import EvaluationError, Expression
from agentworkflow.workflow.parts import Part, output_of
from agentworkflow.workflow.plan import StepSpec
from agentworkflow.workflow.templates import Template

MAX_ITEMS: Final = 10_000

Values = Mapping[Part, Any]


def wanted(run: Run) -> frozenset[Part]:
    """What has to be loaded before `decide` can be asked."""
    if run.is_terminal or run.is_ending or run.state is RunState.PENDING:
        return frozenset()
    parts: set[Part] = set()
    for slot in run.frontier:
        if run.attempts(slot).state is StepState.PENDING:
            parts |= run.spec(slot.step).start_parts
    if not run.frontier and run.open == 0:
        parts |= _result_parts(run)
    return frozenset(parts)


def decide(run: Run, values: Values, now: int) -> list[Event]:
    """What to do next, as events to be evolved; nothing if the run has to wait.

    Args:
        run: the run.
        values: every part of `wanted(run)`.
        now: milliseconds since the epoch.
    """
    if run.is_terminal:
        return []
    if run.is_ending:
        return [_ending(run, now)]
    if run.state is RunState.PENDING:
        return []
    commands: list[Event] = []
    for slot in run.frontier:
        commands.extend(_advance(run, slot, values, now))
    budget = run.definition.budget_steps
    asked = sum(isinstance(command, StepRequested) for command in commands)
    if budget is not None and run.requested + asked > budget:
        problem = budget_problem(budget, run.requested, asked)
        return [_failed(now, "BudgetExhausted", problem)]
    if commands:
        return commands
    return [_finish(run, values, now)] if run.open == 0 else []


def elapsed(run: Run, step: str, now: int) -> WaitElapsed:
    """The event for the end of a step's wait, with what the step then has."""
    wait = run.spec(step).wait
    if wait is None or wait.signal is None:
        return WaitElapsed(time=now, step=step)
    if wait.has_default:
        return WaitElapsed(time=now, step=step, output=Inline(wait.default))
    problem = signal_problem(step, wait.signal, wait.timeout_ms)
    return WaitElapsed(time=now, step=step, problem=problem)


def call_parts(run: Run, slot: Slot) -> frozenset[Part]:
    """What has to be loaded to make the input of a call."""
    return run.spec(slot.step).call_parts


def call_input(run: Run, slot: Slot, values: Values) -> Any:
    """The input of a call.

    Raises:
        EvaluationError: the step's `input` failed.
    """
    spec = run.spec(slot.step)
    item: Any = None
    if slot.item is not None:
        items = values[Part("items", slot.step)]
        item = items[slot.item]
    if spec.input is None:
        return item if slot.item is not None and isinstance(item, dict) else {}
    return _evaluate(run, spec.input, values, {"item": item, "index": slot.item})


def _ending(run: Run, now: int) -> RunFinished:
    """How a run ends that something from outside, or a failed step, ends."""
    if run.cancel is not None:
        problem = cancel_problem(run.cancel)
        return RunFinished(time=now, state=RunState.CANCELLED, reason=run.cancel, problem=problem)
    if run.failure is not None:
        return _failed(now, "StepFailed", step_problem(run.failure))
    return _failed(now, "DeadlineExceeded", deadline_problem(run))


def _advance(run: Run, slot: Slot, values: Values, now: int) -> Iterator[Event]:
    spec = run.spec(slot.step)
    known = run.attempts(slot)
    if known.state is StepState.BACKOFF:
        yield _request(run, slot, spec, known, now)
    elif known.items is not None:
        yield from _request_items(run, slot, spec, known, now)
    else:
        try:
            yield _start(run, slot, spec, values, now)
        except EvaluationError as error:
            yield _expression_failed(slot, 0, error, now)


def _start(run: Run, slot: Slot, spec: StepSpec, values: Values, now: int) -> Event:
    if spec.when is not None:
        verdict = _evaluate(run, spec.when, values)
        if not isinstance(verdict, bool):
            raise EvaluationError(spec.when.source, f"`when` gave {_shown(verdict)}, not a bool")
        if not verdict:
            return StepSkipped(time=now, step=slot.step)
    if spec.wait is not None:
        timeout = spec.wait.timeout_ms
        until = None if timeout is None else now + timeout
        return StepWaiting(time=now, step=slot.step, signal=spec.wait.signal, until=until)
    if spec.for_each is None:
        return _request(run, slot, spec, run.attempts(slot), now)
    items = _evaluate(run, spec.for_each, values)
    if not isinstance(items, list):
        message = f"`forEach` gave {_shown(items)}, not a list"
        raise EvaluationError(spec.for_each.source, message)
    if len(items) > MAX_ITEMS:
        message = f"`forEach` gave {len(items)} items; {MAX_ITEMS} are allowed"
        raise EvaluationError(spec.for_each.source, message)
    return StepExpanded(time=now, step=slot.step, items=Inline(items), total=len(items))


def _request_items(
    run: Run, slot: Slot, spec: StepSpec, known: Attempts, now: int
) -> Iterator[Event]:
    items = known.items
    if items is None:  # pragma: no cover - asked only for steps with a list
        return
    room = spec.parallelism - items.running
    for index in range(items.next, min(items.next + room, items.total)):
        item = Slot(slot.step, index)
        yield _request(run, item, spec, run.attempts(item), now)


def _request(run: Run, slot: Slot, spec: StepSpec, known: Attempts, now: int) -> StepRequested:
    delay = 0
    if known.attempt:
        jitter = jitter_of(run.secret, slot.step, slot.item, known.attempt)
        delay = retry_delay(spec.retry, known.attempt, jitter, known.retry_after)
    due = now + delay
    return StepRequested(
        time=now,
        step=slot.step,
        item=slot.item,
        attempt=known.attempt + 1,
        due=due,
        deadline=due + spec.timeout_ms + spec.start_timeout_ms,
    )


def _finish(run: Run, values: Values, now: int) -> RunFinished:
    definition = run.definition
    try:
        output: Value = _result(run, values)
        session = None
        if definition.session_update is not None and run.session is not None:
            session = Inline(_evaluate(run, definition.session_update, values))
    except EvaluationError as error:
        return _failed(now, "ExpressionFailed", expression_problem(error))
    return RunFinished(time=now, state=RunState.SUCCEEDED, output=output, session=session)


def _result(run: Run, values: Values) -> Value:
    template = run.definition.output
    if template is None:
        return Inline({name: values[output_of(name)] for name in run.plan.leaves})
    reference = template.reference
    if reference is not None:
        return OutputOf(reference)
    return Inline(_evaluate(run, template, values))


def _result_parts(run: Run) -> frozenset[Part]:
    template, update = run.definition.output, run.definition.session_update
    if template is None:
        parts = frozenset(output_of(name) for name in run.plan.leaves)
    else:
        parts = frozenset() if template.reference is not None else template.parts
    has_update = update is not None and run.session is not None
    return parts | (update.parts if has_update and update is not None else frozenset())


def _evaluate(
    run: Run,
    what: Expression | Template,
    values: Values,
    more: Mapping[str, Any] | None = None,
) -> Any:
    expressions = (what,) if isinstance(what, Expression) else what.expressions
    names = frozenset().union(*(e.names for e in expressions))
    steps = frozenset().union(*(e.steps for e in expressions))
    return what.evaluate(bindings_of(run, names, steps, values) | dict(more or {}))


def _expression_failed(slot: Slot, attempt: int, error: EvaluationError, now: int) -> StepFailed:
    return StepFailed(
        time=now,
        step=slot.step,
        item=slot.item,
        attempt=attempt,
        reason="ExpressionFailed",
        problem=expression_problem(error),
    )


def _failed(now: int, reason: str, problem: Mapping[str, Any]) -> RunFinished:
    return RunFinished(time=now, state=RunState.FAILED, reason=reason, problem=problem)


def _shown(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a bool"}
    if value is None:
        return "null"
    return names.get(type(value), f"the number {value}")
