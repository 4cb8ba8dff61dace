"""Hosts that answer as each test says, called by the whole dispatcher of the tests beside."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from agentworkflow.events import CloudEvent
from agentworkflow.events.http import decode, encode_binary
from agentworkflow.events.types import STEP_COMPLETED, STEP_FAILED

from ..dispatcher.conftest import (  # noqa: TID252 - its fixtures are these tests' too
    Server,
    dispatcher,
    event_headers,
    event_listener,
    receiver,
    start_dispatcher,
    until,
)

__all__ = [
    "Server",
    "dispatcher",
    "event_headers",
    "event_listener",
    "receiver",
    "start_dispatcher",
    "until",
]

RUNS = "/v1/namespaces/default/runs"
LETTERS = "/v1/namespaces/default/dead-letters"
SWEEP = "agentworkflow.dispatcher.shell.sweep._INTERVAL"

# A run that lasts until somebody signals, one that ends at once, and what starts either.
WAIT: dict[str, Any] = {
    "steps": [{"name": "hold", "waitFor": {"signal": "go"}}],
    "output": "${steps.hold.output}",
}
PAUSE: dict[str, Any] = {
    "steps": [{"name": "pause", "waitFor": {"duration": "1ms"}}],
    "output": "${input}",
}
MADE = {"name": "made", "filters": [{"exact": {"type": "com.example.order.created"}}]}

Reply = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[CloudEvent], Awaitable[Reply | None]]

_ECHOED = ("awfrun", "awfstep", "awfitem", "awfattempt", "awftoken", "awffunction")


def completed(request: CloudEvent, output: Any = None, **changes: str) -> Reply:
    """The answer of a handler that returned."""
    return _answer(request, STEP_COMPLETED, output, changes)


def failed(request: CloudEvent, reason: str, **problem: Any) -> Reply:
    """The answer for an attempt that ended otherwise."""
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


async def signal(dispatcher: Any, run: str, value: Any = None, name: str = "go") -> None:
    """Signal a run through the API."""
    response = await dispatcher.api.post(f"{RUNS}/{run}/signals/{name}", json=value)
    assert response.status_code == 202, response.text


@dataclass
class Host:
    """An HTTP server in a function's place. A behaviour that gives None never answers."""

    url: str = ""
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[CloudEvent] = field(default_factory=list)

    def on(self, function: str, behaviour: Behaviour) -> None:
        self.behaviours[function] = behaviour

    def of(self, function: str) -> list[CloudEvent]:
        return [request for request in self.requests if request.get("awffunction") == function]

    def tokens(self) -> set[str]:
        return {str(request.get("awftoken")) for request in self.requests}

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
        behaviour = self.behaviours.get(str(request.get("awffunction")))
        reply = completed(request, request.data) if behaviour is None else await behaviour(request)
        if reply is None:
            # Until whoever asked has gone.
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        status, answered, content = reply
        raw = [(name.encode(), value.encode()) for name, value in answered.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
async def start_host() -> AsyncIterator[Callable[[], Awaitable[Host]]]:
    servers: list[Server] = []

    async def start() -> Host:
        host = Host()
        server = Server(host, socket.create_server(("127.0.0.1", 0)))
        host.url = server.url + "/"
        servers.append(server)
        await server.start()
        return host

    yield start
    await asyncio.gather(*(server.stop() for server in servers))


@pytest.fixture
async def host(start_host: Callable[[], Awaitable[Host]]) -> Host:
    return await start_host()


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"
