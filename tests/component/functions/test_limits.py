import time
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20


@pytest.fixture(scope="module")
def host(start_host: Any) -> Any:
    def entry(name: str, **limits: Any) -> dict[str, Any]:
        return {"handler": f"behaviours:{name}", **limits}

    return start_host(
        {
            "sleeps": entry("sleeps", timeout=0.5),
            "sleeps-long": entry("sleeps"),
            "waits": entry("waits", timeout=1.0),
            "waits-in-thread": entry("waits_in_thread", timeout=1.0),
            "ignores-signals": entry("ignores_signals", timeout=0.3),
            "starts-others": entry("starts_others", timeout=1.5),
            "eats": entry("eats", memory=64 * MIB),
            "eats-more": entry("eats", memory=256 * MIB),
            "gulps": entry("gulps", memory=64 * MIB),
            "eats-async": entry("eats_async", memory=64 * MIB),
            "where": entry("where", memory=16 * MIB),
        }
    )


def test_an_overrun_of_the_timeout_ends_the_attempt(host: Any) -> None:
    began = time.monotonic()
    answer = host.step("sleeps")
    assert (answer.status, answer.type) == (200, "dev.agentworkflow.step.failed")
    assert answer.json()["reason"] == "DeadlineExceeded"
    assert "0.5 s" in answer.json()["detail"]
    assert 0.5 <= time.monotonic() - began < 5


def test_a_handler_that_ignores_signals_is_ended_too(host: Any) -> None:
    assert host.step("ignores-signals").json()["reason"] == "DeadlineExceeded"


def test_the_attempts_own_deadline_ends_it_before_its_timeout(host: Any) -> None:
    soon = time.time() + 0.7
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(soon)) + f"{soon % 1:.3f}"[1:] + "Z"
    began = time.monotonic()
    answer = host.step("sleeps-long", headers={"ce-awfdeadline": text})
    assert answer.json()["reason"] == "DeadlineExceeded"
    assert time.monotonic() - began < 10


def test_an_overrun_ends_all_that_the_handler_started(
    host: Any, scratch: Path, running: Any
) -> None:
    answer = host.step("starts-others", {"folder": str(scratch)})
    assert answer.json()["reason"] == "DeadlineExceeded"
    pids = [int(mark.read_text()) for mark in scratch.glob("*.pid")]
    assert len(pids) == 5
    assert [pid for pid in pids if running(pid)] == []


@pytest.mark.parametrize("function", ["waits", "waits-in-thread"])
def test_neighbours_of_an_overrun_in_a_worker_are_told_crash_and_a_new_worker_comes(
    host: Any, function: str, background: Any, until: Any, scratch: Path
) -> None:
    first, second = scratch / "first", scratch / "second"
    overrunning = background(lambda: host.step(function, {"mark": str(first)}))
    until(first.exists)
    time.sleep(0.3)  # so that the neighbour's own time is not up with the first one's
    neighbour = background(lambda: host.step(function, {"mark": str(second)}))
    until(second.exists)
    assert overrunning().json()["reason"] == "DeadlineExceeded"
    problem = neighbour().json()
    assert (problem["reason"], "worker was replaced" in problem["title"]) == ("Crash", True)
    assert host.step(function, {"seconds": 0}).json() == "awake"


def test_a_child_that_grows_beyond_its_memory_is_ended(host: Any) -> None:
    problem = host.step("eats").json()
    assert problem["reason"] == "OutOfMemory"
    assert "its memory is 64 MiB" in problem["detail"]


def test_a_child_may_use_the_memory_it_has(host: Any) -> None:
    assert host.step("eats-more", {"mib": 128}).json() == 128 * MIB


def test_one_huge_allocation_fails_before_it_is_held(host: Any) -> None:
    problem = host.step("gulps").json()
    assert (problem["reason"], "MemoryError" in problem["detail"]) == ("OutOfMemory", True)


def test_a_worker_that_grows_beyond_its_memory_is_replaced(host: Any) -> None:
    assert host.step("eats-async").json()["reason"] == "OutOfMemory"
    assert host.step("eats-async", {"mib": 1}).json() == MIB


def test_what_a_child_shares_with_the_zygote_does_not_count(host: Any) -> None:
    # The zygote itself holds more than the 16 MiB that this function may have.
    assert host.zygote().memory_info().rss > 20 * MIB
    assert host.step("where").status == 200
    assert host.step("where").type == "dev.agentworkflow.step.completed"
