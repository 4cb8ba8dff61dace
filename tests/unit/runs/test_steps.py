"""How steps behave: when they start, what they see, how they end."""

from typing import Any

import pytest
from tests.unit.runs.world import Step, World, build_definition

from agentworkflow.workflow.parts import EVENT, SESSION, error_of, items_of, output_of

CHAIN: list[Step] = [{"name": "a", "function": "f"}, {"name": "b", "function": "f", "needs": ["a"]}]


def test_a_step_starts_when_every_step_it_needs_is_terminal() -> None:
    steps: list[Step] = [
        {"name": "a", "function": "f"},
        {"name": "b", "function": "f"},
        {"name": "c", "function": "f", "needs": ["a", "b"]},
    ]
    world = World(build_definition(steps))
    assert world.calls == ["a", "b"]

    world.complete("b")
    assert world.calls == ["a"]

    world.complete("a")
    assert world.calls == ["c"]

    world.complete("c", 1)
    assert (world.state, world.output) == ("Succeeded", {"c": 1})


def test_the_order_of_steps_follows_needs_not_the_file() -> None:
    world = World(build_definition(CHAIN[::-1]))
    assert world.calls == ["a"]


def test_a_step_whose_when_is_false_is_skipped_and_its_dependents_start() -> None:
    steps: list[Step] = [
        {"name": "a", "function": "f", "when": "${input.go}"},
        {"name": "b", "function": "f", "needs": ["a"], "input": {"was": "${steps.a.output}"}},
    ]
    world = World(build_definition(steps), input={"go": False})

    assert world.states == {"a": "Skipped", "b": "Requested"}
    assert world.input("b") == {"was": None}
    world.complete("b", "done")
    assert world.output == {"b": "done"}


def test_a_dependent_can_be_skipped_by_a_when_of_its_own() -> None:
    steps: list[Step] = [
        {"name": "a", "function": "f", "when": "${input.go}"},
        {"name": "b", "function": "f", "needs": ["a"], "when": "${steps.a.state == 'Succeeded'}"},
    ]
    world = World(build_definition(steps), input={"go": False})

    assert (world.state, world.output) == ("Succeeded", {"b": None})
    assert world.states == {"a": "Skipped", "b": "Skipped"}


def test_a_step_whose_when_is_true_starts() -> None:
    steps: list[Step] = [{"name": "a", "function": "f", "when": "${input.go}"}]
    assert World(build_definition(steps), input={"go": True}).calls == ["a"]


@pytest.mark.parametrize("value", ["true", 1, None, {}, []])
def test_a_when_that_gives_no_bool_fails_the_step(value: Any) -> None:
    steps: list[Step] = [{"name": "a", "function": "f", "when": "${input.go}"}]
    world = World(build_definition(steps), input={"go": value})

    assert (world.state, world.reason) == ("Failed", "StepFailed")
    assert world.problem["reason"] == "ExpressionFailed"
    assert "not a bool" in world.problem["detail"]


def test_a_step_without_input_gets_an_empty_object() -> None:
    assert World(build_definition(CHAIN)).input("a") == {}


def test_input_sees_input_run_session_and_the_steps_that_are_needed() -> None:
    given = {
        "all": "${input}",
        "run": "${run}",
        "session": "${session}",
        "a": "${steps.a.output.x}",
        "state": "a is ${steps.a.state}",
        "error": "${steps.a.error}",
    }
    steps: list[Step] = [CHAIN[0], {**CHAIN[1], "input": given}]
    world = World(build_definition(steps), input={"n": 1}, session="ada", session_value=[7])
    world.complete("a", {"x": 2})

    made = world.input("b")

    assert made.pop("run") == {
        "id": world.run.id,
        "name": "shop",
        "namespace": "default",
        "startedAt": "2023-11-14T22:13:20.000Z",
    }
    assert made == {
        "all": {"n": 1},
        "session": [7],
        "a": 2,
        "state": "a is Succeeded",
        "error": None,
    }


def test_a_part_that_never_came_to_be_is_null() -> None:
    world = World(build_definition(CHAIN), session="ada", started=False)
    parts = [SESSION, EVENT, output_of("a"), error_of("a"), items_of("a")]
    assert world.load(parts) == dict.fromkeys(parts)


def test_event_is_null_on_a_start_by_the_api() -> None:
    steps: list[Step] = [
        {"name": "a", "function": "f", "input": {"e": "${event}", "x": "${event == null}"}},
    ]
    assert World(build_definition(steps)).input("a") == {"e": None, "x": True}


def test_event_has_its_attributes_and_data_on_a_start_by_an_event() -> None:
    event = {
        "specversion": "1.0",
        "id": "7",
        "source": "/shop",
        "type": "order",
        "tier": "gold",
        "data": {"n": 1},
    }
    given = {"id": "${event.id}", "tier": "${event.tier}", "n": "${event.data.n}"}
    steps: list[Step] = [{"name": "a", "function": "f", "input": given}]

    world = World(build_definition(steps), event=event)

    assert world.input("a") == {"id": "7", "tier": "gold", "n": 1}


def test_input_may_be_the_events_data_stored_once() -> None:
    event = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order"}
    steps = [{"name": "a", "function": "f", "input": {"in": "${input}"}}]

    world = World(build_definition(steps), event={**event, "data": {"only": "once"}})

    assert world.input("a") == {"in": {"only": "once"}}
    assert "".join(world.log).count("once") == 1
    assert World(build_definition(steps), event=event).input("a") == {"in": None}


