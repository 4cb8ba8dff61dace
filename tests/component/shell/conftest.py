"""A dispatcher without its doors on a real Valkey, and a function server that tests script."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from agentworkflow.dispatcher.core import Core
from agentworkflow.dispatcher.ports import StartCommand
from agentworkflow.events import CloudEvent
from agentworkflow.events.http import decode, encode_binary
from agentworkflow.events.types import STEP_COMPLETED, STEP_FAILED
from agentworkflow.store import Store, WorkflowRecord

Reply = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[CloudEvent], Awaitable[Reply]]

_ECHOED = ("awfrun", "awfstep", "awfitem", "awfattempt", "awftoken", "awffunction")


def completed(request: CloudEvent, output: Any = None, **changes: str) -> Reply:
    return _answer(request, STEP_COMPLETED, output, changes)


def failed(request: CloudEvent, reason: str, **problem: Any) -> Reply:
    return _answer(request, STEP_FAILED, {"title": reason, "reason": reason, **problem}, {})


def _answer(request: CloudEvent, kind: str, data: Any, changes: dict[str, str]) -> Reply:
    echoed = {name: value for name, value in request.extensions.items() if name in _ECHOED}
    event = CloudEvent(
        id=f"{request.id}/answer",
        source="/functions/test",
        type=kind,
        datacontenttype="application/json",
        extensions=echoed | {"awfstarttype": "warm", "awfdurationms": "3"} | changes,
        data=data,
    )
    headers, body = encode_binary(event)
    return 200, headers, body


@dataclass
class FunctionServer:
    """Answers step requests as each test says, by function name."""

    url: str = ""
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[CloudEvent] = field(default_factory=list)

    def on(self, function: str, behaviour: Behaviour) -> None:
        self.behaviours[function] = behaviour

    def asked(self, step: str) -> list[CloudEvent]:
        return [request for request in self.requests if request.get("awfstep") == step]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        request = decode(headers, body)
        self.requests.append(request)
        behaviour = self.behaviours.get(str(request.get("awffunction")), _echo)
        status, answered, content = await behaviour(request)
        raw = [(name.encode(), value.encode()) for name, value in answered.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})


async def _echo(request: CloudEvent) -> Reply:
    return completed(request, request.data)


@pytest.fixture
async def functions() -> AsyncIterator[FunctionServer]:
    app = FunctionServer()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    app.url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    yield app
    server.should_exit = True
    await serving


@dataclass
class World:
    store: Store
    core: Core
    functions: FunctionServer
    others: list[Core] = field(default_factory=list)

    async def publish(
        self, spec: dict[str, Any], *, name: str = "w", addresses: list[str] | None = None
    ) -> None:
        names = {step["function"] for step in spec["steps"] if "function" in step}
        declared = spec.pop("functions", {})
        functions = [{"name": n, "handler": "m:f", **declared.get(n, {})} for n in sorted(names)]
        resource = {
            "apiVersion": "agentworkflow.dev/v1alpha1",
            "kind": "AgentWorkflow",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"functions": functions, **spec},
        }
        urls = [self.functions.url] if addresses is None else addresses
        record = WorkflowRecord(
            namespace="default",
            name=name,
            generation=1,
            digest="",
            resource=resource,
            functions={n: {"addresses": urls} for n in names},
        )
        await self.store.publish(record)
        for core in (self.core, *self.others):
            await core.catalog.refresh()

    async def another(self) -> Core:
        """A second dispatcher on the same store."""
        other = Core.build(self.store)
        await other.start()
        self.others.append(other)
        return other

    async def start(self, value: Any = None, **more: Any) -> str:
        ticket = await self.core.runs.start(StartCommand("default", "w", value, **more))
        return ticket.run

    async def finish(self, run: str, seconds: float = 20) -> dict[str, Any]:
        assert await self.core.runs.wait("default", run, seconds), await self.view(run)
        return await self.view(run)

    async def run(self, value: Any = None, **more: Any) -> dict[str, Any]:
        return await self.finish(await self.start(value, **more))

    async def view(self, run: str) -> dict[str, Any]:
        return await self.core.runs.view("default", run)

    async def until(
        self, run: str, condition: Callable[[dict[str, Any]], bool], seconds: float = 20
    ) -> dict[str, Any]:
        async with asyncio.timeout(seconds), self.core.runs.subscribe(run) as grown:
            while True:
                view = await self.view(run)
                if condition(view):
                    return view
                await grown.wait()
                grown.clear()

    async def nothing_due(self, seconds: float = 20) -> None:
        """Wait until the store has nothing due but purges; fails with what stays due."""
        end = asyncio.get_running_loop().time() + seconds
        while left := await self._due():
            # A run has ended before its news are taken off the set.
            assert asyncio.get_running_loop().time() < end, left
            await asyncio.sleep(0.005)

    async def due_at(self, member: str) -> int:
        """When an entry is due, in ms."""
        return int(await self.store._connection.command("ZSCORE", "awf:{00}:due", member))

    async def _due(self) -> set[str]:
        found = await self.store._connection.command("ZRANGE", "awf:{00}:due", 0, -1)
        return {member.decode() for member in found if not member.startswith(b"purge|")}


@pytest.fixture
async def world(store: Store, functions: FunctionServer) -> AsyncIterator[World]:
    core = Core.build(store)
    await core.start()
    made = World(store, core, functions)
    yield made
    for each in (core, *made.others):
        await each.aclose()
