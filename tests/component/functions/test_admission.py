from pathlib import Path
from typing import Any

import pytest

ONE = {"handler": "behaviours:until_file", "concurrency": 1}


@pytest.fixture(scope="module")
def own(start_host: Any) -> Any:
    return start_host({"until-file": ONE, "divide": "orders:divide"})


@pytest.fixture(scope="module")
def pool(start_host: Any) -> Any:
    return start_host({"until-file": ONE, "divide": "orders:divide"}, role="pool")


@pytest.fixture
def gate(scratch: Path) -> Path:
    return scratch / "gate"


@pytest.fixture
def mark(scratch: Path) -> Path:
    return scratch / "mark"


@pytest.fixture
def data(gate: Path, mark: Path) -> dict[str, str]:
    return {"gate": str(gate), "mark": str(mark)}


def calls(mark: Path) -> int:
    return len(mark.read_text().splitlines()) if mark.exists() else 0


def test_the_same_attempt_with_the_same_token_joins_while_it_runs(
    own: Any, data: Any, gate: Path, mark: Path, background: Any, until: Any
) -> None:
    replies = [
        background(lambda: own.step("until-file", data, run="join-00", token="a")) for _ in range(3)
    ]
    until(mark.exists)
    gate.touch()
    answers = [reply() for reply in replies]
    assert len({(each.body, each.headers["ce-time"]) for each in answers}) == 1
    assert calls(mark) == 1


def test_the_same_attempt_with_the_same_token_joins_when_it_has_just_finished(
    own: Any, data: Any, gate: Path, mark: Path
) -> None:
    gate.touch()
    first, second = (own.step("until-file", data, run="done-00", token="a") for _ in range(2))
    assert (first.body, first.headers) == (second.body, second.headers)
    assert calls(mark) == 1


def test_a_failed_attempt_is_joined_too(own: Any) -> None:
    first, second = (own.step("divide", run="failed-00") for _ in range(2))
    assert first.headers["ce-time"] == second.headers["ce-time"]


def test_another_token_never_joins(own: Any, data: Any, gate: Path, mark: Path) -> None:
    gate.touch()
    first = own.step("until-file", data, run="token-00", token="a")
    second = own.step("until-file", data, run="token-00", token="b")
    assert first.body != second.body
    assert calls(mark) == 2


def test_another_attempt_never_joins(own: Any, data: Any, gate: Path, mark: Path) -> None:
    gate.touch()
    own.step("until-file", data, run="attempt-00", attempt=1)
    own.step("until-file", data, run="attempt-00", attempt=2)
    assert calls(mark) == 2


def test_an_own_service_without_a_free_slot_waits_its_turn(
    own: Any, data: Any, gate: Path, mark: Path, background: Any, until: Any
) -> None:
    replies = [background(lambda: own.step("until-file", data)) for _ in range(3)]
    until(lambda: calls(mark) == 1)
    gate.touch()
    assert [reply().type for reply in replies] == ["dev.agentworkflow.step.completed"] * 3
    assert calls(mark) == 3


def test_a_pool_without_a_free_slot_answers_429_at_once(
    pool: Any, data: Any, gate: Path, mark: Path, background: Any, until: Any
) -> None:
    running = background(lambda: pool.step("until-file", data))
    until(mark.exists)
    refused = pool.step("until-file", data)
    assert (refused.status, refused.json()["title"]) == (429, "No free slot")
    gate.touch()
    assert running().status == 200
    assert pool.step("until-file", data).status == 200
    assert calls(mark) == 2


def test_one_function_without_a_slot_holds_up_no_other(
    pool: Any, data: Any, gate: Path, mark: Path, background: Any, until: Any
) -> None:
    running = background(lambda: pool.step("until-file", data))
    until(mark.exists)
    assert pool.step("divide", {"by": 2}).json() == 0.5
    gate.touch()
    running()


def test_a_full_pool_still_lets_the_running_attempt_be_joined(
    pool: Any, data: Any, gate: Path, mark: Path, background: Any, until: Any
) -> None:
    first = background(lambda: pool.step("until-file", data, run="full-00"))
    until(mark.exists)
    second = background(lambda: pool.step("until-file", data, run="full-00"))
    gate.touch()
    assert first().body == second().body
    assert calls(mark) == 1


def test_an_attempt_outlives_the_connection_that_asked_for_it(
    own: Any, data: Any, gate: Path, mark: Path, until: Any
) -> None:
    with pytest.raises(TimeoutError):
        own.step("until-file", data, run="cut-00", timeout=0.3)
    until(mark.exists)
    gate.touch()
    assert own.step("until-file", data, run="cut-00").status == 200
    assert calls(mark) == 1
