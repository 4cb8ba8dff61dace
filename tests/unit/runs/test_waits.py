"""`waitFor`: a step that waits for a signal or a time, without a process."""

from typing import Any

from tests.unit.runs.world import RUN, START, World, build_definition

from agentworkflow.runs.due import wait_timer_of, webhook_of
from agentworkflow.runs.events import StepWaiting
from agentworkflow.runs.evolve_waits import MAX_SIGNALS

TIMER = wait_timer_of(RUN, "w")


def wait(name: str = "w", **what: Any) -> dict[str, Any]:
    beside = ("needs", "onFailure", "when")
    more: dict[str, Any] = {key: what.pop(key) for key in beside if key in what}
    return {"name": name, "waitFor": what, **more}


def world_of(*steps: dict[str, Any], **more: Any) -> World:
    return World(build_definition(steps), **more)


def test_a_signal_is_the_output_of_the_step_that_waits_for_it() -> None:
    world = world_of(wait(signal="go"))
    assert (world.state, world.states, world.due) == ("Waiting", {"w": "Waiting"}, world.due)
    assert world.due_of("wait") == {}

    assert world.signal("go", {"by": "ada"})

    assert world.output == {"w": {"by": "ada"}}


def test_another_signal_does_nothing_for_it() -> None:
    world = world_of(wait(signal="go"))
    assert world.signal("stop")
    assert world.state == "Waiting"


def test_a_duration_is_a_pause_with_output_null() -> None:
    world = world_of(wait(duration="1h"))
    assert (world.state, world.due[TIMER]) == ("Waiting", START + 3_600_000)

    world.fire(TIMER)

    assert (world.output, world.step("w")["durationMs"]) == ({"w": None}, 3_600_000)


def test_a_timeout_without_default_fails_the_step() -> None:
    world = world_of(wait(signal="go", timeout="2h"))
    assert world.due[TIMER] == START + 7_200_000

    world.fire(TIMER)

    assert (world.state, world.reason) == ("Failed", "StepFailed")
    assert world.problem["reason"] == "SignalTimeout"
    assert "7200 s" in world.problem["detail"]
    assert world.step("w")["reason"] == "SignalTimeout"


def test_a_timeout_with_continue_goes_on_with_the_error() -> None:
    after = {
        "name": "b",
        "function": "f",
        "needs": ["w"],
        "input": {"e": "${steps.w.error.reason}"},
    }
    world = world_of(wait(signal="go", timeout="2h", onFailure="Continue"), after)
    world.fire(TIMER)
    assert world.input("b") == {"e": "SignalTimeout"}


def test_a_timeout_with_a_default_gives_it() -> None:
    world = world_of(wait(signal="go", timeout="2h", default={"ok": False}))
    world.fire(TIMER)
    assert world.output == {"w": {"ok": False}}


def test_a_default_may_be_null() -> None:
    world = world_of(wait(signal="go", timeout="2h", default=None))
    world.fire(TIMER)
    assert world.output == {"w": None}


def test_the_timer_that_fires_after_the_signal_changes_nothing() -> None:
    world = world_of(wait(signal="go", timeout="2h"), {"name": "a", "function": "f"})
    late = world.timer_event(TIMER)
    world.signal("go", 1)
    assert TIMER not in world.due
    assert world.give(late) == [False]


def test_the_signal_that_comes_after_the_timeout_is_kept_for_nobody() -> None:
    world = world_of(wait(signal="go", timeout="2h", default=0), {"name": "a", "function": "f"})
    world.fire(TIMER)
    assert world.signal("go", 1)
    world.complete("a", 2)
    assert world.output == {"w": 0, "a": 2}


def test_a_signal_that_comes_before_the_step_waits_is_kept_for_it() -> None:
    world = world_of({"name": "a", "function": "f"}, wait(signal="go", needs=["a"], timeout="1h"))
    world.signal("go", "early")
    world.complete("a")
    assert (world.output, world.due_of("wait")) == ({"w": "early"}, {})


def test_a_signal_may_come_while_the_run_is_pending() -> None:
    world = World(build_definition([wait(signal="go")]), session="ada", started=False)
    world.signal("go", 5)
    assert world.state == "Pending"
    world.give(world.start_event())
    assert world.output == {"w": 5}


def test_signals_are_taken_in_the_order_they_came_one_step_each() -> None:
    world = world_of(
        {"name": "a", "function": "f"},
        wait("w1", signal="go", needs=["a"]),
        wait("w2", signal="go", needs=["w1"]),
        wait("w3", signal="go", needs=["w2"]),
    )
    world.signal("go", 1)
    world.signal("go", 2)
    world.complete("a")
    assert world.states == {"a": "Succeeded", "w1": "Succeeded", "w2": "Succeeded", "w3": "Waiting"}
    world.signal("go", 3)
    assert world.output == {"w3": 3}
    assert [world.step(name)["output"] for name in ("w1", "w2")] == [1, 2]


def test_one_signal_ends_one_of_several_waits() -> None:
    world = world_of(wait("w1", signal="go"), wait("w2", signal="go"))
    world.signal("go", 1)
    assert world.states == {"w1": "Succeeded", "w2": "Waiting"}
    world.signal("go", 2)
    assert world.output == {"w1": 1, "w2": 2}


def test_a_kept_signal_survives_a_restart() -> None:
    world = world_of({"name": "a", "function": "f"}, wait(signal="go", needs=["a"]))
    world.signal("go", 1)
    world.restart()
    world.complete("a")
    assert world.output == {"w": 1}


def test_a_hundred_signals_of_a_name_are_kept_and_no_more() -> None:
    world = world_of({"name": "a", "function": "f"}, wait(signal="go", needs=["a"]))
    taken = [world.signal("go", n) for n in range(MAX_SIGNALS + 1)]
    assert taken == [True] * MAX_SIGNALS + [False]


def test_a_run_is_waiting_only_while_nothing_else_goes_on() -> None:
    world = world_of(wait(signal="go"), {"name": "a", "function": "f"})
    assert world.state == "Running"
    world.complete("a")
    assert world.state == "Waiting"


def test_a_wait_may_be_skipped() -> None:
    world = world_of(wait(signal="go", when="${false}"))
    assert world.output == {"w": None}


def test_who_asked_by_webhook_hears_that_the_run_waits_for_a_signal() -> None:
    world = world_of(wait(signal="go"), webhook="https://shop.example/hook")
    assert world.due[webhook_of(RUN)] == START
    assert world_of(wait(duration="1h"), webhook="https://shop.example/").due_of("hook") == {}


def test_a_step_waits_once() -> None:
    world = world_of(wait(signal="go", timeout="1h"))
    again = StepWaiting(time=world.now, step="w", signal="go", until=world.now + 1)
    assert world.give(again) == [False]
