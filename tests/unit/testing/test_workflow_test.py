"""A whole workflow under test: the real fold, replaced functions, and a clock that is driven."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentworkflow import Context, Failure, Retry
from agentworkflow.testing import Crash, Overrun, StuckError, WorkflowTest, WorkflowTestError

HEAD = """
apiVersion: agentworkflow.dev/v1alpha1
kind: AgentWorkflow
metadata: {name: shop}
spec:
  functions:
    - {name: price, handler: "shop_functions:price"}
    - {name: tell, handler: "shop_functions:tell", retry: {limit: 2, delay: 10s}}
"""
FUNCTIONS = """
def price(article):
    return {"total": len(article)}

def tell(text):
    return f"told {text}"
"""
Make = Callable[[str], WorkflowTest]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a workflow with the given rest of its specification, and its functions."""

    def build(spec: str) -> WorkflowTest:
        (tmp_path / "src").mkdir(exist_ok=True)
        (tmp_path / "src" / "shop_functions.py").write_text(FUNCTIONS)
        file = tmp_path / "workflow.yaml"
        file.write_text(HEAD + spec)
        return WorkflowTest(file, now=datetime(2026, 1, 1, tzinfo=UTC))

    return build


ORDER = """
  steps:
    - {name: cost, function: price, input: {article: "${input.article}"}}
    - {name: say, function: tell, needs: [cost],
       input: {text: "${string(steps.cost.output.total)}"}}
"""


def test_functions_are_imported_from_the_workflows_folder_and_its_src(make: Make) -> None:
    run = make(ORDER).run(input={"article": "tea"})

    assert (run.state, run.output) == ("Succeeded", {"say": "told 3"})
    assert run.steps["cost"].output == {"total": 3}


def test_a_null_that_is_written_is_the_output_and_the_sessions_value(make: Make) -> None:
    waits = """
  steps: [{name: w, waitFor: {signal: go}}]
"""
    run = make(waits + "  output: null\n  session: {update: null}\n").start(session="ann")
    run.signal("go", 1)

    assert (run.state, run.output) == ("Succeeded", None)
    assert run.new_session == ("ann", None)
    run = make(waits).start(session="ann")
    run.signal("go", 1)
    assert (run.output, run.new_session) == ({"w": 1}, None)


def test_a_replaced_function_gets_the_steps_input(make: Make) -> None:
    workflow = make(ORDER)
    workflow.replace("price", lambda article: {"total": 99, "was": article})

    run = workflow.run(input={"article": "tea"})

    assert run.output == {"say": "told 99"}
    (call,) = run.calls_of("price")
    assert (call.step, call.attempt, call.input) == ("cost", 1, {"article": "tea"})
    assert call.result.output == {"total": 99, "was": "tea"}


def test_a_replacement_may_ask_for_the_context(make: Make) -> None:
    workflow = make(ORDER)

    def price(article: str, ctx: Context) -> dict[str, Any]:
        ctx.progress(0.5, article)
        return {"total": ctx.attempt, "key": ctx.idempotency_key}

    workflow.replace("price", price)

    run = workflow.run(input={"article": "tea"})

    assert run.steps["cost"].output == {"total": 1, "key": f"{run.id}/cost"}
    assert [report.message for report in run.progress] == ["tea"]


def test_a_failure_fails_the_run_with_its_problem(make: Make) -> None:
    workflow = make(ORDER)

    def refuse(**_: Any) -> None:
        raise Failure("sold-out", "Sold out")

    workflow.replace("price", refuse)

    run = workflow.run(input={"article": "tea"})

    assert (run.state, run.reason) == ("Failed", "StepFailed")
    assert run.problem is not None
    assert run.problem["type"] == "sold-out"
    with pytest.raises(StuckError, match="StepFailed"):
        _ = run.output


@pytest.mark.parametrize("fault", [Retry("busy"), Crash(), Overrun()])
def test_attempts_are_repeated_by_the_functions_own_rule_and_delays_pass_at_once(
    make: Make, fault: Exception
) -> None:
    workflow = make(ORDER)

    def flaky(text: str, ctx: Context) -> str:
        if ctx.attempt < 3:
            raise fault
        return f"{text} at {ctx.attempt}"

    workflow.replace("tell", flaky)

    run = workflow.run(input={"article": "tea"})

    assert run.output == {"say": "3 at 3"}
    assert run.steps["say"].attempts == 3


def test_attempts_end_with_the_limit(make: Make) -> None:
    workflow = make(ORDER)

    def busy(text: str) -> None:
        raise Retry(text)

    workflow.replace("tell", busy)

    run = workflow.run(input={"article": "tea"})

    assert run.steps["say"].attempts == 3
    assert run.steps["say"].reason == "Retry"


def test_a_delay_that_is_asked_for_is_time_that_passes(make: Make) -> None:
    workflow = make(ORDER)

    def busy(text: str, ctx: Context) -> str:
        if ctx.attempt == 1:
            raise Retry(text, after=3600)
        return text

    workflow.replace("tell", busy)

    run = workflow.run(input={"article": "tea"})

    assert run.now == datetime(2026, 1, 1, 1, tzinfo=UTC)


