"""What a response of a host means, as data in and data out."""

import json
from typing import Any

import pytest

from agentworkflow.dispatcher.shell.host_answers import (
    Completed,
    Expected,
    Failed,
    Verdict,
    bounded_problem,
    judge,
)
from agentworkflow.runs.slots import Slot

EXPECTED = Expected("r-00", Slot("a", 3), 2, "token")


def answer(kind: str, data: str, **changes: str) -> tuple[list[tuple[str, str]], bytes]:
    attributes = {
        "specversion": "1.0",
        "id": "1",
        "source": "/f",
        "type": f"dev.agentworkflow.step.{kind}",
        "awfrun": "r-00",
        "awfstep": "a",
        "awfitem": "3",
        "awfattempt": "2",
        "awftoken": "token",
    } | changes
    headers = [(f"ce-{name}", value) for name, value in attributes.items() if value]
    return [*headers, ("content-type", "application/json")], data.encode()


def judged(kind: str, data: str, **changes: str) -> Any:
    headers, body = answer(kind, data, **changes)
    return judge(200, headers, body, EXPECTED, pool=False)


def test_a_completed_step_brings_its_output_and_how_it_started() -> None:
    found = judged("completed", '{"x":1}', awfstarttype="cold", awfdurationms="12")
    assert found == Completed({"x": 1}, None, "cold", 12)


def test_a_start_type_or_duration_of_the_hosts_own_making_is_left_out() -> None:
    assert judged("completed", "1", awfstarttype="lukewarm", awfdurationms="long") == Completed(1)


@pytest.mark.parametrize(
    ("after", "expected"),
    [("2", 2000), ("0.25", 250), ("1e999", None), ("-1", None), ("true", None), ('"3"', None)],
)
def test_the_delay_that_a_handler_asks_for_is_a_finite_number_of_seconds(
    after: str, expected: int | None
) -> None:
    found = judged("failed", f'{{"title":"t","reason":"Retry","retryAfter":{after}}}')
    assert found.retry_after == expected


@pytest.mark.parametrize("reason", ['"' + "X" * 64 + '"', '"two words"', "7", '""', '"lower"'])
def test_a_reason_is_one_short_word_or_failure(reason: str) -> None:
    found = judged("failed", f'{{"title":"t","reason":{reason}}}')
    assert found.reason == "Failure"


def test_a_problem_stays_small_whatever_the_host_puts_into_it() -> None:
    deep: dict[str, Any] = {"title": "t", "detail": {"x": "y" * 100_000}, "more": ["z" * 9_000] * 9}
    assert bounded_problem(deep) == {"title": "t"}
    assert len(json.dumps(bounded_problem({"detail": "d" * 100_000}))) < 5_000


@pytest.mark.parametrize("name", ["awfrun", "awfstep", "awfitem", "awfattempt", "awftoken"])
def test_an_answer_of_another_attempt_is_refused_by_the_name_of_what_differs(name: str) -> None:
    found = judged("completed", "1", **{name: "other"})
    assert isinstance(found, Failed)
    assert f"`{name}`" in found.problem["detail"]
    assert isinstance(judged("completed", "1", **{name: ""}), Failed)


def test_a_full_pool_is_passed_over_and_a_full_last_address_asked_again() -> None:
    assert judge(429, [], b"", EXPECTED, pool=True) is Verdict.ELSEWHERE
    assert judge(429, [], b"", EXPECTED, pool=False) is Verdict.AGAIN
