"""Knative's data-plane contract, row by row: real HTTP subscribers, a real stream underneath."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentworkflow.engine.broker import Broker
from agentworkflow.engine.broker_ingress import build_ingress
from agentworkflow.engine.broker_trigger import Subscription
from agentworkflow.engine.delivery import DeliveryPolicy
from agentworkflow.engine.servers import Server, bind
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import decode, encode_batch, encode_binary, encode_structured
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


@pytest.fixture
async def world(valkey: Any) -> AsyncIterator[World]:
    streams = await Streams.connect(valkey.url)
    broker = Broker(streams, consumer="engine")
    broker.create(BROKER)
    server = Server(build_ingress(broker), bind("127.0.0.1", 0, "the ingress"), "the ingress")
    await server.start()
    async with httpx2.AsyncClient(trust_env=False) as client:
        made = World(broker, streams, server.url, [server], client)
        yield made
        await broker.aclose()
    for each in made.servers:
        await each.stop()
    await streams.aclose()


def event(number: int = 1, **changes: Any) -> CloudEvent:
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


# --- ingress ----------------------------------------------------------------------------------


async def test_all_three_modes_of_http_are_taken_and_delivered_in_binary_mode(world: World) -> None:
    sink = await world.subscriber()
    await world.trigger("t", sink)
    for headers, body in (
        encode_binary(event(1, extensions={"tone": "loud"})),
        encode_structured(event(2)),
        encode_batch([event(3), event(4)]),
    ):
        answer = await world.client.post(f"{world.ingress}/{BROKER}", headers=headers, content=body)
        assert answer.status_code == 202
    got = await sink.got(4)
    assert [each.id for each in got] == ["1", "2", "3", "4"]
    assert got[0].extensions == {"tone": "loud"}
    assert [each.data for each in got] == [{"n": n} for n in (1, 2, 3, 4)]
    assert {each["ce-specversion"] for each in sink.headers} == {"1.0"}
    assert {each["prefer"] for each in sink.headers} == {"reply"}


async def test_data_that_is_not_json_arrives_byte_by_byte(world: World) -> None:
    sink = await world.subscriber()
    await world.trigger("t", sink)
    raw = bytes(range(256))
    await world.send(event(1, datacontenttype="application/octet-stream", data=raw))
    (got,) = await sink.got(1)
    assert got.data == raw
    assert got.datacontenttype == "application/octet-stream"


async def test_a_malformed_event_is_refused_with_the_attribute(world: World) -> None:
    headers, body = encode_binary(event())
    del headers["ce-id"]
    answer = await world.client.post(f"{world.ingress}/{BROKER}", headers=headers, content=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["path"] for error in answer.json()["errors"]] == ["id"]


async def test_a_malformed_member_of_a_batch_does_not_lose_its_neighbours(world: World) -> None:
    sink = await world.subscriber()
    await world.trigger("t", sink)
    headers, body = encode_batch([event(1), event(2), event(3)])
    members = json.loads(body)
    del members[1]["type"]
    answer = await world.client.post(
        f"{world.ingress}/{BROKER}", headers=headers, content=json.dumps(members)
    )
    assert answer.status_code == 400
    assert answer.json()["accepted"] == 2
    assert answer.json()["refused"] == 1
    assert [each.id for each in await sink.got(2)] == ["1", "3"]


async def test_an_unknown_broker_is_404_and_another_method_405(world: World) -> None:
    headers, body = encode_binary(event())
    answer = await world.client.post(
        f"{world.ingress}/default/other", headers=headers, content=body
    )
    assert answer.status_code == 404
    assert BROKER in answer.json()["detail"]
    assert (await world.client.get(f"{world.ingress}/{BROKER}")).status_code == 405


async def test_a_message_over_the_limit_is_413(world: World) -> None:
    headers, body = encode_binary(event(data="x" * (1024 * 1024)))
    answer = await world.client.post(f"{world.ingress}/{BROKER}", headers=headers, content=body)
    assert answer.status_code == 413


async def test_a_full_broker_says_429_and_when_to_come_again(valkey: Any) -> None:
    streams = await Streams.connect(valkey.url)
    broker = Broker(streams, consumer="engine", max_events=1)
    broker.create(BROKER)
    await streams.open_group(BROKER, "nobody-serves-it")
    server = Server(build_ingress(broker), bind("127.0.0.1", 0, "the ingress"), "the ingress")
    await server.start()
    async with httpx2.AsyncClient(trust_env=False) as client:
        answers = []
        for number in (1, 2):
            headers, body = encode_binary(event(number))
            answers.append(
                await client.post(f"{server.url}/{BROKER}", headers=headers, content=body)
            )
    assert [answer.status_code for answer in answers] == [202, 429]
    assert answers[1].headers["retry-after"] == "1"
    await broker.aclose()
    await server.stop()
    await streams.aclose()


async def test_without_the_store_the_ingress_says_503(world: World, valkey: Any) -> None:
    await valkey.kill()
    headers, body = encode_binary(event())
    answer = await world.client.post(f"{world.ingress}/{BROKER}", headers=headers, content=body)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    await valkey.start()


# --- filters ----------------------------------------------------------------------------------


async def test_each_trigger_gets_what_its_filter_lets_through(world: World) -> None:
    a, b, everything = [await world.subscriber() for _ in range(3)]
    await world.trigger("a", a, filter=OfType("a"))
    await world.trigger("b", b, filter=OfType("b"))
    await world.trigger("all", everything)
    await world.send(event(1, type="a"), event(2, type="b"), event(3, type="a"))
    assert [each.id for each in await a.got(2)] == ["1", "3"]
    assert [each.id for each in await b.got(1)] == ["2"]
    assert [each.id for each in await everything.got(3)] == ["1", "2", "3"]
    await world.drained()


async def test_events_of_ours_reach_only_a_trigger_that_names_their_type(world: World) -> None:
    named, everything = [await world.subscriber() for _ in range(2)]
    await world.trigger("named", named, filter=OfType("dev.agentworkflow.run.succeeded"))
    await world.trigger("all", everything)
    await world.send(event(1, type="dev.agentworkflow.run.succeeded"), event(2))
    assert [each.id for each in await named.got(1)] == ["1"]
    assert [each.id for each in await everything.got(1)] == ["2"]
    await world.drained()
    assert [each.id for each in everything.events] == ["2"]


# --- answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 202, 204])
async def test_any_2xx_is_delivered_once(world: World, code: int) -> None:
    sink, dead = await world.subscriber(status(code)), await world.subscriber()
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(event())
    await sink.got(1)
    await world.drained()
    assert (len(sink.events), len(dead.events)) == (1, 0)


@pytest.mark.parametrize("code", [404, 409, 429, 500, 502, 503, 504])
async def test_what_knative_retries_is_retried_and_then_dead_lettered(
    world: World, code: int
) -> None:
    sink, dead = await world.subscriber(status(code)), await world.subscriber()
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(event())
    (letter,) = await dead.got(1)
    assert len(sink.events) == 1 + QUICK.retry
    assert letter.extensions["knativeerrorcode"] == str(code)


@pytest.mark.parametrize("code", [300, 302, 400, 401, 403, 405, 408, 410, 422])
async def test_any_other_answer_is_dead_lettered_at_once(world: World, code: int) -> None:
    refuse = lambda _: Response(b"no such thing", status_code=code)  # noqa: E731
    sink, dead = await world.subscriber(refuse), await world.subscriber()
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(event(1, extensions={"tone": "loud"}))
    (letter,) = await dead.got(1)
    assert len(sink.events) == 1
    assert letter.extensions == {
        "tone": "loud",
        "knativeerrordest": sink.url,
        "knativeerrorcode": str(code),
        "knativeerrordata": base64.b64encode(b"no such thing").decode(),
    }
    assert (letter.id, letter.source, letter.type) == ("1", "/test", "com.example.made")
    assert letter.data == {"n": 1}


async def test_a_subscriber_that_does_not_listen_is_retried_and_counts_as_500(
    world: World,
) -> None:
    nobody, dead = await world.subscriber(), await world.subscriber()
    await world.servers[1].stop()
    await world.trigger("t", nobody, dead_letter_url=dead.url)
    await world.send(event())
    (letter,) = await dead.got(1)
    assert letter.extensions["knativeerrorcode"] == "500"
    data = base64.b64decode(str(letter.extensions["knativeerrordata"]))
    assert data.startswith(b"dispatch error: ConnectError")


async def test_a_subscriber_that_is_silent_too_long_is_tried_again(world: World) -> None:
    async def hang(_: CloudEvent) -> Response:
        await asyncio.sleep(30)
        return Response(status_code=202)

    sink = await world.subscriber(in_turn(hang, status(202)))
    await world.trigger("t", sink, policy=replace(QUICK, timeout=0.2))
    await world.send(event())
    await sink.got(2)
    await world.drained()


async def test_success_after_a_retry_ends_the_delivery(world: World) -> None:
    sink, dead = await world.subscriber(in_turn(status(503), status(202))), await world.subscriber()
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(event())
    await sink.got(2)
    await world.drained()
    assert (len(sink.events), len(dead.events)) == (2, 0)


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_is_honoured(world: World, code: int) -> None:
    sink = await world.subscriber(in_turn(status(code, retry_after="1"), status(202)))
    await world.trigger("t", sink)
    await world.send(event())
    await sink.got(2)
    assert sink.times[1] - sink.times[0] >= 1


async def test_without_a_dead_letter_sink_a_refused_event_is_dropped(world: World) -> None:
    sink = await world.subscriber(status(400))
    await world.trigger("t", sink)
    await world.send(event())
    await sink.got(1)
    await world.drained()


async def test_a_dead_letter_sink_that_is_down_gets_it_later(world: World) -> None:
    sink = await world.subscriber(status(400))
    dead = await world.subscriber(in_turn(status(503), status(202)))
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(event())
    letters = await dead.got(2)
    assert {letter.extensions["knativeerrorcode"] for letter in letters} == {"400"}
    assert len(sink.events) == 1
    assert "prefer" not in dead.headers[0]


# --- replies ----------------------------------------------------------------------------------


async def test_a_reply_in_a_200_goes_back_into_the_broker_one_deeper(world: World) -> None:
    answer = reply(200, event(9, type="answer", extensions={"awfdepth": 7}))
    sink, answers = await world.subscriber(answer), await world.subscriber()
    await world.trigger("t", sink, filter=OfType("com.example.made"))
    await world.trigger("answers", answers, filter=OfType("answer"))
    await world.send(event(1, extensions={"awfdepth": "2"}))
    (got,) = await answers.got(1)
    assert (got.id, got.type, got.data) == ("9", "answer", {"n": 9})
    assert got.extensions == {"awfdepth": "3"}


async def test_a_reply_in_a_202_is_ignored(world: World) -> None:
    sink = await world.subscriber(reply(202, event(9, type="answer")))
    answers = await world.subscriber()
    await world.trigger("t", sink, filter=OfType("com.example.made"))
    await world.trigger("answers", answers, filter=OfType("answer"))
    await world.send(event())
    await sink.got(1)
    await world.drained()
    assert answers.events == []


@pytest.mark.parametrize(
    "answer",
    [
        Response(b"done", 200, {"content-type": "text/plain"}),
        Response(b"{}", 200, {"content-type": "application/cloudevents+json"}),
        Response(b"", 200, {"ce-specversion": "1.0", "ce-id": "1"}),
        Response(b"x" * (1024 * 1024 + 1), 200),
    ],
    ids=["no event", "empty object", "attributes missing", "too large"],
)
async def test_a_reply_that_is_no_event_is_a_failed_delivery(
    world: World, answer: Response
) -> None:
    sink, dead = await world.subscriber(lambda _: answer), await world.subscriber()
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(event())
    (letter,) = await dead.got(1)
    assert letter.extensions["knativeerrorcode"] == "502"
    assert len(sink.events) == 1 + QUICK.retry


async def test_events_that_cause_each_other_end_as_a_dead_letter(world: World) -> None:
    sink = await world.subscriber(reply(200, event(9)))
    dead = await world.subscriber()
    await world.trigger("echo", sink, dead_letter_url=dead.url)
    await world.send(event())
    (letter,) = await dead.got(1)
    await world.drained()
    assert [each.extensions.get("awfdepth", "0") for each in sink.events] == [
        str(depth) for depth in range(17)
    ]
    assert letter.extensions["awfdepth"] == "17"
    assert letter.extensions["knativeerrorcode"] == "508"
    problem = json.loads(base64.b64decode(str(letter.extensions["knativeerrordata"])))
    assert problem["reason"] == "Loop"


# --- side by side -----------------------------------------------------------------------------


async def test_a_slow_subscriber_holds_up_nobody_else(world: World) -> None:
    release = asyncio.Event()

    async def slow(_: CloudEvent) -> Response:
        await release.wait()
        return Response(status_code=202)

    stuck, quick = await world.subscriber(slow), await world.subscriber()
    await world.trigger("stuck", stuck, concurrency=2)
    await world.trigger("quick", quick)
    await world.send(*(event(n) for n in range(20)))
    await quick.got(20)
    assert len(stuck.events) == 2
    release.set()
    await stuck.got(20)
    await world.drained()


async def test_no_more_deliveries_are_open_than_a_trigger_allows(world: World) -> None:
    open_now, most = 0, 0

    async def count(_: CloudEvent) -> Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.01)
        open_now -= 1
        return Response(status_code=202)

    sink = await world.subscriber(count)
    await world.trigger("t", sink, concurrency=3)
    await world.send(*(event(n) for n in range(30)))
    await sink.got(30)
    assert most == 3


async def test_a_waiting_retry_blocks_no_other_event(world: World) -> None:
    def answer(got: CloudEvent) -> Response:
        return Response(status_code=503 if got.id == "0" else 202)

    sink = await world.subscriber(answer)
    await world.trigger("t", sink, concurrency=1, policy=replace(QUICK, delay=60))
    await world.send(*(event(n) for n in range(10)))
    got = await sink.got(10)
    assert sorted(each.id for each in got) == [str(n) for n in range(10)]
    await world.drained()


async def test_a_trigger_that_is_replaced_keeps_what_waits_for_it(world: World) -> None:
    first, second = await world.subscriber(status(503)), await world.subscriber()
    await world.trigger("t", first, policy=replace(QUICK, delay=0.5))
    await world.send(event())
    await first.got(1)
    await world.trigger("t", second)
    await second.got(1)


async def test_a_trigger_that_is_removed_leaves_nothing_behind(world: World) -> None:
    sink, other = await world.subscriber(status(503)), await world.subscriber()
    await world.trigger("t", sink, policy=replace(QUICK, delay=60))
    await world.send(event(1))
    await sink.got(1)
    await world.broker.unsubscribe(BROKER, "w/t")
    await world.send(event(2))
    await world.drained()
    await world.trigger("t", other)
    await world.send(event(3))
    assert [each.id for each in await other.got(1)] == ["3"]
