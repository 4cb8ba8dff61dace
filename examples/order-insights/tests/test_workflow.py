"""The workflow as a whole, by the rules of production, with functions real or replaced."""

import json
from pathlib import Path

from agentworkflow import Failure, Retry
from agentworkflow.testing import WorkflowTest, call

EXAMPLE = Path(__file__).parent.parent
WORKFLOW = EXAMPLE / "workflow.yaml"
ORDER = json.loads((EXAMPLE / "order.json").read_text())


def test_an_orders_event_becomes_a_notification(data: Path) -> None:
    run = WorkflowTest(WORKFLOW).run(event=ORDER)

    assert (run.state, run.reason) == ("Succeeded", None)
    assert run.output["trend"]["symbol"] == "AAPL"
    assert run.output["told"] in (data / "notifications.txt").read_text()
    assert [made.step for made in run.calls] == ["analyze", "trend", "tell"]


def test_a_request_needs_no_event(data: Path) -> None:
    run = WorkflowTest(WORKFLOW).run(input={"order_id": "O-103000"})

    assert run.output["revenue"] == 219286.83
    assert "Order O-103000" in (data / "notifications.txt").read_text()


def test_an_unknown_order_fails_the_run_and_tells_nobody(data: Path) -> None:
    run = WorkflowTest(WORKFLOW).run(input={"order_id": "O-0"})

    assert (run.state, run.reason) == ("Failed", "StepFailed")
    assert run.problem is not None
    assert run.problem["type"] == "unknown-order"
    assert not (data / "notifications.txt").exists()


def test_an_order_without_a_supplier_is_told_without_a_trend() -> None:
    workflow = WorkflowTest(WORKFLOW)
    revenue = call_analysis() | {"supplier": ""}
    workflow.replace("analyze-data", lambda order_id: revenue | {"order_id": order_id})

    run = workflow.run(input={"order_id": "O-7"})

    assert run.steps["trend"].state == "Skipped"
    assert run.output["trend"] is None
    assert "looks" not in run.output["told"]


def test_a_target_that_is_away_is_told_later_and_once(data: Path) -> None:
    workflow = WorkflowTest(WORKFLOW)
    attempts = []

    def away_once(revenue: dict[str, object], trend: dict[str, object]) -> dict[str, object]:
        attempts.append((revenue["order_id"], trend["symbol"]))
        if len(attempts) == 1:
            raise Retry("the server is away", after=10)
        return {"body": "told"}

    workflow.replace("send-notification", away_once)
    run = workflow.run(event=ORDER)

    assert run.output["told"] == "told"
    assert attempts == [("O-106398", "AAPL")] * 2
    assert not (data / "notifications.txt").exists()


def test_a_target_that_cannot_be_used_fails_the_run() -> None:
    workflow = WorkflowTest(WORKFLOW)

    def refuse(**_: object) -> None:
        raise Failure("bad-target", "NOTIFY_URLS cannot be used", "target 1")

    workflow.replace("send-notification", refuse)
    run = workflow.run(event=ORDER)

    assert (run.state, run.reason, run.steps["tell"].attempts) == ("Failed", "StepFailed", 1)


def call_analysis() -> dict[str, object]:
    from order_insights.functions import analyze_data  # noqa: PLC0415 - conftest.py finds it

    return dict(call(analyze_data, input={"order_id": "O-103000"}).output)
