"""How runs end: deadline, budget, cancel, session, and never twice."""

from typing import Any

import pytest
from tests.unit.runs.world import RUN, START, Step, World, build_definition

from agentworkflow.runs.due import deadline_timer_of, publication_of, webhook_of
from agentworkflow.runs.events import (
    CancelRequested,
    DeadlineReached,
    Event,
    PlanExtended,
    RunFinished,
    RunStarted,
    SignalReceived,
)
from agentworkflow.runs.values import NULL, Inline

A: list[Step] = [{"name": "a", "function": "f"}]
WAIT: list[Step] = [{"name": "w", "waitFor": {"signal": "go", "timeout": "1h"}}]
DEADLINE = deadline_timer_of(RUN)


def test_the_deadline_ends_the_run_as_failed() -> None:
    world = World(build_definition([*A, *WAIT], deadline="48h"))
    assert world.due[DEADLINE] == START + 48 * 3_600_000

    world.fire(DEADLINE)

    assert (world.state, world.reason) == ("Failed", "DeadlineExceeded")
    assert world.problem["detail"] == "`deadline` allows 172800 s."
    assert world.states == {"a": "Cancelled", "w": "Cancelled"}


def test_the_deadline_runs_while_the_run_is_pending_in_its_session() -> None:
    world = World(build_definition(A, deadline="1h"), session="ada", started=False)
    assert world.state == "Pending"
    world.fire(DEADLINE)
    assert (world.state, world.reason) == ("Failed", "DeadlineExceeded")


def test_a_run_without_deadline_has_no_timer() -> None:
    assert World(build_definition(A)).due_of("deadline") == {}


def test_cancel_ends_the_run_with_its_reason() -> None:
    world = World(build_definition([*A, *WAIT], deadline="1h"))
    world.cancel()
    assert (world.state, world.reason) == ("Cancelled", "CancelRequested")
    assert world.states == {"a": "Cancelled", "w": "Cancelled"}

    withdrawn = World(build_definition(A))
    withdrawn.cancel("WorkflowDeleted")
    assert (withdrawn.state, withdrawn.reason) == ("Cancelled", "WorkflowDeleted")


def test_a_pending_run_can_be_cancelled_and_never_starts() -> None:
    world = World(build_definition(A), session="ada", started=False)
    world.cancel()
    assert world.give(world.start_event()) == [False]
    assert (world.state, world.run.requested) == ("Cancelled", 0)


@pytest.mark.parametrize("first", ["cancel", "deadline", "failure"])
def test_of_several_ends_in_one_batch_the_first_counts(first: str) -> None:
    world = World(build_definition(A, deadline="1h"))
    causes: dict[str, Event] = {
        "cancel": CancelRequested(time=world.now),
        "deadline": DeadlineReached(time=world.now),
        "failure": world.failed("a"),
    }
    reasons = {
        "cancel": "CancelRequested",
        "deadline": "DeadlineExceeded",
        "failure": "StepFailed",
    }
    others = [event for name, event in causes.items() if name != first]

    assert world.give(causes[first], *others) == [True, False, False]
    assert world.reason == reasons[first]


def test_an_answer_before_a_cancel_in_one_batch_does_not_start_dependents() -> None:
    steps = [*A, {"name": "b", "function": "f", "needs": ["a"]}]
    world = World(build_definition(steps))
    world.give(world.completed("a"), CancelRequested(time=world.now))
    assert (world.state, world.run.requested) == ("Cancelled", 1)


def test_a_spent_budget_fails_the_run_before_the_attempt_starts() -> None:
    steps = [*A, {"name": "b", "function": "f", "needs": ["a"]}]
    world = World(build_definition(steps, budget={"steps": 1}))
    world.complete("a")

    assert (world.state, world.reason) == ("Failed", "BudgetExhausted")
    amounts = {name: world.problem[name] for name in ("allowed", "spent", "wanted")}
    assert amounts == {"allowed": 1, "spent": 1, "wanted": 1}
    assert "allows 1 attempts: 1 were started, and 1 more" in world.problem["detail"]


def test_a_budget_that_is_just_enough_is_enough() -> None:
    world = World(build_definition(A, budget={"steps": 2}))
    world.fail("a", "Crash")
    world.complete("a", 1)
    assert world.output == {"a": 1}


def test_retries_and_items_count_for_the_budget() -> None:
    each = [{"name": "e", "function": "f", "forEach": "${[1, 2, 3]}", "parallelism": 1}]
    world = World(build_definition(each, budget={"steps": 3}))
    world.complete("e", item=0)
    world.fail("e", "Crash", 1)
    assert world.state == "Running"
    world.complete("e", item=1)
    assert (world.reason, world.run.requested) == ("BudgetExhausted", 3)


def test_a_budget_smaller_than_what_is_to_start_at_once_says_so() -> None:
    each = [{"name": "e", "function": "f", "forEach": "${[1, 2, 3]}"}]
    world = World(build_definition(each, budget={"steps": 2}))
    assert (world.problem["spent"], world.problem["wanted"], world.due_of("call")) == (0, 3, {})


def test_the_session_is_null_at_first_and_gets_its_new_value_with_the_end() -> None:
    update = {"update": "${session == null ? 1 : session + 1}"}
    world = World(build_definition(A, session=update), session="ada")
    world.complete("a")
    assert world.entries[-1]["session"] == {"v": 1}

    second = World(build_definition(A, session=update), session="ada", session_value=1)
    second.complete("a")
    assert second.entries[-1]["session"] == {"v": 2}


def test_without_a_session_nothing_is_updated() -> None:
    world = World(build_definition(A, session={"update": "${session + 1}"}))
    world.complete("a")
    assert "session" not in world.entries[-1]


def test_a_run_that_fails_leaves_its_session_as_it_was() -> None:
    world = World(build_definition(A, session={"update": "${1}"}), session="ada")
    world.fail("a")
    assert "session" not in world.entries[-1]


def test_an_update_that_fails_fails_the_run() -> None:
    definition = build_definition(A, session={"update": "${steps.a.output.x}"})
    world = World(definition, session="ada")
    world.complete("a", {})
    assert (world.state, world.reason) == ("Failed", "ExpressionFailed")


def test_the_start_and_the_end_of_a_run_are_published() -> None:
    world = World(build_definition(A), webhook="https://shop.example/hook")
    assert world.due_of("pub") == {publication_of(RUN, 2): START}
    world.complete("a")
    end = len(world.log)
    assert world.due == {
        publication_of(RUN, 2): START,
        publication_of(RUN, end): START,
        webhook_of(RUN): START,
    }


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled"])
def test_a_terminal_run_never_changes(ending: str) -> None:
    world = World(build_definition(A, deadline="1h"))
    answer, failure = world.completed("a"), world.failed("a", "Crash")
    {"succeeded": world.complete, "failed": world.fail}.get(ending, lambda _: world.cancel())("a")
    ended = world.run
    late: list[Any] = [
        answer,
        failure,
        CancelRequested(time=world.now),
        DeadlineReached(time=world.now),
        SignalReceived(time=world.now, name="go", output=NULL),
        PlanExtended(time=world.now, steps=({"name": "z", "function": "f"},)),
        RunStarted(time=world.now),
        RunFinished(time=world.now, state="Failed", output=Inline(1)),
    ]

    assert world.give(*late) == [False] * len(late)
    assert world.run is ended
    assert world.decide() == []
