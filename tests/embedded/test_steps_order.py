"""How steps behave: inputs, needs, conditions, failures, and the run's output."""

from pathlib import Path
from typing import Any

from agentworkflow.testing import LocalEngine

WORKFLOWS = {
    "no-input": """
        steps:
          - {name: plain, function: echo}
    """,
    "diamond": """
        steps:
          - {name: last, function: echo, needs: [left, right],
             input: {sum: "${steps.left.output.n + steps.right.output.n}"}}
          - {name: left, function: echo, needs: [first], input: {n: "${steps.first.output.n + 1}"}}
          - {name: right, function: echo, needs: [first], input: {n: "${steps.first.output.n + 2}"}}
          - {name: first, function: echo, input: {n: 1}}
    """,
    "join": """
        steps:
          - {name: fast, function: slow, input: {seconds: 0, name: fast, trail: "${input.trail}"}}
          - {name: late, function: slow, input: {seconds: 0.5, name: late, trail: "${input.trail}"}}
          - {name: after, function: slow, needs: [fast, late],
             input: {seconds: 0, name: after, trail: "${input.trail}"}}
    """,
    "skip": """
        steps:
          - {name: maybe, function: echo, when: "${input.wanted}", input: {n: 1}}
          - {name: next, function: echo, needs: [maybe],
             input: {state: "${steps.maybe.state}", output: "${steps.maybe.output}"}}
          - {name: guarded, function: echo, needs: [maybe],
             when: "${steps.maybe.state == 'Succeeded'}"}
    """,
    "fail": """
        steps:
          - {name: bad, function: refuse,
             input: {kind: sold-out, title: Sold out, detail: No tea left.}}
          - {name: never, function: echo, needs: [bad]}
    """,
    "fail-beside": """
        steps:
          - {name: busy, function: hold,
             input: {name: busy, trail: "${input.trail}", until: "${input.until}"}}
          - {name: begun, function: hold, input: {until: "${input.trail}"}}
          - {name: bad, function: refuse, needs: [begun], input: {title: Too late}}
          - {name: after, function: slow, needs: [busy],
             input: {seconds: 0, name: after, trail: "${input.trail}"}}
    """,
    "continue": """
        steps:
          - {name: bad, function: blunder, onFailure: Continue}
          - {name: next, function: echo, needs: [bad],
             input: {output: "${steps.bad.output}", title: "${steps.bad.error.title}",
              detail: "${steps.bad.error.detail}"}}
    """,
    "chosen-output": """
        steps:
          - {name: one, function: echo, input: {n: 1}}
        output: {answer: "${steps.one.output.n + 41}", fixed: true}
    """,
    "leaves": """
        steps:
          - {name: one, function: echo, input: {n: 1}}
          - {name: two, function: echo, needs: [one], input: {n: 2}}
          - {name: three, function: echo, input: {n: 3}}
          - {name: four, function: echo, when: "${false}"}
    """,
}


def _steps(view: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in view["steps"]}


def test_a_step_without_input_gets_an_empty_object(engine: LocalEngine) -> None:
    assert engine.run("no-input", {"order": 1})["output"] == {"plain": {}}


def test_a_step_starts_when_every_step_that_it_needs_is_terminal(
    engine: LocalEngine, tmp_path: Path
) -> None:
    trail = tmp_path / "trail"

    view = engine.run("join", {"trail": str(trail)})

    assert view["state"] == "Succeeded"
    lines = trail.read_text().splitlines()
    assert lines.index("start after") > lines.index("end late")
    assert lines.index("start late") < lines.index("start after")
    assert set(lines[:4]) == {"start fast", "end fast", "start late", "end late"}


def test_order_follows_needs_and_not_the_list(engine: LocalEngine) -> None:
    view = engine.run("diamond")

    assert [step["name"] for step in view["steps"]] == ["last", "left", "right", "first"]
    assert view["output"] == {"last": {"sum": 5}}


def test_a_step_whose_condition_is_false_is_skipped_and_those_that_need_it_start(
    engine: LocalEngine,
) -> None:
    view = engine.run("skip", {"wanted": False})

    steps = _steps(view)
    assert view["state"] == "Succeeded"
    assert (steps["maybe"]["state"], steps["maybe"]["output"]) == ("Skipped", None)
    assert steps["next"]["output"] == {"state": "Skipped", "output": None}
    assert steps["guarded"]["state"] == "Skipped"


def test_a_step_whose_condition_is_true_runs(engine: LocalEngine) -> None:
    steps = _steps(engine.run("skip", {"wanted": True}))

    assert steps["next"]["output"] == {"state": "Succeeded", "output": {"n": 1}}
    assert steps["guarded"]["state"] == "Succeeded"


def test_a_failed_step_fails_the_run_with_the_steps_problem(engine: LocalEngine) -> None:
    view = engine.run("fail")

    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    assert view["problem"]["type"] == "sold-out"
    assert view["problem"]["title"] == "Sold out"
    assert view["problem"]["detail"] == "No tea left."
    assert view["output"] is None
    assert _steps(view)["bad"]["attempts"] == 1
    assert _steps(view)["never"]["state"] == "Cancelled"


def test_attempts_that_still_run_when_the_run_fails_run_on_and_get_no_successor(
    engine: LocalEngine, tmp_path: Path
) -> None:
    trail = tmp_path / "trail"

    release = tmp_path / "release"

    view = engine.run("fail-beside", {"trail": str(trail), "until": str(release)})

    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    assert view["problem"]["title"] == "Too late"
    assert _steps(view)["busy"]["state"] == "Cancelled"
    release.touch()
    engine.poll("the handler's own end", lambda: "end busy" in trail.read_text())
    # Its answer is ignored: a second run, started after it, ends while nothing changes here.
    engine.run("no-input")
    assert engine.view(view["run"]) == view
    assert "start after" not in trail.read_text()


def test_continue_goes_on_with_a_null_output_and_the_error(engine: LocalEngine) -> None:
    view = engine.run("continue")

    steps = _steps(view)
    assert view["state"] == "Succeeded"
    assert steps["bad"]["state"] == "Failed"
    assert steps["next"]["output"]["output"] is None
    assert "LookupError" in steps["next"]["output"]["title"]
    assert "no such order" in str(steps["next"]["output"])


def test_the_output_is_computed_from_the_steps(engine: LocalEngine) -> None:
    assert engine.run("chosen-output")["output"] == {"answer": 42, "fixed": True}


def test_without_an_output_it_is_what_the_steps_gave_that_nothing_needs(
    engine: LocalEngine,
) -> None:
    assert engine.run("leaves")["output"] == {"two": {"n": 2}, "three": {"n": 3}, "four": None}
