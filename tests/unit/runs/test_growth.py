"""The plan of a run can grow by an event, and `decide` treats old and new steps alike."""

from typing import Any

from tests.unit.runs.world import Step, World, build_definition

from agentworkflow.runs.events import PlanExtended

A: list[Step] = [{"name": "a", "function": "f"}]
FUNCTIONS = {"g": {"retry": {"limit": 0}, "timeout": "5s"}}


def world_of(**more: Any) -> World:
    return World(build_definition(A, functions=FUNCTIONS), **more)


def grow(world: World, *steps: dict[str, Any]) -> bool:
    return world.give(PlanExtended(time=world.now, steps=steps))[0]


def test_added_steps_start_like_those_of_the_resource() -> None:
    world = world_of()
    grow(world, {"name": "b", "function": "g", "needs": ["a"]}, {"name": "c", "function": "g"})
    assert world.calls == ["a", "c"]
    world.complete("c", "C")
    world.complete("a", "A")
    assert world.calls == ["b"]
    world.complete("b", "B")
    assert world.output == {"b": "B", "c": "C"}


def test_an_added_step_whose_needs_are_terminal_already_starts_at_once() -> None:
    world = World(build_definition([*A, {"name": "z", "function": "f"}]))
    world.complete("a", {"x": 1})
    grow(world, {"name": "b", "function": "f", "needs": ["a"], "input": "${steps.a.output}"})
    assert world.calls == ["b", "z"]
    assert world.input("b") == {"x": 1}


def test_growth_in_the_batch_of_the_last_answer_keeps_the_run_going() -> None:
    world = world_of()
    world.give(
        world.completed("a", 1),
        PlanExtended(time=world.now, steps=({"name": "b", "function": "g", "needs": ["a"]},)),
    )
    assert (world.state, world.calls) == ("Running", ["b"])


def test_added_steps_have_their_functions_settings() -> None:
    world = world_of()
    grow(world, {"name": "b", "function": "g"})
    world.fail("b", "Crash")
    assert (world.state, world.run.requested) == ("Failed", 2)


def test_a_step_that_is_there_already_stays_as_it_is() -> None:
    world = world_of()
    assert not grow(world, {"name": "a", "function": "g"})
    assert grow(world, {"name": "a", "function": "g"}, {"name": "b", "function": "g"})
    assert world.run.spec("a").function == "f"
    assert world.run.open == 2


def test_a_name_that_is_added_twice_at_once_is_one_step() -> None:
    world = world_of()
    grow(world, {"name": "b", "function": "f"}, {"name": "b", "function": "g"})
    world.complete("a", 1)
    world.complete("b", 2)
    assert world.output == {"a": 1, "b": 2}


def test_growth_that_would_never_start_is_refused() -> None:
    world = world_of()
    assert not grow(world, {"name": "b", "function": "f", "needs": ["nowhere"]})
    assert not grow(
        world,
        {"name": "b", "function": "f", "needs": ["c"]},
        {"name": "c", "function": "f", "needs": ["b"]},
    )
    assert not grow(world, {"name": "b", "function": "f", "needs": ["b"]})
    world.complete("a", 1)
    assert world.output == {"a": 1}


def test_steps_may_need_steps_that_are_added_with_them_in_any_order() -> None:
    world = world_of()
    grow(
        world,
        {"name": "c", "function": "f", "needs": ["b"]},
        {"name": "b", "function": "f", "needs": ["a"]},
    )
    for name in ("a", "b", "c"):
        assert world.calls == [name]
        world.complete(name, name)
    assert world.output == {"c": "c"}


def test_a_plan_may_grow_again_and_while_the_run_is_pending() -> None:
    world = world_of(session="ada", started=False)
    grow(world, {"name": "b", "function": "f"})
    grow(world, {"name": "c", "function": "f", "needs": ["b"]})
    assert world.calls == []
    world.give(world.start_event())
    assert world.calls == ["a", "b"]


def test_a_grown_plan_survives_a_restart() -> None:
    world = world_of()
    grow(world, {"name": "b", "function": "g", "forEach": "${[1, 2]}", "needs": ["a"]})
    world.restart()
    world.complete("a")
    assert world.calls == ["b/0", "b/1"]
    assert world.rebuilt() == world.run


def test_a_wait_may_be_added() -> None:
    world = world_of()
    grow(world, {"name": "w", "waitFor": {"signal": "go"}, "needs": ["a"]})
    world.signal("go", 1)
    world.complete("a")
    assert world.output == {"w": 1}


def test_an_expression_over_a_step_that_is_nowhere_fails_its_step_only() -> None:
    steps = {"name": "b", "function": "f", "when": "${steps.z.output == 1}", "needs": ["a"]}
    world = world_of()
    grow(world, {**steps, "onFailure": "Continue"})
    world.complete("a")
    assert world.state == "Succeeded"
    assert world.step("b")["reason"] == "ExpressionFailed"
