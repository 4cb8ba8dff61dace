import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

FUNCTIONS = {
    "sleeps": "behaviours:sleeps",
    "starts-others": "behaviours:starts_others",
    "where": "behaviours:where",
    "waits": "behaviours:waits",
    "until-file": "behaviours:until_file",
    "alive": "with_thread:alive",
}

FORKED_ONLY = {name: handler for name, handler in FUNCTIONS.items() if name != "alive"}

STARTER = """
import subprocess, sys, time
command = [sys.executable, "-m", "agentworkflow.functions", *sys.argv[1:]]
print(subprocess.Popen(command).pid, flush=True)
time.sleep(600)
"""


def test_health_is_there_before_the_handlers_are(start_host: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    (tmp_path / "slow_import.py").write_text(
        "import pathlib, time\n"
        f"while not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.01)\n"
        "def answer() -> int:\n    return 42\n"
    )
    host = start_host({"answer": "slow_import:answer"}, path=tmp_path)
    assert host.request("GET", "/healthz").status == 200
    assert host.request("GET", "/readyz").status == 503
    gate.touch()
    assert host.step("answer").headers["ce-awfstarttype"] in ("cold", "warm")
    assert host.request("GET", "/readyz").status == 200


def test_a_request_that_waits_for_the_import_is_cold_and_later_ones_are_warm(
    start_host: Any, tmp_path: Path, background: Any
) -> None:
    gate = tmp_path / "gate"
    (tmp_path / "cold_import.py").write_text(
        "import pathlib, time\n"
        f"while not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.01)\n"
        "def answer() -> int:\n    return 42\n"
    )
    host = start_host({"answer": "cold_import:answer"}, path=tmp_path)
    reply = background(lambda: host.step("answer", run="first-00"))
    # The same attempt again: it is in flight as soon as this one is turned away by its timeout.
    with pytest.raises(TimeoutError):
        host.step("answer", run="first-00", timeout=0.5)
    gate.touch()
    assert (reply().json(), reply().headers["ce-awfstarttype"]) == (42, "cold")
    assert host.step("answer").headers["ce-awfstarttype"] == "warm"


@pytest.mark.parametrize("victim", ["host", "zygote"])
def test_no_process_is_left_behind_when_one_is_killed(
    start_host: Any, scratch: Path, background: Any, until: Any, running: Any, victim: str
) -> None:
    host = start_host(FUNCTIONS)
    reply = background(
        lambda: _or_none(lambda: host.step("starts-others", {"folder": str(scratch)}))
    )
    until((scratch / "all").exists)
    host.step("alive")
    handlers = [int(mark.read_text()) for mark in scratch.glob("*.pid")]
    everything = [each.pid for each in host.processes()]
    assert set(handlers) <= set(everything)
    if victim == "host":
        host.process.kill()
        host.process.wait()
        until(lambda: not any(running(pid) for pid in everything))
    else:
        host.zygote().kill()
        until(lambda: not any(running(pid) for pid in handlers))
    reply()


def _or_none(call: Any) -> Any:
    try:
        return call()
    except OSError:
        return None


def test_attempts_in_flight_are_told_crash_when_the_zygote_dies_and_a_new_one_comes(
    start_host: Any, scratch: Path, background: Any, until: Any
) -> None:
    host = start_host(FORKED_ONLY)
    marks = [scratch / "child", scratch / "worker"]
    replies = [
        background(lambda: host.step("sleeps", {"mark": str(marks[0])})),
        background(lambda: host.step("waits", {"mark": str(marks[1])})),
    ]
    until(lambda: all(mark.exists() for mark in marks))
    host.zygote().kill()
    for reply in replies:
        problem = reply().json()
        assert (problem["reason"], "zygote" in problem["detail"]) == ("Crash", True)
    assert host.step("where").type == "dev.agentworkflow.step.completed"
    assert host.step("waits", {"seconds": 0}).json() == "awake"


def test_sigterm_finishes_what_is_in_flight_and_exits_0(
    start_host: Any, scratch: Path, background: Any, until: Any, running: Any
) -> None:
    host = start_host(FORKED_ONLY)
    gate, mark = scratch / "gate", scratch / "mark"
    reply = background(lambda: host.step("until-file", {"gate": str(gate), "mark": str(mark)}))
    until(mark.exists)
    everything = [each.pid for each in host.processes()]
    host.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert host.process.poll() is None
    gate.touch()
    assert reply().status == 200
    assert host.process.wait(10) == 0
    assert [pid for pid in everything if running(pid)] == []


def test_a_second_sigterm_gives_up_what_is_in_flight(
    start_host: Any, scratch: Path, background: Any, until: Any, running: Any
) -> None:
    host = start_host(FORKED_ONLY)
    mark = scratch / "mark"
    reply = background(lambda: _or_none(lambda: host.step("sleeps", {"mark": str(mark)})))
    until(mark.exists)
    everything = [each.pid for each in host.processes()]
    host.process.send_signal(signal.SIGTERM)
    until(lambda: not _accepts(host))
    host.process.send_signal(signal.SIGTERM)
    assert host.process.wait(15) == 0
    assert [pid for pid in everything if running(pid)] == []
    reply()
    assert "Traceback" not in host.log_file.read_text()


def _accepts(host: Any) -> bool:
    # The test holds the listening socket too, so a connection succeeds; an answer does not.
    listening = [
        fd for fd in Path(f"/proc/{host.process.pid}/fd").iterdir() if _is(fd, host.listener)
    ]
    return bool(listening)


def _is(fd: Path, sock: Any) -> bool:
    try:
        return str(fd.readlink()) == f"socket:[{os.fstat(sock.fileno()).st_ino}]"
    except FileNotFoundError:
        return False


def test_idle_exit_leaves_with_0_and_the_socket_queues_for_the_next_host(
    start_host: Any, background: Any
) -> None:
    host = start_host(FORKED_ONLY, "--idle-exit", "0.3")
    first = host.step("where").json()
    assert host.process.wait(10) == 0
    reply = background(lambda: host.step("where"))
    host.start("--idle-exit", "30")
    assert reply().json()["pid"] != first["pid"]


def test_idle_exit_waits_for_what_is_in_flight(start_host: Any) -> None:
    host = start_host(FORKED_ONLY, "--idle-exit", "0.2")
    assert host.step("sleeps", {"seconds": 1.0}).json() == "awake"
    assert host.process.wait(10) == 0


def test_the_host_dies_with_the_process_that_started_it(
    start_host: Any, tmp_path: Path, until: Any, running: Any
) -> None:
    host = start_host(FUNCTIONS)
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            STARTER,
            *("--table", str(host.table), "--host", "127.0.0.1", "--port", "0"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert starter.stdout is not None
    with starter.stdout:
        front = psutil.Process(int(starter.stdout.readline()))
        until(lambda: len(front.children(recursive=True)) >= 2)  # the zygote and a spare child
        everything = [front.pid, *(each.pid for each in front.children(recursive=True))]
        starter.kill()
        starter.wait()
    until(lambda: not any(running(pid) for pid in everything))


def test_one_handler_runs_without_a_table(tmp_path: Path, until: Any) -> None:
    (tmp_path / "mine.py").write_text("def twice(x: int) -> int:\n    return 2 * x\n")
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "agentworkflow.functions", "--handler", "mine:twice"),
                *("--host", "127.0.0.1", "--port", "0"),
            ],
            cwd=tmp_path,
            stderr=file,
        )
    try:
        address = until(lambda: "listening on http://" in log.read_text() and log.read_text())
        port = int(address.split("listening on http://127.0.0.1:")[1].split()[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {
            "ce-specversion": "1.0",
            "ce-id": "1",
            "ce-source": "/s",
            "ce-type": "t",
            "content-type": "application/json",
        }
        connection.request("POST", "/", b'{"x": 21}', headers)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"42")
        connection.close()
    finally:
        process.terminate()
        assert process.wait(15) == 0


def test_a_port_in_use_is_exit_code_2_and_says_what_to_do(start_host: Any, tmp_path: Path) -> None:
    host = start_host(FORKED_ONLY)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "agentworkflow.functions", "--table", str(host.table)),
            *("--host", "127.0.0.1", "--port", str(host.port)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert f"127.0.0.1:{host.port}: cannot listen" in done.stderr
