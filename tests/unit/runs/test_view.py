"""What people see of a run and its log: what they need, and no token or secret."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.runs.chaos import Scenario, in_order, scenarios
from tests.unit.runs.world import RUN, SECRET, START, Step, World, build_definition

from agentworkflow.runs.events import PlanExtended, RunStarted, StepCompleted, encode_event
from agentworkflow.runs.tokens import token_of
from agentworkflow.runs.values import Blob
from agentworkflow.runs.view import parts_of_view, project_entry, view_of

STEPS: list[Step] = [
    {"name": "a", "function": "f"},
    {"name": "b", "function": "f", "needs": ["a"]},
]


def test_a_view_has_every_field() -> None:
    event = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order", "data": {}}
    world = World(build_definition(STEPS), event=event, session="ada")
    world.now += 1000
    world.complete("a", {"x": 1}, start_type="cold", duration=12)
    world.now += 500
    world.complete("b", 2, start_type="warm")

    assert world.view == {
        "run": RUN,
        "namespace": "default",
        "workflow": "shop",
        "session": "ada",
        "state": "Succeeded",
        "reason": None,
        "problem": None,
        "output": {"b": 2},
        "createdAt": "2023-11-14T22:13:20.000Z",
        "startedAt": "2023-11-14T22:13:20.000Z",
        "finishedAt": "2023-11-14T22:13:21.500Z",
        "durationMs": 1500,
        "startedBy": {"kind": "event", "trigger": None, "event": None},
        "steps": [
            {
                "name": "a",
                "state": "Succeeded",
                "reason": None,
                "attempts": 1,
                "startType": "cold",
                "durationMs": 1000,
                "output": {"x": 1},
                "problem": None,
                "items": None,
            },
            {
                "name": "b",
                "state": "Succeeded",
                "reason": None,
                "attempts": 1,
                "startType": "warm",
                "durationMs": 500,
                "output": 2,
                "problem": None,
                "items": None,
            },
        ],
    }


def test_a_run_that_just_began_has_a_view() -> None:
    view = World(build_definition(STEPS), started=False, session="ada").view
    assert (view["state"], view["startedAt"], view["finishedAt"]) == ("Pending", None, None)
    assert [step["state"] for step in view["steps"]] == ["Pending", "Pending"]
    assert [step["durationMs"] for step in view["steps"]] == [None, None]


def test_a_result_that_is_a_steps_output_is_shown_as_the_output() -> None:
    world = World(build_definition(STEPS[:1], output="${steps.a.output}"))
    world.complete("a", {"x": 1})
    assert world.view["output"] == {"x": 1}


def test_a_value_that_could_not_be_loaded_is_shown_as_null() -> None:
    world = World(build_definition(STEPS[:1]))
    world.complete("a", 1)
    view = view_of(world.run, {})
    assert (view["output"], view["steps"][0]["output"]) == (None, None)


def test_a_view_loads_outputs_and_problems_of_what_has_ended_only() -> None:
    world = World(build_definition([*STEPS, {"name": "c", "function": "f"}]))
    world.complete("a", 1)
    assert parts_of_view(world.run) == {("output", "a")}


def test_an_entry_shows_what_happened() -> None:
    world = World(build_definition(STEPS, deadline="1h"))
    world.fail("a", "Crash", start_type="cold", duration=3)
    world.complete("a", {"x": 1})
    shown = [project_entry(text) for text in world.log]

    assert shown[0] == {
        "type": "run.requested",
        "time": "2023-11-14T22:13:20.000Z",
        "kind": "api",
        "deadline": "2023-11-14T23:13:20.000Z",
    }
    assert shown[2]["type"] == "step.requested"
    assert (shown[2]["step"], shown[2]["attempt"]) == ("a", 1)
    assert shown[2]["due"] == "2023-11-14T22:13:20.000Z"
    assert shown[3] == {
        "type": "step.failed",
        "time": "2023-11-14T22:13:20.000Z",
        "step": "a",
        "attempt": 1,
        "reason": "Crash",
        "problem": {"title": "a broke", "reason": "Crash"},
        "startType": "cold",
        "durationMs": 3,
    }
    assert shown[5]["output"] == {"x": 1}


def test_an_entry_shows_the_size_of_what_is_kept_beside_it_and_the_name_of_a_reference() -> None:
    large = StepCompleted(time=START, step="a", attempt=1, output=Blob("sha256:00", 300_000))
    shown = project_entry(encode_event(large))
    assert (shown["outputBytes"], "output" in shown) == (300_000, False)

    world = World(build_definition(STEPS[:1], output="${steps.a.output}"))
    world.complete("a", 1)
    assert project_entry(world.log[-1])["outputOf"] == "a"


def test_progress_is_shown() -> None:
    entry = {"type": "step.progressed", "time": START, "step": "a", "fraction": 0.5, "message": "…"}
    shown = project_entry(json.dumps(entry))
    assert (shown["fraction"], shown["message"]) == (0.5, "…")


def test_inputs_sessions_webhooks_and_plans_stay_inside() -> None:
    world = World(
        build_definition(STEPS),
        input={"mine": "hidden one"},
        session="ada",
        session_value="hidden two",
        webhook="https://shop.example/hidden-three",
    )
    world.give(PlanExtended(time=world.now, steps=({"name": "z", "function": "f"},)))
    shown = json.dumps([project_entry(text) for text in world.log])
    assert "hidden" not in shown
    assert RunStarted.type in shown


def test_a_field_that_nobody_named_is_not_shown() -> None:
    entry = {"type": "step.requested", "time": START, "token": "t", "awftoken": "t", "secret": "s"}
    assert project_entry(json.dumps(entry)).keys() == {"type", "time"}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(), st.text("abcdef", min_size=3))
def test_no_token_or_secret_is_in_any_view_or_entry(scenario: Scenario, forged: str) -> None:
    world = in_order(scenario)
    secrets = {SECRET}
    for entry in world.entries:
        if entry["type"] == "step.requested":
            secrets.add(token_of(SECRET, entry["step"], entry.get("item"), entry["attempt"]))
    planted = {**world.entries[-1], "token": forged, "secret": SECRET, "awftoken": forged}
    shown: list[Any] = [world.view, *(project_entry(text) for text in world.log)]
    shown.append(project_entry(json.dumps(planted)))
    text = json.dumps(shown) + "".join(world.log) + "".join(world.head.values())

    assert [secret for secret in secrets if secret in text] == []
    assert {"token", "secret", "awftoken"}.isdisjoint(shown[-1])
