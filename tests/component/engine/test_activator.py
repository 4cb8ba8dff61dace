"""Function hosts by socket activation: real sockets, real processes, real handlers."""

import asyncio
import json
import os
import signal
import textwrap
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentworkflow.engine import processes
from agentworkflow.engine.activator import Activator, HostSpec, host_environment
from agentworkflow.engine.command_host import CommandHost, CommandSpec
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import decode, encode_binary

HANDLERS = """
    import os, time

    def where(n: int = 0) -> dict:
        print("asked for", n, flush=True)
        return {"n": n, "pid": os.getpid(), "tone": os.environ.get("TONE")}

    def slow(seconds: float) -> str:
        open("begun", "w").close()
        time.sleep(seconds)
        return "done"
"""


async def until(condition: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - processes say nothing to us
            await asyncio.sleep(0.01)
    assert condition(), what


def make_spec(folder: Path, function: str = "where", **changes: Any) -> HostSpec:
    (folder / "made.py").write_text(textwrap.dedent(HANDLERS), encoding="utf-8")
    table = folder / f"{function}.json"
    entry = {"name": function, "handler": f"made:{function}", "timeout": 60}
    entry["triggers"] = [{"name": "t"}]
    table.write_text(json.dumps({"path": [str(folder)], "functions": [entry]}), encoding="utf-8")
    given: dict[str, Any] = {
        "key": f"default/w/{function}",
        "table": table,
        "idle_exit": 30.0,
        "warm": False,
        "fingerprint": "1",
        "environment": host_environment({}),
        "folder": folder,
        "log": folder / "logs" / f"{function}.log",
    }
    return HostSpec(**(given | changes))


async def call(url: str, function: str = "where", **data: Any) -> Any:
    event = CloudEvent(id=os.urandom(8).hex(), source="/test", type="t", data=data)
    headers, body = encode_binary(event)
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.post(
            f"{url}/functions/{function}/triggers/t", headers=headers, content=body
        )
    assert answer.status_code == 200, answer.text
    return decode(answer.headers.multi_items(), answer.content).data


def sizes(folder: Path) -> list[int]:
    return [each.stat().st_size for each in folder.glob("it*.log")]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
async def activator() -> AsyncIterator[Activator]:
    made = Activator()
    yield made
    await made.aclose()


async def test_no_process_exists_before_the_first_connection(
    activator: Activator, tmp_path: Path
) -> None:
    url = activator.open(make_spec(tmp_path))
    assert activator.pids() == {}
    assert (await call(url, n=7))["n"] == 7
    assert list(activator.pids()) == ["default/w/where"]


async def test_a_users_module_named_like_one_of_pythons_does_not_replace_it_in_the_host(
    activator: Activator, tmp_path: Path
) -> None:
    (tmp_path / "http.py").write_text("raise SystemExit('imported by the front')\n", "utf-8")
    url = activator.open(make_spec(tmp_path))
    assert (await call(url, n=7))["n"] == 7


async def test_an_idle_host_leaves_and_the_next_connection_brings_it_back(
    activator: Activator, tmp_path: Path
) -> None:
    url = activator.open(make_spec(tmp_path, idle_exit=0.2))
    for n in (1, 2):
        assert (await call(url, n=n))["n"] == n
        await until(lambda: activator.pids() == {}, "the host leaves")


async def test_no_connection_is_lost_while_hosts_come_and_go(
    activator: Activator, tmp_path: Path
) -> None:
    url = activator.open(make_spec(tmp_path, idle_exit=0.05))
    pids: set[int] = set()
    for n in range(15):
        assert (await call(url, n=n))["n"] == n
        pids |= set(activator.pids().values())
        # Calls fall before, into and behind the moment in which the host goes.
        await asyncio.sleep(0.02 * (n % 10))
    assert len(pids) > 1


async def test_a_host_that_is_killed_is_started_by_the_next_connection(
    activator: Activator, tmp_path: Path
) -> None:
    url = activator.open(make_spec(tmp_path))
    await call(url)
    (first,) = activator.pids().values()
    os.kill(first, signal.SIGKILL)
    assert (await call(url, n=2))["n"] == 2
    assert first not in activator.pids().values()


async def test_a_warm_host_runs_before_any_connection_and_comes_back_by_itself(
    activator: Activator, tmp_path: Path
) -> None:
    activator.open(make_spec(tmp_path, warm=True, idle_exit=0.05))
    (first,) = activator.pids().values()
    os.kill(first, signal.SIGKILL)
    await until(lambda: set(activator.pids().values()) - {first}, "another host")


async def test_a_host_that_cannot_start_is_given_ever_longer_pauses(
    activator: Activator, tmp_path: Path
) -> None:
    spec = make_spec(tmp_path, warm=True)
    spec.table.write_text("no table", encoding="utf-8")
    activator.open(spec)
    (host,) = activator._hosts.values()
    await until(lambda: host._crashes >= 3, "3 starts")
    assert spec.log.read_text(encoding="utf-8").count("is not JSON") >= 3
    # Repaired, it is started at once: the pauses were for the old one.
    activator.open(replace(make_spec(tmp_path, warm=True), fingerprint="2"))
    assert list(activator.pids()) == [spec.key]


async def test_a_changed_host_is_replaced_after_what_is_in_flight(
    activator: Activator, tmp_path: Path
) -> None:
    spec = make_spec(tmp_path, "slow", environment=host_environment({"TONE": "old"}))
    url = activator.open(spec)
    long = asyncio.create_task(call(url, "slow", seconds=2))
    await until((tmp_path / "begun").exists, "the handler runs")
    (old,) = activator.pids().values()
    assert activator.open(replace(spec, fingerprint="2")) == url
    assert await call(url, "slow", seconds=0) == "done"
    (new,) = activator.pids().values()
    assert new != old
    assert not long.done()
    assert await long == "done"
    await until(lambda: not alive(old), "the old host leaves")


async def test_a_host_that_did_not_change_stays(activator: Activator, tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    url = activator.open(spec)
    await call(url)
    before = activator.pids()
    assert activator.open(spec) == url
    await call(url)
    assert activator.pids() == before


async def test_output_goes_to_the_log_and_to_the_callback(tmp_path: Path) -> None:
    lines: list[tuple[str, str]] = []
    activator = Activator(on_line=lambda key, line: lines.append((key, line)))
    spec = make_spec(tmp_path, environment=host_environment({"TONE": "loud"}))
    assert (await call(activator.open(spec), n=3))["tone"] == "loud"
    await until(lambda: any("asked for 3" in line for _, line in lines), "the line")
    await activator.aclose()
    assert {key for key, _ in lines} == {spec.key}
    assert "asked for 3" in spec.log.read_text(encoding="utf-8")


async def test_a_program_with_a_slash_is_looked_for_from_its_folder(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "serve"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho served\n")
    program.chmod(0o755)
    log = tmp_path / "it.log"
    child = processes.Child(processes.Command(["bin/serve"], dict(os.environ), tmp_path, log))
    assert await child.wait() == 0
    await until(lambda: log.read_text() == "served\n", "its line")
    with pytest.raises(FileNotFoundError, match="no such program"):
        processes.Child(processes.Command(["bin/none"], dict(os.environ), tmp_path, log))


async def test_a_log_does_not_grow_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 10_000)
    said: list[str] = []
    child = processes.Child(
        processes.Command(
            ["sh", "-c", "for n in $(seq 5000); do echo line $n; done; printf end"],
            dict(os.environ),
            tmp_path,
            tmp_path / "it.log",
            on_line=said.append,
        )
    )
    assert await child.wait() == 0
    await until(lambda: said[-1:] == ["end"], "the last line")
    assert said[:-1] == [f"line {n}" for n in range(1, 5001)]
    kept = sizes(tmp_path)
    assert len(kept) == 2
    assert sum(kept) < 10_000 + 2 * 65_536


async def test_the_end_leaves_no_process_of_any_host(tmp_path: Path) -> None:
    activator = Activator()
    url = activator.open(make_spec(tmp_path, "slow"))
    hanging = asyncio.create_task(call(url, "slow", seconds=60))
    await until((tmp_path / "begun").exists, "the handler runs")
    (pid,) = activator.pids().values()
    tree = descendants(pid)
    assert len(tree) >= 3
    await activator.aclose()
    await until(lambda: not any(map(alive, tree)), "all are gone")
    with pytest.raises((httpx2.HTTPError, AssertionError)):
        await hanging


def descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def test_a_host_gets_no_setting_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTWORKFLOW_API_KEY", "secret")
    monkeypatch.setenv("AWF_REDIS_URL", "redis://secret")
    environment = host_environment({"REGION": "eu"})
    assert environment["REGION"] == "eu"
    assert "secret" not in "".join(environment.values())


# --- functions that exist only as an image ----------------------------------------------------

SERVER = """
    import http.server, json, os, sys

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = json.dumps({"pid": os.getpid(), "got": json.loads(body)}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("ce-id", self.headers["ce-id"])
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""


def command_spec(folder: Path, command: str | None = None, **changes: Any) -> CommandSpec:
    (folder / "server.py").write_text(textwrap.dedent(SERVER), encoding="utf-8")
    given: dict[str, Any] = {
        "key": "default/w/legacy",
        "command": command or "python3 server.py",
        "idle_exit": 30.0,
        "warm": False,
        "start_timeout": 20.0,
        "concurrency": 4,
        "environment": host_environment({}),
        "folder": folder,
        "log": folder / "legacy.log",
    }
    return CommandSpec(**(given | changes))


async def post(url: str, data: Any) -> httpx2.Response:
    headers, body = encode_binary(CloudEvent(id="e1", source="/test", type="t", data=data))
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        return await client.post(url + "/", headers=headers, content=body)


async def test_a_command_is_started_by_the_first_request_and_ended_when_idle(
    tmp_path: Path,
) -> None:
    host = CommandHost(command_spec(tmp_path, idle_exit=0.3))
    await host.start()
    assert host.pid is None
    answers = await asyncio.gather(*(post(host.url, {"n": n}) for n in range(8)))
    assert sorted(answer.json()["got"]["n"] for answer in answers) == list(range(8))
    assert {answer.headers["ce-id"] for answer in answers} == {"e1"}
    (pid,) = {answer.json()["pid"] for answer in answers}
    await until(lambda: host.pid is None, "the command is ended")
    assert (await post(host.url, {})).json()["pid"] != pid
    await host.stop()
    assert not alive(pid)


async def test_a_command_that_ends_at_once_is_503_with_where_its_output_is(
    tmp_path: Path,
) -> None:
    spec = command_spec(tmp_path, "python3 -c 'import sys; sys.exit(3)'")
    host = CommandHost(spec)
    await host.start()
    answer = await post(host.url, {})
    await host.stop()
    assert answer.status_code == 503
    assert "exit code 3" in answer.json()["detail"]
    assert str(spec.log) in answer.json()["detail"]


async def test_a_command_that_does_not_exist_is_503(tmp_path: Path) -> None:
    host = CommandHost(command_spec(tmp_path, "no-such-program-here"))
    await host.start()
    answer = await post(host.url, {})
    await host.stop()
    assert answer.status_code == 503
    assert "no-such-program-here" in answer.json()["detail"]
