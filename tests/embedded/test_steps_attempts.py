"""How steps behave: attempts, what is tried again and when, and what an attempt ends by."""

from itertools import pairwise
from pathlib import Path

import pytest

from agentworkflow.testing import LocalEngine

WORKFLOWS = {
    "know": """
        functions:
          - {name: about, handler: "step_functions:about", timeout: 30s}
        steps:
          - {name: ask, function: about}
    """,
    "retry": """
        functions:
          - {name: flaky, handler: "step_functions:flaky", retry: {limit: 3, delay: 10ms}}
        steps:
          - {name: try, function: flaky, input: {until: "${input.until}"}}
    """,
    "retry-default": """
        steps:
          - {name: try, function: flaky, input: {until: 99, after: 0.01}}
    """,
    "retry-after": """
        steps:
          - {name: try, function: flaky, input: {until: 2, after: 0.8, trail: "${input.trail}"}}
    """,
    "retry-linear": """
        functions:
          - {name: flaky, handler: "step_functions:flaky",
             retry: {limit: 3, backoff: Linear, delay: 200ms}}
        steps:
          - {name: try, function: flaky, input: {until: 4, trail: "${input.trail}"}}
    """,
    "retry-none": """
        functions:
          - {name: flaky, handler: "step_functions:flaky", retry: {limit: 0}}
        steps:
          - {name: try, function: flaky}
    """,
    "refuse": """
        steps:
          - {name: try, function: refuse, input: {title: Refused}}
    """,
    "refuse-retried": """
        functions:
          - {name: refuse, handler: "step_functions:refuse",
             retry: {limit: 2, delay: 10ms, on: [Failure]}}
        steps:
          - {name: try, function: refuse, input: {title: Refused}}
    """,
    "retry-unlisted": """
        functions:
          - {name: flaky, handler: "step_functions:flaky",
             retry: {limit: 2, delay: 10ms, on: [Crash]}}
        steps:
          - {name: try, function: flaky}
    """,
    "crash": """
        functions:
          - {name: crash, handler: "step_functions:crash", retry: {limit: 2, delay: 10ms}}
        steps:
          - {name: try, function: crash, input: {until: "${input.until}"}}
    """,
    "grow": """
        functions:
          - {name: grow, handler: "step_functions:grow", memory: 128Mi,
             retry: {limit: 1, delay: 10ms}}
        steps:
          - {name: try, function: grow, input: {mebibytes: 400, until: "${input.until}"}}
    """,
    "overrun": """
        functions:
          - {name: slow, handler: "step_functions:slow", timeout: 1s,
             retry: {limit: 1, delay: 10ms}}
        steps:
          - {name: try, function: slow, input: {seconds: 30, name: x, trail: "${input.trail}"}}
    """,
    "invalid": """
        steps:
          - {name: try, function: flaky, input: {until: many, what: 1}}
    """,
    "neighbour": """
        steps:
          - {name: try, function: echo, input: {n: 1}}
    """,
}


def test_a_handler_knows_its_call(engine: LocalEngine) -> None:
    view = engine.run("know", session="ada")

    about = view["output"]["ask"]
    remaining = about.pop("remaining")
    assert about == {
        "fields": {},
        "run": view["run"],
        "step": "ask",
        "item": None,
        "attempt": 1,
        "session": "ada",
        "key": f"{view['run']}/ask",
    }
    assert 0 < remaining <= 30


def test_a_handler_that_asks_for_another_attempt_gets_it(engine: LocalEngine) -> None:
    view = engine.run("retry", {"until": 3})

    assert view["state"] == "Succeeded"
    assert view["output"] == {"try": 3}
    assert view["steps"][0]["attempts"] == 3


def test_the_limit_counts_attempts_after_the_first(engine: LocalEngine) -> None:
    view = engine.run("retry", {"until": 99})

    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    assert (view["steps"][0]["reason"], view["steps"][0]["attempts"]) == ("Retry", 4)
    assert "attempt 4 of 99" in str(view["problem"])


def test_the_limit_is_3_without_one(engine: LocalEngine) -> None:
    assert engine.run("retry-default")["steps"][0]["attempts"] == 4


def test_a_limit_of_0_makes_one_attempt(engine: LocalEngine) -> None:
    assert engine.run("retry-none")["steps"][0]["attempts"] == 1


