"""How steps behave: what expressions see, and what happens when one fails."""

import re
from typing import Any

import pytest

from agentworkflow.testing import LocalEngine

WORKFLOWS = {
    "see-run": """
        steps:
          - {name: look, function: echo, input: {run: "${run}", input: "${input}"}}
    """,
    "see-event": """
        triggers:
          - name: ordered
            filters: [{exact: {type: com.example.ordered}}]
            input: {order: "${event.data.order}"}
        steps:
          - name: look
            function: echo
            input:
              input: "${input}"
              type: "${event == null ? 'none' : event.type}"
              data: "${event == null ? null : event.data}"
    """,
    "see-session": """
        session: {update: "${steps.look.output.seen == null ? 1 : session + 1}"}
        steps:
          - {name: look, function: echo, input: {seen: "${session}"}}
    """,
    "see-steps": """
        steps:
          - {name: good, function: echo, input: {n: 1}}
          - {name: bad, function: refuse,
             input: {kind: sold-out, title: Sold out}, onFailure: Continue}
          - name: look-back
            function: echo
            needs: [good, bad]
            input:
              good: {state: "${steps.good.state}", output: "${steps.good.output}",
               error: "${steps.good.error}"}
              bad: {state: "${steps.bad.state}",
               output: "${steps.bad.output}", type: "${steps.bad.error.type}"}
        output: "${steps['look-back'].output}"
    """,
    "see-item": """
        steps:
          - name: each
            function: echo
            forEach: "${input.names}"
            input: {name: "${item}", at: "${index}", text: "${index}: ${item}"}
    """,
    "keep-types": """
        steps:
          - name: look
            function: echo
            input: {number: "${input.n}", text: "n is ${input.n}",
             list: "${[input.n, input.n + 1]}"}
    """,
    "fail-input": """
        functions:
          - {name: echo, handler: "step_functions:echo",
             retry: {limit: 3, on: [Retry, DeadlineExceeded, Crash, Failure]}}
        steps:
          - {name: divide, function: echo, input: {half: "${10 / input.by}"}}
    """,
    "fail-when": """
        steps:
          - {name: divide, function: echo, when: "${10 / input.by > 1}"}
    """,
    "fail-when-continue": """
        steps:
          - {name: divide, function: echo, when: "${10 / input.by > 1}", onFailure: Continue}
          - {name: after, function: echo, needs: [divide], input: {state: "${steps.divide.state}"}}
    """,
    "fail-list": """
        steps:
          - {name: each, function: echo, forEach: "${input.missing}"}
    """,
    "fail-item": """
        steps:
          - {name: each, function: echo, forEach: "${input.numbers}", input: {half: "${10 / item}"}}
    """,
    "fail-output": """
        steps:
          - {name: one, function: echo, input: {n: 1}}
        output: "${10 / input.by}"
    """,
}


def test_an_expression_sees_the_runs_input_and_what_the_run_is(engine: LocalEngine) -> None:
    view = engine.run("see-run", {"order": 7})

    seen = view["output"]["look"]
    assert seen["input"] == {"order": 7}
    assert seen["run"]["id"] == view["run"]
    assert seen["run"]["name"] == "see-run"
    assert seen["run"]["namespace"] == "default"
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", seen["run"]["startedAt"])


def test_the_event_is_null_for_a_start_by_the_api(engine: LocalEngine) -> None:
    view = engine.run("see-event", {"order": 7})

    assert view["startedBy"]["kind"] == "api"
    assert view["output"]["look"] == {"input": {"order": 7}, "type": "none", "data": None}


