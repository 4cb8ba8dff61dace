import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def host(start_host: Any) -> Any:
    def entry(handler: str, trigger_input: Any = None, reply: str | None = None) -> dict[str, Any]:
        trigger = {"name": "upload", "input": trigger_input, "reply": reply}
        return {"handler": handler, "triggers": [trigger]}

    return start_host(
        {
            "csv-length": entry(
                "orders:csv_length",
                {"csv": "${event.data.rows[1]}", "name": "by ${event.source}: ${event.subject}"},
                "com.example.csv.measured",
            ),
            "picky": entry("orders:picky"),
            "whole": entry("orders:picky", "${event.data.order}"),
            "nothing": entry("orders:nothing"),
            "retry": entry("orders:retry"),
            "fail": entry("orders:fail"),
            "divide": entry("orders:divide"),
            "see": entry("orders:see"),
            "about": entry("orders:about"),
            "leaves": entry("behaviours:leaves"),
            "sleeps": entry("behaviours:sleeps") | {"timeout": 0.2},
            "gulps": entry("behaviours:gulps") | {"memory": 64 << 20},
            "flaky": entry("behaviours:flaky"),
            "until-file": entry("behaviours:until_file") | {"concurrency": 1},
        }
    )


def url(function: str) -> str:
    return f"/functions/{function}/triggers/upload"


def test_a_value_is_answered_with_the_reply_event_of_the_trigger(host: Any) -> None:
    answer = host.event(
        url("csv-length"),
        {"rows": ["x", "a,b,c"]},
        identity="e1",
        headers={"ce-subject": "may", "ce-awfdepth": "4", "ce-partitionkey": "p"},
    )
    assert answer.status == 200
    assert answer.json() == {"length": 5, "name": "by /shop: may"}
    headers = answer.headers
    assert headers["ce-type"] == "com.example.csv.measured"
    assert headers["ce-id"] == "/shop/e1/csv-length"
    assert headers["ce-source"] == "/agentworkflow/default/shop/csv-length"
    assert (headers["ce-awfdepth"], headers["ce-partitionkey"]) == ("5", "p")
    assert "ce-awfrun" not in headers


def test_a_reply_without_a_type_of_its_own_is_function_completed(host: Any) -> None:
    answer = host.event(url("picky"), {"amount": 3})
    assert (answer.type, answer.json()) == ("picky.completed", 3)


def test_unknown_fields_of_an_events_data_are_ignored(host: Any) -> None:
    assert host.event(url("picky"), {"amount": 3, "colour": "red"}).json() == 3


def test_a_path_may_stand_for_the_whole_input(host: Any) -> None:
    assert host.event(url("whole"), {"order": {"amount": 8, "colour": "red"}}).json() == 8


def test_a_path_that_the_event_does_not_have_is_422(host: Any) -> None:
    answer = host.event(url("csv-length"), {"rows": []}, headers={"ce-subject": "x"})
    assert answer.status == 422
    assert "event.data.rows[1]" in answer.json()["detail"]


def test_nothing_is_204_without_a_body(host: Any) -> None:
    answer = host.event(url("nothing"), {})
    assert (answer.status, answer.body, answer.type) == (204, b"", None)


def test_retry_is_503_with_retry_after(host: Any) -> None:
    answer = host.event(url("retry"), {"after": 1.2})
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert host.event(url("retry"), {}).headers["retry-after"] == "1"


def test_failure_and_other_exceptions_are_500_with_a_problem(host: Any) -> None:
    failure, exception = host.event(url("fail"), {}), host.event(url("divide"), {})
    assert (failure.status, failure.json()["type"]) == (500, "urn:shop:closed")
    assert (exception.status, exception.json()["title"]) == (500, "ZeroDivisionError")
    assert exception.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("function", "reason"),
    [("leaves", "Crash"), ("sleeps", "DeadlineExceeded"), ("gulps", "OutOfMemory")],
)
def test_crash_and_overrun_are_500(host: Any, function: str, reason: str) -> None:
    answer = host.event(url(function), {})
    assert (answer.status, answer.json()["reason"]) == (500, reason)