def test_the_delay_that_the_handler_asks_for_is_kept(engine: LocalEngine, tmp_path: Path) -> None:
    trail = tmp_path / "trail"

    engine.run("retry-after", {"trail": str(trail)})

    first, second = map(float, trail.read_text().split())
    assert 0.8 <= second - first < 5


def test_a_linear_backoff_grows_by_its_delay(engine: LocalEngine, tmp_path: Path) -> None:
    trail = tmp_path / "trail"

    engine.run("retry-linear", {"trail": str(trail)})

    times = [float(line) for line in trail.read_text().split()]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) == 3
    for gap, least in zip(gaps, [0.2, 0.4, 0.6], strict=True):
        assert gap >= least


def test_a_failure_is_not_tried_again(engine: LocalEngine) -> None:
    step = engine.run("refuse")["steps"][0]

    assert (step["state"], step["reason"], step["attempts"]) == ("Failed", "Failure", 1)


def test_a_failure_is_tried_again_if_listed(engine: LocalEngine) -> None:
    assert engine.run("refuse-retried")["steps"][0]["attempts"] == 3


def test_what_is_not_listed_is_not_tried_again(engine: LocalEngine) -> None:
    step = engine.run("retry-unlisted")["steps"][0]

    assert (step["reason"], step["attempts"]) == ("Retry", 1)


def test_a_crash_fails_its_attempt_and_is_tried_again(engine: LocalEngine) -> None:
    healed = engine.run("crash", {"until": 2})
    lost = engine.run("crash", {"until": 99})

    assert healed["output"] == {"try": 2}
    assert (lost["state"], lost["steps"][0]["reason"]) == ("Failed", "Crash")
    assert lost["steps"][0]["attempts"] == 3


def test_too_much_memory_fails_its_attempt_and_is_tried_again_as_a_crash(
    engine: LocalEngine,
) -> None:
    healed = engine.run("grow", {"until": 2})
    lost = engine.run("grow", {"until": 99})

    assert healed["output"] == {"try": 2}
    assert (lost["state"], lost["steps"][0]["reason"]) == ("Failed", "OutOfMemory")
    assert lost["steps"][0]["attempts"] == 2


def test_an_overrun_ends_the_attempt_and_the_handler(engine: LocalEngine, tmp_path: Path) -> None:
    trail = tmp_path / "trail"

    view = engine.run("overrun", {"trail": str(trail)})

    assert (view["state"], view["steps"][0]["reason"]) == ("Failed", "DeadlineExceeded")
    assert view["steps"][0]["attempts"] == 2
    assert trail.read_text().splitlines() == ["start x", "start x"]


def test_input_that_the_handler_cannot_take_is_refused_with_the_path_of_each_error(
    engine: LocalEngine,
) -> None:
    view = engine.run("invalid")

    step = view["steps"][0]
    assert (step["state"], step["reason"], step["attempts"]) == ("Failed", "InvalidInput", 1)
    paths = str([error["path"] for error in step["problem"]["errors"]])
    assert "until" in paths
    assert "what" in paths


@pytest.mark.parametrize("workflow", ["crash", "grow"])
def test_a_handler_that_takes_its_process_down_fails_nothing_else(
    engine: LocalEngine, tmp_path: Path, workflow: str
) -> None:
    dying = engine.start(workflow, {"until": 99})

    assert engine.run("neighbour")["state"] == "Succeeded"
    assert engine.wait(dying)["state"] == "Failed"


SLOW_START = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: slow-start}
spec:
  functions:
    - {name: work, handler: "slow_start:work", timeout: 500ms, startTimeout: 1s,
       retry: {limit: 1, delay: 10ms}}
  steps:
    - {name: try, function: work}
"""
SLOW_MODULE = """
import pathlib, time
if pathlib.Path(__file__).with_name("slow").exists():
    time.sleep(30)

def work():
    return 1
"""


def test_an_attempt_without_an_answer_ends_by_its_timer(tmp_path: Path) -> None:
    (tmp_path / "slow_start.py").write_text(SLOW_MODULE)
    file = tmp_path / "workflow.yaml"
    file.write_text(SLOW_START)
    with LocalEngine(file, data_dir=tmp_path / "data") as engine:
        (tmp_path / "slow").touch()

        view = engine.run("slow-start")

    step = view["steps"][0]
    assert (step["state"], step["reason"]) == ("Failed", "DeadlineExceeded")
    assert step["attempts"] == 2
    assert 3_000 <= step["durationMs"] < 10_000  # twice timeout + startTimeout