def test_an_expression_sees_the_event_that_started_the_run(engine: LocalEngine) -> None:
    engine.send(
        {
            "specversion": "1.0",
            "id": "o-1",
            "source": "/shop",
            "type": "com.example.ordered",
            "data": {"order": 8},
        }
    )

    def started() -> list[dict[str, Any]]:
        runs = engine.runs(workflow="see-event")
        return [run for run in runs if run["startedBy"]["kind"] == "event"]

    (run,) = engine.poll("the run of the event", started)
    view = engine.wait(run["run"])
    assert view["startedBy"]["event"] == {
        "source": "/shop",
        "id": "o-1",
        "type": "com.example.ordered",
    }
    assert view["startedBy"]["trigger"] == "ordered"
    assert view["output"]["look"] == {
        "input": {"order": 8},
        "type": "com.example.ordered",
        "data": {"order": 8},
    }


def test_the_sessions_value_is_null_at_first_and_then_what_the_run_before_made_it(
    engine: LocalEngine,
) -> None:
    seen = [
        engine.run("see-session", session="ada")["output"]["look"]["seen"],
        engine.run("see-session", session="ada")["output"]["look"]["seen"],
        engine.run("see-session", session="ada")["output"]["look"]["seen"],
        engine.run("see-session", session="bob")["output"]["look"]["seen"],
    ]

    assert seen == [None, 1, 2, None]


def test_an_expression_sees_state_output_and_error_of_the_steps_it_needs(
    engine: LocalEngine,
) -> None:
    view = engine.run("see-steps")

    assert view["output"] == {
        "good": {"state": "Succeeded", "output": {"n": 1}, "error": None},
        "bad": {"state": "Failed", "output": None, "type": "sold-out"},
    }


def test_a_for_each_step_sees_its_item_and_the_items_place(engine: LocalEngine) -> None:
    view = engine.run("see-item", {"names": ["ada", "bob"]})

    assert view["output"]["each"] == [
        {"name": "ada", "at": 0, "text": "0: ada"},
        {"name": "bob", "at": 1, "text": "1: bob"},
    ]


def test_a_whole_expression_keeps_its_type_and_text_around_it_interpolates(
    engine: LocalEngine,
) -> None:
    view = engine.run("keep-types", {"n": 3})

    assert view["output"]["look"] == {"number": 3, "text": "n is 3", "list": [3, 4]}


@pytest.mark.parametrize("workflow", ["fail-input", "fail-when"])
def test_an_expression_that_fails_fails_its_step_and_is_not_retried(
    engine: LocalEngine, workflow: str
) -> None:
    view = engine.run(workflow, {"by": 0})

    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    (step,) = view["steps"]
    assert (step["state"], step["reason"]) == ("Failed", "ExpressionFailed")
    assert step["attempts"] <= 1
    assert "10 / input.by" in str(step["problem"])
    assert "divi" in str(step["problem"]).lower()  # CEL's own message: divide by zero


def test_a_failed_expression_is_a_failure_like_another_for_continue(engine: LocalEngine) -> None:
    view = engine.run("fail-when-continue", {"by": 0})

    assert view["state"] == "Succeeded"
    assert view["output"] == {"after": {"state": "Failed"}}


def test_a_list_that_cannot_be_computed_fails_its_step(engine: LocalEngine) -> None:
    view = engine.run("fail-list", {})

    assert view["steps"][0]["reason"] == "ExpressionFailed"
    assert "input.missing" in str(view["steps"][0]["problem"])


def test_a_list_that_is_no_list_fails_its_step(engine: LocalEngine) -> None:
    view = engine.run("see-item", {"names": "ada"})

    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    assert view["steps"][0]["reason"] == "ExpressionFailed"


def test_an_items_input_that_fails_fails_the_step(engine: LocalEngine) -> None:
    view = engine.run("fail-item", {"numbers": [1, 0, 2]})

    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    assert view["steps"][0]["state"] == "Failed"
    assert "10 / item" in str(view["problem"])


def test_an_output_that_cannot_be_computed_fails_the_run(engine: LocalEngine) -> None:
    view = engine.run("fail-output", {"by": 0})

    assert (view["state"], view["reason"]) == ("Failed", "ExpressionFailed")
    assert view["steps"][0]["state"] == "Succeeded"
    assert "10 / input.by" in str(view["problem"])
