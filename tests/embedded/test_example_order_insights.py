"""examples/order-insights on the whole engine: each of its ways in, to what comes out."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentworkflow.testing import LocalEngine

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "order-insights"
EVENT: dict[str, Any] = json.loads((EXAMPLE / "order.json").read_text())
# Whoever wants to know of predicted trends, as another team's workflow would.
LISTENER = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: trend-listener}
spec:
  functions:
    - {name: note, handler: "listener_functions:note"}
  triggers:
    - name: predicted
      filters: [{exact: {type: com.example.trend.predicted}}]
  steps:
    - name: note
      function: note
      input: {direction: "${input.forecast.direction}", symbol: "${input.symbol}"}
"""
NOTE = """
def note(direction: str, symbol: str) -> str:
    return f"{symbol} is {direction}"
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("order-insights")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[LocalEngine]:
    folder = tmp_path_factory.mktemp("listener")
    (folder / "listener.yaml").write_text(LISTENER)
    (folder / "listener_functions.py").write_text(NOTE)
    with LocalEngine(
        EXAMPLE / "workflow.yaml",
        folder / "listener.yaml",
        data_dir=folder / "data",
        environment={"ORDER_INSIGHTS_DATA": str(data)},
    ) as running:
        yield running


def runs_by_event(engine: LocalEngine, workflow: str) -> list[dict[str, Any]]:
    """The runs of a workflow that events have started, whatever other tests did."""
    return [run for run in engine.runs(workflow=workflow) if run["startedBy"]["kind"] == "event"]


def ended(engine: LocalEngine, workflow: str) -> dict[str, Any]:
    """The one run that an event has started, at its end."""
    found = engine.poll(f"a run of {workflow}", lambda: runs_by_event(engine, workflow))
    return engine.wait(found[0]["run"], seconds=60)


def test_the_command_of_the_readme_prints_the_result(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "agentworkflow.cli", "run", str(EXAMPLE / "workflow.yaml")),
            *("--event", str(EXAMPLE / "order.json"), "--json"),
        ],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ORDER_INSIGHTS_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [step["name"] for step in result["steps"]] == ["analyze", "trend", "tell"]
    assert result["steps"][0]["startType"] == "cold"
    assert result["output"]["revenue"] == 196311.79
    assert result["output"]["told"] in (tmp_path / "notifications.txt").read_text()


def test_an_orders_event_sent_twice_notifies_once(engine: LocalEngine, data: Path) -> None:
    engine.send(EVENT)
    engine.send(EVENT)
    view = ended(engine, "order-insights")

    assert view["state"] == "Succeeded"
    assert view["startedBy"]["event"]["id"] == EVENT["id"]
    assert len(runs_by_event(engine, "order-insights")) == 1
    assert (data / "notifications.txt").read_text().count("Order O-106398") == 1


def test_a_request_waits_for_the_result(engine: LocalEngine, data: Path) -> None:
    answer = engine.http.post("/analyze", json={"order_id": "O-103000"}, timeout=60)
    assert (answer.status_code, answer.json()["state"]) == (200, "Succeeded")
    assert answer.json()["output"]["told"] in (data / "notifications.txt").read_text()


def test_a_request_without_an_order_is_refused_with_the_path(engine: LocalEngine) -> None:
    answer = engine.http.post("/analyze", json={})
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == ["/order_id"]


def test_an_order_that_is_unknown_fails_the_run_with_its_problem(engine: LocalEngine) -> None:
    view = engine.run("order-insights", {"order_id": "O-0"}, seconds=60)
    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    assert view["problem"]["type"] == "unknown-order"


def test_an_uploaded_files_event_becomes_a_trend_for_whoever_listens(engine: LocalEngine) -> None:
    rows = [f"{2000 + n // 12}-{n % 12 + 1:02}-01,{100 * 1.02**n:.2f}" for n in range(36)]
    engine.send(
        {
            "specversion": "1.0",
            "id": "upload-1",
            "source": "/bucket",
            "type": "com.example.file.uploaded",
            "subject": "trends/mine.csv",
            "datacontenttype": "text/csv",
            "data": "\n".join(["date,price", *rows]),
        }
    )
    view = ended(engine, "trend-listener")
    assert view["output"] == {"note": "prices is rising"}