def test_an_expression_that_fails_is_seen(make: Make) -> None:
    run = make(ORDER).run(input={})

    assert run.steps["cost"].reason == "ExpressionFailed"


APPROVE = """
  deadline: 48h
  steps:
    - {name: approve, waitFor: {signal: approval, timeout: 24h}}
    - {name: say, function: tell, needs: [approve], input: {text: "${steps.approve.output}"}}
"""


def test_a_run_stands_still_while_it_waits_for_a_signal(make: Make) -> None:
    run = make(APPROVE).start()

    assert (run.state, run.calls) == ("Waiting", ())
    run.signal("approval", "yes")
    assert run.output == {"say": "told yes"}


def test_a_signal_may_be_there_from_the_start(make: Make) -> None:
    assert make(APPROVE).run(signals={"approval": "ok"}).output == {"say": "told ok"}


def test_time_passes_when_the_test_says_so(make: Make) -> None:
    run = make(APPROVE).start()

    run.advance("23h")
    assert run.state == "Waiting"
    run.advance(timedelta(hours=1))
    assert (run.state, run.reason) == ("Failed", "StepFailed")
    assert run.steps["approve"].problem is not None


def test_run_lets_a_timeout_pass(make: Make) -> None:
    run = make(APPROVE).run()

    assert run.reason == "StepFailed"
    assert run.now == datetime(2026, 1, 2, tzinfo=UTC)


def test_a_deadline_ends_the_run(make: Make) -> None:
    run = make(APPROVE.replace(", timeout: 24h", "")).run()

    assert (run.state, run.reason) == ("Failed", "DeadlineExceeded")


def test_a_pause_passes(make: Make) -> None:
    run = make("  steps: [{name: pause, waitFor: {duration: 2h}}]").start()

    run.advance("119m")
    assert run.state == "Waiting"
    run.advance("1m")
    assert run.state == "Succeeded"


def test_a_run_may_be_cancelled(make: Make) -> None:
    run = make(APPROVE).start()

    run.cancel()

    assert (run.state, run.reason) == ("Cancelled", "CancelRequested")


def test_a_signal_that_no_step_knows_is_told(make: Make) -> None:
    run = make(APPROVE).start()

    with pytest.raises(StuckError, match=r"no step waits for the signal 'aproval'.*approval"):
        run.signal("aproval")


EVENTS = """
  triggers:
    - name: ordered
      filters: [{exact: {type: com.example.ordered}}]
      input: {article: "${event.data.article}"}
      session: "${event.data.customer}"
  session: {update: "${session == null ? 1 : session + 1}"}
  steps:
    - {name: cost, function: price, input: {article: "${input.article}"}}
    - {name: say, function: tell, needs: [cost],
       input: {text: "visit ${session == null ? 1 : session + 1}"}}
"""
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "com.example.ordered",
    "data": {"article": "tea", "customer": "ada"},
}


def test_an_event_starts_a_run_through_its_trigger(make: Make) -> None:
    run = make(EVENTS).run(event=EVENT)

    assert run.output == {"say": "told visit 1"}
    assert run.view["startedBy"] == {
        "kind": "event",
        "trigger": "ordered",
        "event": {"source": "/shop", "id": "1", "type": "com.example.ordered"},
    }


def test_a_session_goes_on_from_run_to_run(make: Make) -> None:
    workflow = make(EVENTS)

    outputs = [workflow.run(event=EVENT | {"id": str(n)}).output["say"] for n in range(3)]

    assert outputs == ["told visit 1", "told visit 2", "told visit 3"]
    assert workflow.session("ada") == 3
    assert workflow.session("bob") is None


def test_an_event_that_no_trigger_matches_is_told(make: Make) -> None:
    with pytest.raises(WorkflowTestError, match=r"no trigger matches .*: ordered\."):
        make(EVENTS).run(event=EVENT | {"type": "other"})


def test_input_that_the_schema_refuses_is_told(make: Make) -> None:
    workflow = make("  inputSchema: {type: object, required: [article]}\n" + ORDER.lstrip("\n"))

    with pytest.raises(WorkflowTestError, match="'article' is a required property"):
        workflow.run(input={})


def test_a_function_that_is_not_there_cannot_be_replaced(make: Make) -> None:
    with pytest.raises(WorkflowTestError, match=r"no function 'prise'; it has price, tell\."):
        make(ORDER).replace("prise", lambda: None)


def test_an_invalid_file_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "workflow.yaml"
    file.write_text(HEAD + "  steps: [{name: cost, function: prise}]")

    with pytest.raises(WorkflowTestError, match=r"workflow.yaml:9:\d+: "):
        WorkflowTest(file)


EACH = """
  steps:
    - {name: each, function: price, forEach: "${input.articles}", onFailure: Continue,
       input: {article: "${item}"}}
"""


def test_every_item_is_a_call(make: Make) -> None:
    workflow = make(EACH)

    def price(article: str) -> int:
        if not article:
            raise Failure("empty")
        return len(article)

    workflow.replace("price", price)

    run = workflow.run(input={"articles": ["a", "", "ccc"]})

    assert run.output == {"each": [1, None, 3]}
    assert [call.item for call in run.calls] == [0, 1, 2]