def test_a_failed_step_fails_the_run_with_its_problem() -> None:
    steps: list[Step] = [*CHAIN, {"name": "c", "function": "f"}]
    world = World(build_definition(steps))

    world.fail("a")

    assert (world.state, world.reason) == ("Failed", "StepFailed")
    assert world.problem == {"title": "a broke", "reason": "Failure", "step": "a"}
    assert world.states == {"a": "Failed", "b": "Cancelled", "c": "Cancelled"}
    assert world.step("a")["problem"] == {"title": "a broke", "reason": "Failure"}


def test_answers_after_the_run_failed_are_ignored() -> None:
    world = World(build_definition([*CHAIN, {"name": "c", "function": "f"}]))
    late = world.completed("c")
    world.fail("a")
    ended = world.run

    assert world.give(late) == [False]
    assert world.run is ended


def test_continue_gives_null_and_error_and_dependents_start() -> None:
    given = {"out": "${steps.a.output}", "why": "${steps.a.error.reason}"}
    steps: list[Step] = [{**CHAIN[0], "onFailure": "Continue"}, {**CHAIN[1], "input": given}]
    world = World(build_definition(steps))

    world.fail("a")

    assert world.states == {"a": "Failed", "b": "Requested"}
    assert world.input("b") == {"out": None, "why": "Failure"}
    world.complete("b", 1)
    assert world.state == "Succeeded"
    assert world.step("a")["problem"]["title"] == "a broke"


def test_a_failed_expression_fails_its_step_and_is_not_retried() -> None:
    steps: list[Step] = [{"name": "a", "function": "f", "when": "${input.missing > 1}"}]
    world = World(build_definition(steps))

    assert (world.state, world.reason) == ("Failed", "StepFailed")
    assert world.problem["reason"] == "ExpressionFailed"
    assert world.problem["expression"] == "${input.missing > 1}"
    assert "missing" in world.problem["detail"]
    assert world.step("a")["attempts"] == 0


def test_a_failed_expression_of_a_step_that_continues_gives_its_error() -> None:
    steps: list[Step] = [
        {"name": "a", "function": "f", "when": "${input.missing}", "onFailure": "Continue"},
        {**CHAIN[1], "input": {"why": "${steps.a.error.reason}"}},
    ]
    world = World(build_definition(steps))

    assert world.input("b") == {"why": "ExpressionFailed"}


def test_an_input_that_fails_when_it_is_called_is_not_retried() -> None:
    world = World(build_definition([{"name": "a", "function": "f", "input": {"x": "${input.no}"}}]))

    world.fail("a", "ExpressionFailed")

    assert (world.state, world.run.requested) == ("Failed", 1)


def test_without_output_the_result_is_the_outputs_of_the_steps_that_nothing_needs() -> None:
    world = World(build_definition([*CHAIN, {"name": "c", "function": "f"}]))
    world.complete("a", "A")
    world.complete("b", "B")
    world.complete("c", "C")
    assert world.output == {"b": "B", "c": "C"}


def test_output_is_computed_when_all_steps_are_terminal() -> None:
    steps: list[Step] = [*CHAIN, {"name": "c", "function": "f"}]
    output = {"text": "${steps.a.output}-${steps.b.output}", "n": "${size(steps.c.output)}"}
    world = World(build_definition(steps, output=output))
    world.complete("a", "x")
    world.complete("b", "y")
    assert world.state == "Running"
    world.complete("c", [1, 2])
    assert world.output == {"text": "x-y", "n": 2}


def test_an_output_that_is_one_steps_output_is_not_stored_again() -> None:
    world = World(build_definition(CHAIN, output="${steps.a.output}"))
    world.complete("a", {"much": "text"})
    world.complete("b")

    assert world.output == {"much": "text"}
    assert world.entries[-1]["output"] == {"of": "a"}


def test_a_result_is_not_kept_in_the_head() -> None:
    world = World(build_definition(CHAIN, output={"x": "${steps.a.output}"}))
    world.complete("a", "much text")
    world.complete("b")

    assert world.output == {"x": "much text"}
    assert "much text" not in "".join(world.head.values())


def test_a_failed_output_fails_the_run_with_expression_failed() -> None:
    world = World(build_definition(CHAIN, output="${steps.a.output.x}"))
    world.complete("a", {})
    world.complete("b")

    assert (world.state, world.reason) == ("Failed", "ExpressionFailed")
    assert world.problem["expression"] == "${steps.a.output.x}"


def test_of_two_failures_in_one_batch_the_first_ends_the_run() -> None:
    steps: list[Step] = [{"name": "a", "function": "f"}, {"name": "b", "function": "f"}]
    world = World(build_definition(steps))

    applied = world.give(world.failed("a"), world.failed("b"), world.completed("b"))

    assert applied == [True, False, False]
    assert world.problem["step"] == "a"


def test_outputs_above_256_kib_are_kept_beside_the_log() -> None:
    world = World(build_definition([CHAIN[0], {**CHAIN[1], "input": "${steps.a.output}"}]))
    large = {"text": "x" * 300_000}

    world.complete("a", large)

    assert world.input("b") == large
    assert max(map(len, world.log)) < 1_000
    assert len(world.blobs) == 1


def test_the_last_answer_says_the_start_type() -> None:
    world = World(build_definition(CHAIN))
    world.fail("a", "Crash", start_type="cold")
    world.fail("a", "DeadlineExceeded")
    assert world.step("a")["startType"] == "cold"
    world.complete("a", start_type="warm")
    assert world.step("a")["startType"] == "warm"
