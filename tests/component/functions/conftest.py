"""The real host process behind a real socket, and an event port that remembers what it was told."""

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

HANDLERS = Path(__file__).parent / "handlers"
_runs = itertools.count(1)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def type(self) -> str | None:
        return self.headers.get("ce-type")

    def json(self) -> Any:
        return json.loads(self.body)


def wait_until(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"did not happen within {seconds} s: {condition}")


class Host:
    """One host process. Its log is a file, so that nothing blocks and tests can read it."""

    def __init__(self, table: Mapping[str, Any], folder: Path, *options: str) -> None:
        self.table = folder / f"table-{next(_runs)}.json"
        self.table.write_text(json.dumps(table))
        self.log_file = self.table.with_suffix(".log")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start(*options)

    def start(self, *options: str) -> None:
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "agentworkflow.functions"),
                    *("--table", str(self.table), "--fd", str(self.listener.fileno())),
                    *options,
                ],
                pass_fds=[self.listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.listener.close()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float = 30,
    ) -> Reply:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        ) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())

    def step(
        self,
        function: str,
        data: Any = None,
        *,
        run: str | None = None,
        token: str = "token",
        attempt: int = 1,
        headers: Mapping[str, str | None] | None = None,
        timeout: float = 30,
    ) -> Reply:
        run = run or f"run{next(_runs)}-00"
        found: dict[str, str | None] = {
            "ce-specversion": "1.0",
            "ce-id": f"{run}/{function}/{attempt}/requested",
            "ce-source": "/agentworkflow/default/shop",
            "ce-type": "dev.agentworkflow.step.requested",
            "ce-awfrun": run,
            "ce-awfstep": function,
            "ce-awfattempt": str(attempt),
            "ce-awftoken": token,
            "ce-awffunction": function,
            "ce-awfworkflow": "shop",
            "ce-awfnamespace": "default",
            "ce-awfdepth": "2",
            "ce-partitionkey": run,
            "content-type": "application/json",
            **(headers or {}),
        }
        sent = {name: value for name, value in found.items() if value is not None}
        body = json.dumps({} if data is None else data).encode()
        return self.request("POST", "/", sent, body, timeout)

    def event(
        self,
        path: str,
        data: Any = None,
        *,
        identity: str | None = None,
        source: str = "/shop",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        sent = {
            "ce-specversion": "1.0",
            "ce-id": identity or f"event{next(_runs)}",
            "ce-source": source,
            "ce-type": "com.example.upload",
            "content-type": "application/json",
            **(headers or {}),
        }
        return self.request("POST", path, sent, json.dumps(data).encode())

    def processes(self) -> list[psutil.Process]:
        """Every process below the host, and the host."""
        front = psutil.Process(self.process.pid)
        return [front, *front.children(recursive=True)]

    def zygote(self) -> psutil.Process:
        front = psutil.Process(self.process.pid)
        found: psutil.Process = wait_until(front.children)[0]
        return found


def in_background(call: Callable[[], Reply]) -> Callable[[], Reply]:
    """Start a call in a thread; the returned function waits for its reply."""
    found: list[Reply] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()

    def result() -> Reply:
        thread.join(60)
        return found[0]

    return result


def is_running(pid: int) -> bool:
    try:
        status: str = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return False
    return status != psutil.STATUS_ZOMBIE


@dataclass
class EventPort:
    """What the host called back, in order."""

    url: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes, float]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    refuse_with: list[int] = field(default_factory=list)

    def progress(self, run: str) -> list[tuple[dict[str, Any], float]]:
        return [
            (json.loads(body), at)
            for method, path, headers, body, at in self.requests
            if (method, path) == ("POST", "/progress") and headers["ce-awfrun"] == run
        ]


@pytest.fixture(scope="module")
def event_port() -> Iterator[EventPort]:
    port = EventPort()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            port.requests.append((self.command, self.path, headers, body, time.monotonic()))
            status, answer = 202, b""
            digest = self.path.removeprefix("/blobs/")
            if port.refuse_with:
                status = port.refuse_with.pop(0)
            elif self.command == "PUT":
                port.blobs[digest] = body
            elif self.command == "GET":
                status, answer = (200, port.blobs[digest]) if digest in port.blobs else (404, b"")
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST = _take  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield port
    server.shutdown()
    thread.join()
    server.server_close()


StartHost = Callable[..., Host]


@pytest.fixture(scope="module")
def start_host(tmp_path_factory: pytest.TempPathFactory, event_port: EventPort) -> Iterator[Any]:
    """Start hosts of the functions named: `start_host({"name": "module:attribute"})`."""
    hosts: list[Host] = []

    def start(
        functions: Mapping[str, str | dict[str, Any]],
        *options: str,
        path: Path | None = None,
        **table: Any,
    ) -> Host:
        entries = [
            {"name": name, **({"handler": entry} if isinstance(entry, str) else entry)}
            for name, entry in functions.items()
        ]
        host = Host(
            {
                "namespace": "default",
                "workflow": "shop",
                "role": "own",
                "path": [str(path or HANDLERS)],
                "preload": [],
                "callback": event_port.url,
                "functions": entries,
                **table,
            },
            tmp_path_factory.mktemp("host"),
            *options,
        )
        hosts.append(host)
        return host

    yield start
    for host in hosts:
        if host.process.poll() is None:
            host.stop()
        host.listener.close()


@pytest.fixture(scope="session")
def background() -> Callable[[Callable[[], Reply]], Callable[[], Reply]]:
    return in_background


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture(scope="session")
def running() -> Callable[[int], bool]:
    return is_running


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder in which handlers leave marks."""
    yield tmp_path
    for mark in tmp_path.glob("*.pid"):
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(mark.read_text()), signal.SIGKILL)
