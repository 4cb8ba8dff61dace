import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

CRASH = "Crash"


@pytest.fixture(scope="module")
def host(start_host: Any) -> Any:
    names = [
        *("where", "where_async", "where_thread", "where_async_process", "signalled", "leaves"),
        *("exits", "exits_async", "waits", "waits_in_thread", "dice", "descriptors", "environment"),
        *("inherited_by_subprocess", "writes_into_every_socket", "dies_by_bad_memory"),
        *("forks_and_returns", "starts_others"),
    ]
    functions = {name.replace("_", "-"): f"behaviours:{name}" for name in names}
    return start_host(functions | {"numbers": "numeric:numbers"})


def test_sync_handlers_run_in_a_child_of_the_zygote_for_each_event(host: Any) -> None:
    first, second = host.step("where").json(), host.step("where").json()
    zygote = host.zygote().pid
    assert first["parent"] == second["parent"] == zygote
    assert len({first["pid"], second["pid"], zygote, host.process.pid}) == 4


def test_async_handlers_share_their_workers_loop(host: Any) -> None:
    first, second = host.step("where-async").json(), host.step("where-async").json()
    assert first == second
    assert first["parent"] == host.zygote().pid
    assert first["thread"] is True


def test_thread_handlers_run_in_threads_of_their_worker(host: Any) -> None:
    first, second = host.step("where-thread").json(), host.step("where-thread").json()
    assert first["pid"] == second["pid"]
    assert (first["thread"], second["thread"]) == (False, False)


def test_each_function_has_a_worker_of_its_own(host: Any) -> None:
    assert host.step("where-async").json()["pid"] != host.step("where-thread").json()["pid"]


def test_an_async_handler_may_ask_for_a_process_for_each_event(host: Any) -> None:
    pids = {host.step("where-async-process").json()["pid"] for _ in range(2)}
    assert len(pids) == 2


@pytest.mark.parametrize(
    ("function", "data", "words"),
    [
        ("signalled", {}, "SIGSEGV (11)"),
        ("signalled", {"number": 9}, "SIGKILL (9)"),
        ("dies-by-bad-memory", {}, "SIGSEGV (11)"),
        ("leaves", {}, "exit code 3"),
        ("leaves", {"code": 0}, "exit code 0"),
        ("exits", {}, "sys.exit(4)"),
        ("exits-async", {}, "sys.exit(4)"),
    ],
)
def test_a_crash_fails_its_step_and_names_the_signal_or_exit_code(
    host: Any, function: str, data: Any, words: str
) -> None:
    answer = host.step(function, data)
    assert (answer.status, answer.type) == (200, "dev.agentworkflow.step.failed")
    assert answer.json()["reason"] == CRASH
    assert words in answer.json()["detail"]


def test_a_crash_hurts_nothing_else(host: Any, background: Any, until: Any, scratch: Path) -> None:
    mark = scratch / "mark"
    neighbour = background(lambda: host.step("waits", {"seconds": 0.5, "mark": str(mark)}))
    until(mark.exists)
    assert host.step("signalled").json()["reason"] == CRASH
    assert neighbour().json() == "awake"


@pytest.mark.parametrize("function", ["waits", "waits-in-thread"])
def test_neighbours_of_a_crash_in_a_worker_are_told_and_the_worker_is_replaced(
    host: Any, function: str, background: Any, until: Any, scratch: Path
) -> None:
    marks = [scratch / f"mark{n}" for n in range(2)]
    waiting = [background(lambda m=m: host.step(function, {"mark": str(m)})) for m in marks]
    until(lambda: all(mark.exists() for mark in marks))
    until(lambda: all(mark.read_text() for mark in marks))
    worker = int(marks[0].read_text())
    assert int(marks[1].read_text()) == worker
    os.kill(worker, signal.SIGKILL)
    for reply in waiting:
        problem = reply().json()
        assert (problem["reason"], "SIGKILL (9)" in problem["detail"]) == (CRASH, True)
    assert host.step(function, {"seconds": 0}).json() == "awake"


def test_random_numbers_differ_from_child_to_child(host: Any) -> None:
    throws = [tuple(host.step("dice").json()) for _ in range(5)]
    assert len(set(throws)) == 5


def test_numpys_random_numbers_differ_from_child_to_child(host: Any) -> None:
    throws = [tuple(host.step("numbers").json()) for _ in range(5)]
    assert len(set(throws)) == 5


def test_a_child_holds_no_descriptor_but_its_own_channel(
    host: Any, background: Any, until: Any, scratch: Path
) -> None:
    mark = scratch / "mark"
    neighbour = background(lambda: host.step("waits", {"seconds": 1, "mark": str(mark)}))
    until(mark.exists)
    held = host.step("descriptors").json()
    assert [each.split(":")[0] for each in held if "/proc/" not in each] == ["socket"]
    neighbour()


def test_a_subprocess_of_a_handler_inherits_no_socket(host: Any) -> None:
    assert host.step("inherited-by-subprocess").json() == []


def test_a_handler_that_writes_into_the_hosts_socket_crashes_alone(host: Any) -> None:
    problem = host.step("writes-into-every-socket").json()
    assert (problem["reason"], "channel" in problem["title"]) == (CRASH, True)
    assert host.step("where").status == 200


def test_a_copy_that_the_handler_forked_does_not_answer(host: Any) -> None:
    assert host.step("forks-and-returns").json() == "original"


def test_what_a_handler_started_ends_with_it(
    host: Any, scratch: Path, running: Any, until: Any
) -> None:
    assert host.step("starts-others", {"folder": str(scratch), "seconds": 0}).json() is None
    pids = [int(mark.read_text()) for mark in scratch.glob("*.pid")]
    assert len(pids) == 5

    def ended() -> bool:
        return not any(running(pid) for pid in pids)

    until(ended)


def test_no_zombie_is_left(host: Any, until: Any) -> None:
    for _ in range(5):
        host.step("where")
    until(lambda: all(p.status() != psutil.STATUS_ZOMBIE for p in host.processes()))


def test_numeric_libraries_are_told_to_use_one_thread(host: Any) -> None:
    found = host.step("environment").json()
    assert (found["OPENBLAS_NUM_THREADS"], found["OMP_NUM_THREADS"]) == (
        os.environ.get("OPENBLAS_NUM_THREADS", "1"),
        os.environ.get("OMP_NUM_THREADS", "1"),
    )


def test_many_events_leak_no_descriptor_and_no_process(
    host: Any, background: Any, until: Any
) -> None:
    functions = ["where", "where-async", "where-thread", "signalled", "leaves", "exits"]

    def counts() -> list[int]:
        processes = [psutil.Process(host.process.pid), host.zygote()]
        return [each.num_fds() for each in processes] + [len(host.zygote().children())]

    for function in functions:
        host.step(function)
    until(lambda: len(host.zygote().children()) <= 6)  # the workers of the other tests
    before = counts()
    for _ in range(10):
        replies = [background(lambda f=f: host.step(f)) for f in functions]
        assert [reply().status for reply in replies] == [200] * len(functions)
    until(lambda: all(a <= b for a, b in zip(counts(), before, strict=True)))
