import json
from typing import Any

import pytest

COMPLETED = "dev.agentworkflow.step.completed"
FAILED = "dev.agentworkflow.step.failed"


@pytest.fixture(scope="module")
def host(start_host: Any) -> Any:
    return start_host(
        {
            "revenue": "orders:revenue",
            "nothing": "orders:nothing",
            "unholdable": "orders:unholdable",
            "retry": "orders:retry",
            "fail": "orders:fail",
            "divide": "orders:divide",
            "divide-async": "orders:divide_async",
            "wrong-output": {"handler": "orders:greeter", "outputSchema": {"type": "integer"}},
            "see": "orders:see",
            "attributes": "orders:attributes",
            "retry-in-a-group": "orders:retry_in_a_group",
            "half-a-character": "orders:half_a_character",
        }
    )


def test_a_value_is_answered_with_step_completed(host: Any) -> None:
    answer = host.step("revenue", run="r1-00", headers={"ce-awfitem": "3"})
    assert answer.status == 200
    assert answer.json() == {
        "total": "12.50",
        "at": "2026-01-02T00:00:00Z",
        "period": "week",
        "customer": {"name": "Ada", "vip": False},
    }
    headers = dict(answer.headers)
    assert headers.pop("ce-time").endswith("Z")
    assert int(headers.pop("ce-awfdurationms")) >= 0
    assert headers.pop("ce-awfstarttype") in ("warm", "cold")
    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": "r1-00/revenue/3/1/completed",
        "ce-source": "/agentworkflow/default/shop/revenue",
        "ce-type": COMPLETED,
        "ce-awfrun": "r1-00",
        "ce-awfstep": "revenue",
        "ce-awfitem": "3",
        "ce-awfattempt": "1",
        "ce-awftoken": "token",
        "ce-awffunction": "revenue",
        "ce-awfworkflow": "shop",
        "ce-awfnamespace": "default",
        "ce-awfdepth": "3",
        "ce-partitionkey": "r1-00",
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
    }


def test_nothing_is_answered_with_step_completed_and_null(host: Any) -> None:
    answer = host.step("nothing")
    assert (answer.status, answer.type, answer.body) == (200, COMPLETED, b"null")


def test_retry_is_a_failed_step_that_says_when_to_come_back(host: Any) -> None:
    answer = host.step("retry", {"after": 5}, run="r2-00")
    assert (answer.status, answer.type) == (200, FAILED)
    assert answer.headers["ce-id"] == "r2-00/retry/1/failed"
    assert answer.json() == {
        "type": "about:blank",
        "title": "The handler asked for another attempt",
        "detail": "the bank sleeps",
        "reason": "Retry",
        "retryAfter": 5.0,
    }


def test_retry_out_of_a_task_group_is_still_a_retry(host: Any) -> None:
    problem = host.step("retry-in-a-group").json()
    assert (problem["reason"], problem["retryAfter"]) == ("Retry", 1.0)


def test_a_message_that_no_text_can_hold_is_still_an_answer(host: Any) -> None:
    problem = host.step("half-a-character").json()
    assert (problem["title"], problem["detail"]) == ("ValueError", "half: ?")


def test_a_handler_never_sees_the_attempts_token(host: Any) -> None:
    seen = host.step("attributes", run="seen-00").json()
    assert "awftoken" not in seen
    assert seen["awfrun"] == "seen-00"
    structured = {name: value for name, value in seen.items() if name != "datacontenttype"}
    answer = host.request(
        "POST",
        "/",
        {"content-type": "application/cloudevents+json"},
        json.dumps(structured | {"awftoken": "secret", "data": {}}).encode(),
    )
    assert answer.headers["ce-awftoken"] == "secret"
    assert "secret" not in answer.body.decode()


