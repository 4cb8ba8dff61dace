"""How steps behave: `forEach`, one series of attempts per item."""

from pathlib import Path

import pytest

from agentworkflow.testing import LocalEngine

WORKFLOWS = {
    "objects": """
        steps:
          - {name: each, function: echo, forEach: "${input.items}"}
    """,
    "about": """
        steps:
          - {name: each, function: about, forEach: "${input.items}", input: {}}
    """,
    "parallel": """
        functions:
          - {name: slow, handler: "step_functions:slow", concurrency: 20}
        steps:
          - name: each
            function: slow
            forEach: "${input.items}"
            parallelism: 3
            input: {seconds: 0.1, name: "${string(item)}", trail: "${input.trail}"}
    """,
    "default-parallel": """
        functions:
          - {name: slow, handler: "step_functions:slow", concurrency: 50}
        steps:
          - name: each
            function: slow
            forEach: "${input.items}"
            input: {seconds: 0.4, name: "${string(item)}", trail: "${input.trail}"}
    """,
    "fail": """
        steps:
          - {name: each, function: refuse, forEach: "${input.items}",
             when: "${size(input.items) > 0}", input: {title: "${item}"}}
    """,
    "continue": """
        steps:
          - name: each
            function: flaky
            forEach: "${input.items}"
            onFailure: Continue
            input: {until: "${item}"}
          - name: after
            function: echo
            needs: [each]
            input: {output: "${steps.each.output}", items: "${steps.each.error.items}",
             state: "${steps.each.state}"}
        output: "${steps.after.output}"
    """,
    "retry-items": """
        functions:
          - {name: flaky, handler: "step_functions:flaky", retry: {limit: 3, delay: 10ms}}
        steps:
          - {name: each, function: flaky, forEach: "${input.items}", input: {until: "${item}"}}
    """,
    "many": """
        functions:
          - {name: echo, handler: "step_functions:echo", concurrency: 50}
        steps:
          - {name: each, function: echo, forEach: "${input.items}", parallelism: 50,
             input: {n: "${item}"}}
    """,
}


def _most_at_once(trail: Path) -> int:
    running = most = 0
    for line in trail.read_text().splitlines():
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    return most


def test_a_step_without_input_gets_the_item_if_it_is_an_object(engine: LocalEngine) -> None:
    view = engine.run("objects", {"items": [{"n": 1}, {"n": 2}]})

    assert view["output"] == {"each": [{"n": 1}, {"n": 2}]}


def test_an_item_that_is_no_object_is_no_input(engine: LocalEngine) -> None:
    assert engine.run("objects", {"items": [1]})["output"] == {"each": [{}]}


def test_each_item_is_a_call_of_its_own(engine: LocalEngine) -> None:
    view = engine.run("about", {"items": ["a", "b"]})

    calls = view["output"]["each"]
    assert [call["item"] for call in calls] == [0, 1]
    assert [call["key"] for call in calls] == [f"{view['run']}/each/{item}" for item in (0, 1)]


def test_no_items_give_an_empty_list(engine: LocalEngine) -> None:
    view = engine.run("objects", {"items": []})

    assert (view["state"], view["output"]) == ("Succeeded", {"each": []})


def test_the_output_is_in_the_order_of_the_items_and_no_more_run_at_once_than_allowed(
    engine: LocalEngine, tmp_path: Path
) -> None:
    trail = tmp_path / "trail"

    view = engine.run("parallel", {"items": list(range(12)), "trail": str(trail)})

    assert view["output"]["each"] == [str(number) for number in range(12)]
    assert _most_at_once(trail) in (2, 3)
    assert view["steps"][0]["items"] == {"total": 12, "succeeded": 12, "failed": 0, "running": 0}


def test_ten_items_run_at_once_without_a_parallelism(engine: LocalEngine, tmp_path: Path) -> None:
    trail = tmp_path / "trail"

    engine.run("default-parallel", {"items": list(range(15)), "trail": str(trail)})

    assert 4 <= _most_at_once(trail) <= 10


def test_an_item_that_fails_fails_the_step(engine: LocalEngine) -> None:
    view = engine.run("fail", {"items": ["wrong"]})

    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    assert view["steps"][0]["state"] == "Failed"
    assert "wrong" in str(view["problem"])


def test_an_item_that_fails_leaves_null_in_its_place_with_continue(engine: LocalEngine) -> None:
    view = engine.run("continue", {"items": [1, "no number", 1]})

    assert view["state"] == "Succeeded"
    assert view["output"]["output"] == [1, None, 1]
    problems = view["output"]["items"]
    assert len(problems) == 1
    assert "until" in str(problems)


def test_each_item_has_attempts_of_its_own(engine: LocalEngine) -> None:
    view = engine.run("retry-items", {"items": [1, 3, 2]})

    assert view["output"] == {"each": [1, 3, 2]}


def test_two_hundred_items_come_back_in_order(engine: LocalEngine) -> None:
    view = engine.run("many", {"items": list(range(200))}, seconds=60)

    assert view["output"]["each"] == [{"n": number} for number in range(200)]


@pytest.mark.parametrize("size", [10_001])
def test_more_than_ten_thousand_items_fail_the_step(engine: LocalEngine, size: int) -> None:
    view = engine.run("many", {"items": list(range(size))})

    assert view["state"] == "Failed"
    assert "10000" in str(view["problem"]).replace(",", "")
