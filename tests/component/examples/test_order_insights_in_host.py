"""The example's functions through the real function host: events in, events out."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

EXAMPLE = Path(__file__).parent.parent.parent.parent / "examples" / "order-insights"
RUN = "5b1f0a52-8f4d-5b7e-9a43-4dd0b6d3c111-00"
FUNCTIONS = {
    "analyze-data": "analyze_data",
    "predict-market-trend": "predict_market_trend",
    "send-notification": "send_notification",
}
TRIGGER = {
    "name": "prices-uploaded",
    "input": {"csv": "${event.data}"},
    "reply": "com.example.trend.predicted",
}


def build_table() -> dict[str, Any]:
    return {
        "namespace": "default",
        "workflow": "order-insights",
        "role": "pool",
        "path": [str(EXAMPLE)],
        "preload": ["pandas"],
        "callback": None,
        "functions": [
            {
                "name": name,
                "handler": f"order_insights.functions:{attribute}",
                "timeout": 60.0,
                "concurrency": 10,
                "memory": None,
                "inputSchema": None,
                "outputSchema": None,
                "triggers": [TRIGGER] if name == "predict-market-trend" else [],
            }
            for name, attribute in FUNCTIONS.items()
        ],
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[httpx2.Client]:
    table = tmp_path_factory.mktemp("table") / "table.json"
    table.write_text(json.dumps(build_table()))
    # The socket listens before the host runs, so the first call waits for it: as with the engine.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "agentworkflow.functions"),
                *("--table", str(table), "--fd", str(listening.fileno())),
            ],
            pass_fds=[listening.fileno()],
            env=os.environ | {"ORDER_INSIGHTS_DATA": str(data)},
        )
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with httpx2.Client(base_url=address, timeout=60, trust_env=False) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def request_step(client: httpx2.Client, function: str, step: str, value: Any) -> httpx2.Response:
    attributes = {
        "specversion": "1.0",
        "id": f"{RUN}/{step}/1/requested",
        "source": "/agentworkflow/default/order-insights",
        "type": "dev.agentworkflow.step.requested",
        "awfrun": RUN,
        "awfstep": step,
        "awfattempt": "1",
        "awftoken": f"token-of-{step}",
        "awffunction": function,
        "awfworkflow": "order-insights",
        "awfnamespace": "default",
        "awfdeadline": "2999-01-01T00:00:00Z",
        "awfdepth": "1",
        "partitionkey": RUN,
    }
    headers = {f"ce-{name}": text for name, text in attributes.items()}
    return client.post("/", json=value, headers=headers)


def test_the_three_functions_hand_on_from_one_to_the_next(host: httpx2.Client, data: Path) -> None:
    analyzed = request_step(host, "analyze-data", "analyze", {"order_id": "O-106398"})
    assert analyzed.headers["ce-type"] == "dev.agentworkflow.step.completed"
    revenue = analyzed.json()

    predicted = request_step(
        host, "predict-market-trend", "trend", {"symbol": revenue["supplier"], "horizon": 3}
    )
    trend = predicted.json()
    assert (trend["symbol"], len(trend["forecast"]["next"])) == ("AAPL", 3)

    told = request_step(host, "send-notification", "tell", {"revenue": revenue, "trend": trend})
    assert told.headers["ce-awftoken"] == "token-of-tell"
    assert told.json()["body"] in (data / "notifications.txt").read_text()


def test_an_unknown_order_is_a_failed_step_with_its_problem(host: httpx2.Client) -> None:
    answer = request_step(host, "analyze-data", "unknown", {"order_id": "O-0"})
    assert answer.headers["ce-type"] == "dev.agentworkflow.step.failed"
    assert (answer.json()["reason"], answer.json()["type"]) == ("Failure", "unknown-order")


def test_days_beyond_their_bounds_are_refused_with_their_path(host: httpx2.Client) -> None:
    value = {"order_id": "O-106398", "days": 0}
    problem = request_step(host, "analyze-data", "bounds", value).json()
    assert problem["reason"] == "InvalidInput"
    assert [error["path"] for error in problem["errors"]] == ["days"]


def test_an_uploaded_files_event_is_answered_with_a_trend(host: httpx2.Client) -> None:
    rows = [f"{2000 + n // 12}-{n % 12 + 1:02}-01,{100 * 1.02**n:.2f}" for n in range(36)]
    answer = host.post(
        "/functions/predict-market-trend/triggers/prices-uploaded",
        content="\n".join(["date,price", *rows]),
        headers={
            "content-type": "text/csv",
            "ce-specversion": "1.0",
            "ce-id": "upload-1",
            "ce-source": "/bucket",
            "ce-type": "com.example.file.uploaded",
            "ce-subject": "trends/mine.csv",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["ce-type"] == "com.example.trend.predicted"
    assert answer.json()["forecast"]["direction"] == "rising"


def test_every_function_runs_in_a_child_forked_from_the_imports(host: httpx2.Client) -> None:
    request_step(host, "analyze-data", "first", {"order_id": "O-0"})  # waits for the imports
    listed = host.get("/functions").json()["functions"]
    assert {entry["name"]: entry["error"] for entry in listed} == dict.fromkeys(FUNCTIONS)
    assert {entry["runsIn"] for entry in listed} == {"forked child"}