def test_data_that_the_schema_refuses_is_422_with_paths(host: Any) -> None:
    answer = host.event(url("picky"), {"amount": "much"})
    assert answer.status == 422
    assert [each["path"] for each in answer.json()["errors"]] == ["amount"]
    assert host.event(url("picky"), "text").status == 422


def test_a_malformed_event_is_400(host: Any) -> None:
    answer = host.event(url("picky"), {}, headers={"ce-type": ""})
    assert answer.status == 400
    assert [each["path"] for each in answer.json()["errors"]] == ["type"]


def test_an_event_that_too_many_events_caused_is_422_with_reason_loop(host: Any) -> None:
    allowed = host.event(url("picky"), {"amount": 1}, headers={"ce-awfdepth": "16"})
    assert (allowed.status, allowed.headers["ce-awfdepth"]) == (200, "17")
    for depth in ("17", "9" * 5000):
        refused = host.event(url("picky"), {"amount": 1}, headers={"ce-awfdepth": depth})
        assert (refused.status, refused.json()["reason"]) == (422, "Loop")


def test_a_structured_event_is_read_too(host: Any) -> None:
    event = {"specversion": "1.0", "id": "s1", "source": "/s", "type": "t", "data": {"amount": 4}}
    answer = host.request(
        "POST",
        url("picky"),
        {"content-type": "application/cloudevents+json"},
        json.dumps(event).encode(),
    )
    assert answer.json() == 4


def test_an_event_parameter_gets_the_users_event(host: Any) -> None:
    answer = host.event(url("see"), [1, 2], identity="e7")
    assert answer.json() == {
        "id": "e7",
        "type": "com.example.upload",
        "source": "/shop",
        "data": [1, 2],
    }


def test_a_context_without_a_run_has_the_trigger_and_a_key_of_the_event(host: Any) -> None:
    answer = host.event(url("about"), {}, identity="e8").json()
    assert (answer["run"], answer["step"], answer["item"]) == (None, None, None)
    assert (answer["trigger"], answer["key"], answer["attempt"]) == ("upload", "/shop/e8", 1)


def test_equal_events_join_and_get_one_answer(
    host: Any, scratch: Path, background: Any, until: Any
) -> None:
    gate, mark = scratch / "gate", scratch / "mark"
    data = {"gate": str(gate), "mark": str(mark)}
    replies = [
        background(lambda: host.event(url("until-file"), data, identity="same")) for _ in range(3)
    ]
    until(mark.exists)
    # The only slot is taken, so what is not the same event is turned away at once.
    other = host.event(url("until-file"), data, identity="same", source="/other")
    assert other.status == 429
    gate.touch()
    answers = {reply().body for reply in replies}
    assert len(answers) == 1
    assert host.event(url("until-file"), data, identity="same").body in answers
    assert len(mark.read_text().splitlines()) == 1


def test_an_event_that_failed_is_handled_again_when_it_comes_again(
    host: Any, scratch: Path
) -> None:
    mark = scratch / "mark"
    statuses = [
        host.event(url("flaky"), {"mark": str(mark)}, identity="f1").status for _ in range(4)
    ]
    assert statuses == [503, 503, 200, 200]
    assert mark.read_text().splitlines() == ["f1", "f1", "f1"]


def test_an_unknown_trigger_or_function_is_404(host: Any) -> None:
    assert host.event("/functions/picky/triggers/nope", {}).status == 404
    assert host.event("/functions/nope/triggers/upload", {}).status == 404


def test_a_host_of_one_function_takes_events_at_its_root(start_host: Any) -> None:
    host = start_host({"picky": "orders:picky"})
    answer = host.event("/", {"amount": 5, "colour": "red"})
    assert (answer.status, answer.type, answer.json()) == (200, "picky.completed", 5)
