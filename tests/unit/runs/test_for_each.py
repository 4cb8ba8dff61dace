"""`forEach`: one series of attempts per item."""

from typing import Any

import pytest
from tests.unit.runs.world import World, build_definition

from agentworkflow.runs.slots import Slot


def each(items: str = "${input.xs}", **more: Any) -> dict[str, Any]:
    return {"name": "each", "function": "f", "forEach": items, **more}


def world_of(xs: Any, *, functions: Any = None, more: Any = (), **step: Any) -> World:
    definition = build_definition([each(**step), *more], functions=functions)
    return World(definition, input={"xs": xs})


def test_items_run_in_order_at_most_parallelism_at_once() -> None:
    world = world_of([10, 20, 30, 40], parallelism=2)
    assert world.calls == ["each/0", "each/1"]

    world.complete("each", "b", 1)
    assert world.calls == ["each/0", "each/2"]

    world.complete("each", "c", 2)
    assert world.calls == ["each/0", "each/3"]


def test_ten_items_run_at_once_by_default() -> None:
    assert len(world_of(list(range(25))).calls) == 10


def test_the_output_is_the_list_of_outputs_in_item_order() -> None:
    world = world_of(["x", "y", "z"])
    for item in (2, 0, 1):
        world.complete("each", f"out {item}", item)
    assert world.output == {"each": ["out 0", "out 1", "out 2"]}
    assert world.step("each")["items"] == {"total": 3, "succeeded": 3, "failed": 0, "running": 0}


def test_an_empty_list_gives_an_empty_list_without_a_call() -> None:
    world = world_of([])
    assert (world.output, world.run.requested) == ({"each": []}, 0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({}, "an object"),
        ("abc", "a string"),
        (3, "the number 3"),
        (1.5, "the number 1.5"),
        (True, "a bool"),
        (None, "null"),
    ],
)
def test_what_is_no_list_fails_the_step(value: Any, shown: str) -> None:
    world = world_of(value)
    assert (world.state, world.problem["reason"]) == ("Failed", "ExpressionFailed")
    assert world.problem["detail"] == f"`forEach` gave {shown}, not a list"


def test_ten_thousand_items_are_allowed_and_no_more() -> None:
    assert world_of([0] * 10_000, parallelism=1).calls == ["each/0"]

    world = world_of([0] * 10_001)
    assert world.problem["detail"] == "`forEach` gave 10001 items; 10000 are allowed"


def test_a_call_sees_item_and_index() -> None:
    world = world_of(["x", "y"], input={"it": "${item}", "at": "${index}", "n": "${input.xs[0]}"})
    assert world.input("each", 1) == {"it": "y", "at": 1, "n": "x"}


def test_without_input_a_call_gets_the_item_if_it_is_an_object() -> None:
    world = world_of([{"a": 1}, 5, [1], None])
    assert [world.input("each", n) for n in range(4)] == [{"a": 1}, {}, {}, {}]


def test_an_item_that_fails_fails_the_step_and_the_run() -> None:
    world = world_of([1, 2, 3])
    world.complete("each", 1, 0)

    world.fail("each", "Failure", 1)

    assert (world.state, world.reason) == ("Failed", "StepFailed")
    assert world.problem == {"title": "each broke", "reason": "Failure", "step": "each", "item": 1}
    step = world.step("each")
    assert (step["state"], step["reason"]) == ("Failed", "Failure")
    assert step["items"] == {"total": 3, "succeeded": 1, "failed": 1, "running": 1}


def test_answers_beside_a_failed_item_in_one_batch_change_nothing() -> None:
    world = world_of([1, 2])
    applied = world.give(world.failed("each", item=0), world.completed("each", 1, 1))
    assert applied == [True, False]
    assert world.step("each")["state"] == "Failed"


def test_with_continue_a_failed_item_leaves_null_and_a_problem_in_error_items() -> None:
    after = {
        "name": "b",
        "function": "f",
        "needs": ["each"],
        "input": {"out": "${steps.each.output}", "bad": "${steps.each.error.items}"},
    }
    world = world_of(["x", "y", "z"], onFailure="Continue", more=[after])
    world.complete("each", "X", 0)
    world.fail("each", "Failure", 1)
    world.complete("each", "Z", 2)

    problem = {"title": "each broke", "reason": "Failure"}
    assert world.input("b") == {"out": ["X", None, "Z"], "bad": [{"index": 1, "problem": problem}]}
    step = world.step("each")
    assert step["state"] == "Succeeded"
    assert step["problem"]["title"] == "1 of 3 items failed"
    assert step["items"]["failed"] == 1


def test_all_items_may_fail_with_continue() -> None:
    world = world_of([1, 2], onFailure="Continue")
    world.fail("each", item=0)
    world.fail("each", item=1)
    assert world.output == {"each": [None, None]}


def test_each_item_is_retried_on_its_own_and_keeps_its_place() -> None:
    world = world_of([1, 2, 3], parallelism=2)
    world.fail("each", "Crash", 0)
    # The item that is tried again still counts, so no third one starts.
    assert world.calls == ["each/0", "each/1"]
    assert world.run.attempts(Slot("each", 0)).attempt == 2
    assert world.run.attempts(Slot("each", 1)).attempt == 1

    world.complete("each", "a", 0)
    assert world.calls == ["each/1", "each/2"]
    world.complete("each", "b", 1)
    world.complete("each", "c", 2)
    assert world.output == {"each": ["a", "b", "c"]}
    assert world.step("each")["attempts"] == 4


def test_a_skipped_for_each_never_computes_its_list() -> None:
    world = world_of(None, when="${input.xs != null}")
    assert world.output == {"each": None}


def test_a_list_from_another_step() -> None:
    steps = [
        {"name": "a", "function": "f"},
        each("${steps.a.output.customers}", needs=["a"]),
    ]
    world = World(build_definition(steps))
    world.complete("a", {"customers": [{"id": 1}, {"id": 2}]})
    assert world.input("each", 1) == {"id": 2}


def test_the_list_is_pinned_when_the_step_starts() -> None:
    world = world_of(["x", "y"], parallelism=1, input={"it": "${item}"})
    world.complete("each", "1", 0)
    assert world.input("each", 1) == {"it": "y"}
    assert world.types.count("step.expanded") == 1


def test_the_start_type_of_the_step_is_that_of_the_last_item_that_ended() -> None:
    world = world_of([1, 2, 3])
    world.complete("each", 0, 0, start_type="cold")
    world.complete("each", 1, 1, start_type="warm")
    assert world.step("each")["startType"] == "warm"
    world.complete("each", 2, 2)
    assert world.step("each")["startType"] == "warm"


def test_a_list_above_256_kib_is_kept_beside_the_log() -> None:
    xs = ["x" * 1000] * 300
    world = world_of(xs, input={"it": "${item}"})
    assert world.input("each", 3) == {"it": xs[3]}
    assert max(map(len, world.log)) < 1000