def test_failure_is_a_failed_step_with_its_own_problem(host: Any) -> None:
    answer = host.step("fail")
    assert (answer.status, answer.type) == (200, FAILED)
    assert answer.json() == {
        "type": "urn:shop:closed",
        "title": "The shop is closed",
        "detail": "it opens at nine",
        "reason": "Failure",
    }


@pytest.mark.parametrize("function", ["divide", "divide-async"])
def test_any_other_exception_fails_the_step_with_class_and_message_only(
    host: Any, function: str, until: Any
) -> None:
    answer = host.step(function, run=f"trace-{function}-00")
    assert (answer.status, answer.type) == (200, FAILED)
    assert answer.json() == {
        "type": "about:blank",
        "title": "ZeroDivisionError",
        "detail": "division by zero",
        "reason": "Failure",
    }
    label = f"[trace-{function}-00/{function}/1]"
    until(lambda: f"{label} ZeroDivisionError: division by zero" in host.log)
    assert f"{label} Traceback (most recent call last):" in host.log


def test_a_result_that_json_cannot_hold_is_a_bad_answer_that_says_where(host: Any) -> None:
    problem = host.step("unholdable").json()
    assert problem["reason"] == "BadAnswer"
    assert "the result['rows'][1] is object" in problem["detail"]


def test_a_result_that_the_output_schema_refuses_is_a_bad_answer(host: Any) -> None:
    problem = host.step("wrong-output", {"name": "Ada"}).json()
    assert problem["reason"] == "BadAnswer"
    # The whole result is wrong, which has no path to put before the sentence.
    assert problem["detail"] == "'hello Ada' is not of type 'integer'"


@pytest.mark.parametrize(
    ("header", "value", "attribute"),
    [
        ("ce-id", None, "id"),
        ("ce-specversion", "0.3", "specversion"),
        ("ce-awfrun", None, "awfrun"),
        ("ce-awfstep", None, "awfstep"),
        ("ce-awftoken", None, "awftoken"),
        ("ce-awffunction", None, "awffunction"),
        ("ce-awfattempt", None, "awfattempt"),
        ("ce-awfattempt", "first", "awfattempt"),
        ("ce-awfitem", "-1", "awfitem"),
        ("ce-awfdeadline", "tomorrow", "awfdeadline"),
    ],
)
def test_a_malformed_event_is_400_and_says_which_attribute_and_why(
    host: Any, header: str, value: str | None, attribute: str
) -> None:
    answer = host.step("nothing", headers={header: value})
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert [each["path"] for each in answer.json()["errors"]] == [attribute]


def test_data_that_is_no_json_is_400(host: Any) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/shop",
        "ce-type": "dev.agentworkflow.step.requested",
        "content-type": "application/json",
    }
    answer = host.request("POST", "/", headers, b"{nope")
    assert answer.status == 400
    assert [each["path"] for each in answer.json()["errors"]] == ["data"]


def test_an_unknown_function_is_404_and_the_known_ones_are_named(host: Any) -> None:
    answer = host.step("revenues")
    assert answer.status == 404
    assert "revenue, nothing" in answer.json()["detail"]


def test_an_event_for_nobody_is_refused_where_several_functions_live(host: Any) -> None:
    answer = host.event("/", {})
    assert answer.status == 400
    assert "/functions/<name>/triggers/<trigger>" in answer.json()["detail"]


def test_a_deadline_that_has_passed_is_not_started(host: Any) -> None:
    answer = host.step("see", headers={"ce-awfdeadline": "2020-01-01T00:00:00Z"})
    assert answer.json()["reason"] == "DeadlineExceeded"


def test_unknown_paths_and_wrong_methods_are_refused(host: Any) -> None:
    assert host.request("GET", "/nope").status == 404
    wrong = host.request("GET", "/")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert host.request("POST", "/healthz").status == 405


def test_an_event_over_sixteen_mebibytes_is_413(host: Any) -> None:
    answer = host.request(
        "POST", "/", {"content-type": "application/json"}, b" " * (16 << 20) + b"1"
    )
    assert answer.status == 413
