"""How steps behave: waits, and what ends a run from outside."""

import shutil
from pathlib import Path

import psutil
import pytest

from agentworkflow.testing import LocalEngine, LocalEngineError

WORKFLOWS = {
    "approve": """
        steps:
          - {name: wait, waitFor: {signal: approval, timeout: 1h}}
          - {name: next, function: echo, needs: [wait], input: {approval: "${steps.wait.output}"}}
    """,
    "early": """
        steps:
          - {name: first, function: slow, input: {seconds: 0.5}}
          - {name: wait, needs: [first], waitFor: {signal: approval}}
    """,
    "timeout": """
        steps:
          - {name: wait, waitFor: {signal: approval, timeout: 200ms}}
    """,
    "timeout-default": """
        steps:
          - {name: wait, waitFor: {signal: approval, timeout: 200ms, default: {by: nobody}}}
    """,
    "timeout-null": """
        steps:
          - {name: wait, waitFor: {signal: approval, timeout: 200ms, default: null}}
    """,
    "pause": """
        steps:
          - {name: wait, waitFor: {duration: 300ms}}
    """,
    "deadline": """
        deadline: 1s
        steps:
          - {name: wait, waitFor: {signal: never}}
    """,
    "deadline-busy": """
        deadline: 1s
        steps:
          - {name: busy, function: slow, input: {seconds: 3}}
    """,
    "budget": """
        budget: {steps: 3}
        functions:
          - {name: flaky, handler: "step_functions:flaky", retry: {limit: 9, delay: 10ms}}
        steps:
          - {name: try, function: flaky}
    """,
    "budget-enough": """
        budget: {steps: 2}
        steps:
          - {name: one, function: echo}
          - {name: two, function: echo, needs: [one]}
    """,
}

WAITING = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: waiting}
spec:
  functions:
    - {name: echo, handler: "step_functions:echo"}
  steps:
    - {name: wait, waitFor: {signal: approval, timeout: 1h}}
    - {name: next, function: echo, needs: [wait]}
"""


def _is_waiting(view: dict[str, object]) -> bool:
    return view["state"] == "Waiting"


def test_a_step_waits_for_its_signal_and_gives_its_value(engine: LocalEngine) -> None:
    run = engine.start("approve")
    view = engine.wait_until(run, _is_waiting)
    assert view["steps"][0]["state"] == "Waiting"

    engine.signal(run, "approval", {"by": "ada"})

    assert engine.wait(run)["output"] == {"next": {"approval": {"by": "ada"}}}


def test_no_process_exists_while_it_waits(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "steps" / "step_functions.py", tmp_path)
    file = tmp_path / "workflow.yaml"
    file.write_text(WAITING)
    with LocalEngine(file, data_dir=tmp_path / "data") as engine:
        run = engine.start("waiting")
        engine.wait_until(run, _is_waiting)

        (store,) = psutil.Process(engine.process.pid).children(recursive=True)

        assert "valkey" in store.name()
        engine.signal(run, "approval", 1)
        assert engine.wait(run)["state"] == "Succeeded"


def test_a_signal_that_comes_before_the_step_waits_is_kept(engine: LocalEngine) -> None:
    run = engine.start("early")
    engine.signal(run, "approval", "early")

    assert engine.wait(run)["output"] == {"wait": "early"}


def test_a_signal_that_nobody_waits_for_is_refused(engine: LocalEngine) -> None:
    run = engine.start("approve")

    with pytest.raises(LocalEngineError, match=r"approval"):
        engine.signal(run, "aproval", 1)

    engine.cancel(run)


def test_a_timeout_without_a_default_fails_the_step(engine: LocalEngine) -> None:
    view = engine.run("timeout")

    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    assert view["steps"][0]["state"] == "Failed"
    assert view["steps"][0]["reason"] == "SignalTimeout"


def test_a_timeout_with_a_default_gives_it(engine: LocalEngine) -> None:
    assert engine.run("timeout-default")["output"] == {"wait": {"by": "nobody"}}


def test_null_is_a_default_too(engine: LocalEngine) -> None:
    view = engine.run("timeout-null")

    assert (view["state"], view["output"]) == ("Succeeded", {"wait": None})


def test_a_step_may_wait_for_a_time(engine: LocalEngine) -> None:
    view = engine.run("pause")

    assert view["state"] == "Succeeded"
    assert 300 <= view["durationMs"] < 5_000


@pytest.mark.parametrize("workflow", ["deadline", "deadline-busy"])
def test_a_deadline_ends_the_run(engine: LocalEngine, workflow: str) -> None:
    view = engine.run(workflow)

    assert (view["state"], view["reason"]) == ("Failed", "DeadlineExceeded")
    assert 1_000 <= view["durationMs"] < 3_000


def test_a_spent_budget_ends_the_run_with_the_amounts(engine: LocalEngine) -> None:
    view = engine.run("budget")

    assert (view["state"], view["reason"]) == ("Failed", "BudgetExhausted")
    assert "3" in str(view["problem"])
    assert view["steps"][0]["attempts"] == 3


def test_a_budget_that_suffices_changes_nothing(engine: LocalEngine) -> None:
    assert engine.run("budget-enough")["state"] == "Succeeded"


def test_a_cancelled_run_ends_as_cancelled(engine: LocalEngine) -> None:
    run = engine.start("approve")
    engine.wait_until(run, _is_waiting)

    engine.cancel(run)

    view = engine.wait(run)
    assert (view["state"], view["reason"]) == ("Cancelled", "CancelRequested")
    assert [step["state"] for step in view["steps"]] == ["Cancelled", "Cancelled"]


def test_a_run_that_has_ended_takes_no_signal(engine: LocalEngine) -> None:
    run = engine.start("approve")
    engine.cancel(run)
    engine.wait(run)

    with pytest.raises(LocalEngineError, match="409"):
        engine.signal(run, "approval", 1)


def test_runs_of_one_session_are_serial(engine: LocalEngine) -> None:
    first = engine.start("approve", session="ada")
    second = engine.start("approve", session="ada")
    engine.wait_until(first, _is_waiting)

    assert engine.view(second)["state"] == "Pending"
    engine.signal(first, "approval", 1)
    engine.wait(first)
    engine.wait_until(second, _is_waiting)
    engine.cancel(second)
