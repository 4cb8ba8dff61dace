"""Events that are stale or impossible change nothing: the same object comes back."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.unit.runs.world import START, Step, World, build_definition

from agentworkflow.runs.events import (
    CancelRequested,
    Event,
    RunFinished,
    RunRequested,
    RunStarted,
    StepExpanded,
    StepFailed,
    StepRequested,
    StepSkipped,
    StepWaiting,
    WaitElapsed,
)
from agentworkflow.runs.evolve import evolve
from agentworkflow.runs.model import blank
from agentworkflow.runs.values import NULL, Inline

STEPS: list[Step] = [
    {"name": "done", "function": "f"},
    {"name": "now", "function": "f"},
    {"name": "later", "function": "f", "needs": ["now"]},
    {"name": "each", "function": "f", "forEach": "${[1, 2, 3]}", "parallelism": 2},
    {"name": "wait", "waitFor": {"signal": "go", "timeout": "1h"}},
]


@pytest.fixture
def world() -> World:
    """`done` has ended, `now` is at its second attempt, `each` runs its first two items."""
    world = World(build_definition(STEPS, deadline="24h"))
    world.complete("done", 1)
    world.fail("now", "Crash")
    return world


def asked(step: str, attempt: int, item: int | None = None) -> StepRequested:
    return StepRequested(time=START, step=step, item=item, attempt=attempt, due=START, deadline=9)


ANSWERS: dict[str, Callable[[World], Event]] = {
    "an answer of an ended step": lambda w: w.completed("done", 2, attempt=1),
    "a failure of an ended step": lambda w: w.failed("done", "Crash", attempt=1),
    "an answer of an old attempt": lambda w: w.completed("now", attempt=1),
    "a failure of an old attempt": lambda w: w.failed("now", attempt=1),
    "an answer of an attempt to come": lambda w: w.completed("now", attempt=3),
    "an answer without an attempt": lambda w: w.completed("now", attempt=0),
    "a failure before the first of a step that runs": lambda w: w.failed("now", attempt=0),
    "a failure before the first of one that has to wait": lambda w: w.failed("later", attempt=0),
    "an answer of a step that did not start": lambda w: w.completed("later", attempt=1),
    "an answer of an item that did not start": lambda w: w.completed("each", 1, 2, attempt=1),
    "an answer of an item that is not there": lambda w: w.completed("each", 1, 7, attempt=1),
    "an answer of the step instead of its item": lambda w: w.completed("each", attempt=1),
    "an answer of an item of a plain step": lambda w: w.completed("now", 1, 0, attempt=2),
    "an answer of an unknown step": lambda w: w.completed("nowhere", attempt=1),
    "a failure of an unknown step": lambda w: w.failed("nowhere", attempt=1),
    "an early failure of an unknown step": lambda w: w.failed("nowhere", attempt=0),
    "an answer of a wait": lambda w: w.completed("wait", attempt=1),
}
OTHERS: dict[str, Event] = {
    "a second request": RunRequested(time=START, digest="sha256:0", input=NULL),
    "a second start": RunStarted(time=START),
    "the end of a wait that is none": WaitElapsed(time=START, step="now"),
    "the end of an unknown wait": WaitElapsed(time=START, step="nowhere"),
    "a second wait": StepWaiting(time=START, step="wait", signal="go"),
    "a wait of a step that has to wait": StepWaiting(time=START, step="later"),
    "a skip of a step that runs": StepSkipped(time=START, step="now"),
    "a skip of a step that has ended": StepSkipped(time=START, step="done"),
    "a skip of a step that has to wait": StepSkipped(time=START, step="later"),
    "a second list": StepExpanded(time=START, step="each", items=Inline([1]), total=1),
    "a call of an ended step": asked("done", 2),
    "a second call of an attempt": asked("now", 2),
    "a call of a later attempt": asked("now", 3),
    "a call of a step that has to wait": asked("later", 1),
    "a call of an item that runs": asked("each", 2, 0),
    "a call of an item out of turn": asked("each", 1, 2),
    "a call of an item of a plain step": asked("now", 1, 0),
    "a call of an unknown step": asked("nowhere", 1),
    "a call of an item of an unknown step": asked("nowhere", 1, 0),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stale_answer_returns_the_same_object(world: World, name: str) -> None:
    run = world.run
    assert evolve(run, ANSWERS[name](world)) is run


@pytest.mark.parametrize("name", OTHERS)
def test_a_stale_decision_returns_the_same_object(world: World, name: str) -> None:
    run = world.run
    assert evolve(run, OTHERS[name]) is run


@pytest.mark.parametrize("name", ["a skip", "a wait", "a list", "an early failure", "a call"])
def test_decisions_about_a_step_between_two_attempts_are_stale(world: World, name: str) -> None:
    # Inside a batch: the failure is folded, and its successor is not decided yet.
    run = evolve(world.run, world.failed("now", "Crash"))
    decisions: dict[str, Event] = {
        "a skip": StepSkipped(time=START, step="now"),
        "a wait": StepWaiting(time=START, step="now"),
        "a list": StepExpanded(time=START, step="now", items=NULL, total=0),
        "an early failure": world.failed("now", attempt=0),
        "a call": asked("now", 2),
    }
    assert evolve(run, decisions[name]) is run
    assert evolve(run, asked("now", 3)) is not run


def test_a_run_begins_with_its_request_and_with_nothing_else(world: World) -> None:
    before = blank("run", "secret", world.definition)
    assert evolve(before, CancelRequested(time=START)) is before
    assert evolve(before, RunStarted(time=START)) is before
    assert evolve(before, RunRequested(time=START, digest="d", input=NULL)).version == 1


def test_every_answer_counts_once(world: World) -> None:
    answer = world.completed("now", 1)
    assert world.give(answer, answer) == [True, False]
    assert world.give(replace(answer, time=START + 5)) == [False]


def test_a_decision_for_a_run_that_is_ending_is_stale(world: World) -> None:
    ending = evolve(world.run, CancelRequested(time=START))
    assert evolve(ending, world.completed("now", 1)) is ending
    failed = StepFailed(time=START, step="now", attempt=2, reason="Failure", problem={})
    assert evolve(ending, failed) is ending
    assert evolve(ending, RunFinished(time=START, state="Cancelled")).is_terminal
