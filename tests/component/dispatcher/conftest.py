"""A whole dispatcher on real sockets: its core on a real Valkey, its doors, real function hosts."""

import asyncio
import contextlib
import inspect
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from agentworkflow.dispatcher.addresses import trigger_address
from agentworkflow.dispatcher.core import Core
from agentworkflow.dispatcher.doors import Doors
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.store import Store
from agentworkflow.store.registry import WorkflowRecord
from agentworkflow.workflow.definition import definition_digest
from agentworkflow.workflow.validation import validate_resource

FUNCTIONS = Path(__file__).parent / "functions"
SECRET = "the secret of this test's triggers"
RUNS = "/v1/namespaces/default/runs"


async def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Poll a condition, which may be a coroutine function; what it finds."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, f"did not happen within {seconds:g} s"
        await asyncio.sleep(0.005)


class _Server(uvicorn.Server):
    """A uvicorn that is told when to end instead of looking ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.leave = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.leave.wait()


class Server:
    """An ASGI application behind a real socket of this machine."""

    def __init__(self, application: Any, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        self._listener = listener
        config = uvicorn.Config(
            application,
            lifespan="off",
            log_config=None,
            date_header=False,
            timeout_graceful_shutdown=5,
        )
        self._server = _Server(config)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        await eventually(lambda: self._server.started)

    async def stop(self) -> None:
        self._server.leave.set()
        await self._task


@dataclass
class Dispatcher:
    """One running dispatcher and a client for each of its doors."""

    store: Store
    core: Core
    doors: Doors
    settings: Settings
    api: httpx2.AsyncClient
    events: httpx2.AsyncClient
    close: Callable[[], Awaitable[None]]

    async def publish(
        self,
        name: str,
        spec: Mapping[str, Any],
        *,
        namespace: str = "default",
        functions: Mapping[str, list[str]] | None = None,
        broker: str | None = None,
        generation: int = 1,
    ) -> None:
        """Publish a workflow as an operator does, checked as a file is."""
        resource = {
            "apiVersion": "agentworkflow.dev/v1alpha1",
            "kind": "AgentWorkflow",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        assert [str(finding) for finding in validate_resource(resource).findings] == []
        record = WorkflowRecord(
            namespace=namespace,
            name=name,
            generation=generation,
            digest=definition_digest(resource),
            resource=resource,
            functions={
                function: {"addresses": addresses}
                for function, addresses in (functions or {}).items()
            },
            broker=broker,
            published_ms=self.store.now_ms(),
        )
        await self.store.publish(record)
        await self.core.catalog.refresh()

    async def start(self, name: str, value: Any = None, **request: Any) -> str:
        """Start a run by the API; its id."""
        path = f"/v1/namespaces/default/workflows/{name}/runs"
        response = await self.api.post(path, json={} if value is None else value, **request)
        assert response.status_code == 202, response.text
        run: str = response.json()["run"]
        return run

    async def view(self, run: str) -> dict[str, Any]:
        response = await self.api.get(f"{RUNS}/{run}")
        assert response.status_code == 200, response.text
        view: dict[str, Any] = response.json()
        return view

    async def finished(self, run: str) -> dict[str, Any]:
        """The run once it is terminal."""
        return await self.until(run, "Succeeded", "Failed", "Cancelled")

    async def until(self, run: str, *states: str) -> dict[str, Any]:
        async def view() -> dict[str, Any] | None:
            found = await self.view(run)
            return found if found["state"] in states else None

        reached: dict[str, Any] = await eventually(view)
        return reached

    def trigger(self, workflow: str, trigger: str, namespace: str = "default") -> str:
        """The path of a Trigger's address on the event port."""
        return trigger_address("", SECRET.encode(), namespace, workflow, trigger)


StartDispatcher = Callable[..., Awaitable[Dispatcher]]


@pytest.fixture(scope="module")
def event_listener() -> Iterator[socket.socket]:
    """The event port's socket stays the same, so that hosts know where to report."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
async def start_dispatcher(
    store: Store, event_listener: socket.socket
) -> AsyncIterator[StartDispatcher]:
    """Start dispatchers with settings of one's own."""
    running: list[Dispatcher] = []

    async def start(store: Store = store, **changes: Any) -> Dispatcher:
        settings = Settings(
            **{"event_secret": SECRET, "heartbeat": 5.0, "shutdown_grace": 2.0, **changes}
        )
        core = Core.build(store)
        doors = Doors.build(core, settings)
        await core.start()
        api = Server(doors.api, socket.create_server(("127.0.0.1", 0)))
        events = Server(doors.event_port, event_listener.dup())
        await api.start()
        await events.start()
        to_api, to_events = (
            httpx2.AsyncClient(base_url=server.url, timeout=30, trust_env=False)
            for server in (api, events)
        )

        async def close() -> None:
            running.remove(found)
            await to_api.aclose()
            await to_events.aclose()
            doors.close()
            await asyncio.gather(api.stop(), events.stop())
            await core.aclose()
            await doors.aclose()

        found = Dispatcher(store, core, doors, settings, to_api, to_events, close)
        running.append(found)
        return found

    yield start
    while running:
        await running[-1].close()


@pytest.fixture
async def dispatcher(start_dispatcher: StartDispatcher) -> Dispatcher:
    return await start_dispatcher()


@pytest.fixture(scope="module")
def host(event_listener: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real function host with the functions of these tests."""
    table = tmp_path_factory.mktemp("host") / "table.json"
    names = ("analyze", "refuse", "large", "report")
    table.write_text(
        json.dumps(
            {
                "namespace": "default",
                "workflow": "shop",
                "role": "own",
                "path": [str(FUNCTIONS)],
                "preload": [],
                "callback": f"http://127.0.0.1:{event_listener.getsockname()[1]}",
                "functions": [
                    {
                        "name": name,
                        "handler": f"api_functions:{name}",
                        "triggers": [{"name": "upload", "reply": "com.example.done"}],
                    }
                    for name in names
                ],
            }
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "agentworkflow.functions", "--table", str(table)]
        process = subprocess.Popen(
            [*command, "--fd", str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
        )
        port = listener.getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait(20)


@dataclass
class Receiver:
    """A real server that remembers what was posted to it, and answers as it is told."""

    url: str = ""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    reply_headers: dict[str, str] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append((scope["path"], headers, body))
        self.arrived.set()
        status = self.statuses.pop(0) if self.statuses else 204
        sent = [(name.encode(), value.encode()) for name, value in self.reply_headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": b""})

    async def count(self, number: int) -> None:
        """Wait for so many requests."""
        async with asyncio.timeout(20):
            while len(self.requests) < number:
                self.arrived.clear()
                await self.arrived.wait()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    server = Server(found, socket.create_server(("127.0.0.1", 0)))
    found.url = server.url
    await server.start()
    yield found
    await server.stop()


@pytest.fixture
def event_headers() -> Callable[..., dict[str, str]]:
    """The headers of a CloudEvent in binary mode."""

    def build(identity: str = "1", **attributes: str) -> dict[str, str]:
        headers = {
            "ce-specversion": "1.0",
            "ce-id": identity,
            "ce-source": "/shop",
            "ce-type": "com.example.order.created",
            "content-type": "application/json",
        }
        return headers | {f"ce-{name}": value for name, value in attributes.items()}

    return build


@pytest.fixture(scope="session")
def until() -> Callable[..., Awaitable[Any]]:
    """Poll a condition until it holds."""
    return eventually
