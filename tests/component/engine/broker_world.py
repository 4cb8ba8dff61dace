"""A broker with its ingress and HTTP subscribers that remember what they got."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentworkflow.engine.broker import Broker
from agentworkflow.engine.broker_trigger import Subscription
from agentworkflow.engine.delivery import DeliveryPolicy
from agentworkflow.engine.servers import Server, bind
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import decode, encode_binary
from agentworkflow.store.streams import Streams

BROKER = "default/default"
QUICK = DeliveryPolicy(retry=2, delay=0.01, timeout=5)

Answers = Callable[[CloudEvent], Response | Awaitable[Response]]


@dataclass(frozen=True)
class OfType:
    """A filter that is all that a Trigger needs: events of one type, or of any."""

    type: str | None = None

    @property
    def exact_types(self) -> frozenset[str]:
        return frozenset() if self.type is None else frozenset({self.type})

    def matches(self, event: CloudEvent) -> bool:
        return self.type is None or event.type == self.type


@dataclass
class Subscriber:
    """An HTTP server that remembers what it got and answers as it is told."""

    url: str = ""
    events: list[CloudEvent] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    answer: Answers = field(default=lambda _: Response(status_code=202))

    async def got(self, count: int) -> list[CloudEvent]:
        async with asyncio.timeout(20):
            while len(self.events) < count:  # noqa: ASYNC110 - a server in another task
                await asyncio.sleep(0.01)
        return self.events

    async def take(self, request: Request) -> Response:
        event = decode(request.headers.items(), await request.body())
        self.times.append(asyncio.get_running_loop().time())
        self.headers.append(dict(request.headers))
        self.events.append(event)
        answer = self.answer(event)
        return answer if isinstance(answer, Response) else await answer


@dataclass
class World:
    broker: Broker
    streams: Streams
    ingress: str
    servers: list[Server]
    client: httpx2.AsyncClient

    async def subscriber(self, answer: Answers | None = None) -> Subscriber:
        made = Subscriber()
        if answer is not None:
            made.answer = answer
        app = Starlette(routes=[Route("/{rest:path}", made.take, methods=["POST"])])
        server = Server(app, bind("127.0.0.1", 0, "a subscriber"), "a subscriber")
        await server.start()
        self.servers.append(server)
        made.url = server.url + "/"
        return made

    async def trigger(self, name: str, to: Subscriber, **changes: Any) -> Subscription:
        given: dict[str, Any] = {"filter": OfType(), "policy": QUICK} | changes
        subscription = Subscription(BROKER, f"w/{name}", url=to.url, **given)
        await self.broker.subscribe(subscription)
        return subscription

    async def send(self, *events: CloudEvent) -> None:
        for event in events:
            headers, body = encode_binary(event)
            answer = await self.client.post(
                f"{self.ingress}/{BROKER}", headers=headers, content=body
            )
            assert answer.status_code == 202, answer.text

    async def drained(self) -> None:
        """Everything that was appended is settled in every group, and trimmed."""
        async with asyncio.timeout(20):
            while await self.streams.length(BROKER):  # noqa: ASYNC110 - in the store
                await asyncio.sleep(0.02)


def make_event(number: int = 1, **changes: Any) -> CloudEvent:
    given = {
        "id": str(number),
        "source": "/test",
        "type": "com.example.made",
        "data": {"n": number},
    }
    return CloudEvent(**(given | changes))


def status(code: int, **headers: str) -> Answers:
    return lambda _: Response(
        status_code=code, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def reply(code: int, reply_event: CloudEvent) -> Answers:
    headers, body = encode_binary(reply_event)
    return lambda _: Response(body, status_code=code, headers=headers)


def in_turn(*answers: Answers) -> Answers:
    """Each answer once; the last one for good."""
    left = list(answers)

    def answer(got: CloudEvent) -> Response | Awaitable[Response]:
        return (left.pop(0) if len(left) > 1 else left[0])(got)

    return answer
