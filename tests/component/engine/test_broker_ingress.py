"""The broker's ingress: all three modes over HTTP, and every way to be refused."""

import json
from typing import Any

import httpx2
import pytest
from tests.component.engine.broker_world import BROKER, World, make_event

from agentworkflow.engine.broker import Broker
from agentworkflow.engine.broker_ingress import build_ingress
from agentworkflow.engine.servers import Server, bind
from agentworkflow.events.http import encode_batch, encode_binary, encode_structured
from agentworkflow.store.streams import Streams


async def test_all_three_modes_of_http_are_taken_and_delivered_in_binary_mode(world: World) -> None:
    sink = await world.subscriber()
    await world.trigger("t", sink)
    for headers, body in (
        encode_binary(make_event(1, extensions={"tone": "loud"})),
        encode_structured(make_event(2)),
        encode_batch([make_event(3), make_event(4)]),
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
    await world.send(make_event(1, datacontenttype="application/octet-stream", data=raw))
    (got,) = await sink.got(1)
    assert got.data == raw
    assert got.datacontenttype == "application/octet-stream"


async def test_a_malformed_event_is_refused_with_the_attribute(world: World) -> None:
    headers, body = encode_binary(make_event())
    del headers["ce-id"]
    answer = await world.client.post(f"{world.ingress}/{BROKER}", headers=headers, content=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["path"] for error in answer.json()["errors"]] == ["id"]


async def test_a_malformed_member_of_a_batch_does_not_lose_its_neighbours(world: World) -> None:
    sink = await world.subscriber()
    await world.trigger("t", sink)
    headers, body = encode_batch([make_event(1), make_event(2), make_event(3)])
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
    headers, body = encode_binary(make_event())
    answer = await world.client.post(
        f"{world.ingress}/default/other", headers=headers, content=body
    )
    assert answer.status_code == 404
    assert BROKER in answer.json()["detail"]
    assert (await world.client.get(f"{world.ingress}/{BROKER}")).status_code == 405


async def test_a_message_over_the_limit_is_413(world: World) -> None:
    headers, body = encode_binary(make_event(data="x" * (1024 * 1024)))
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
            headers, body = encode_binary(make_event(number))
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
    headers, body = encode_binary(make_event())
    answer = await world.client.post(f"{world.ingress}/{BROKER}", headers=headers, content=body)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    await valkey.start()


@pytest.mark.parametrize(
    "header", [{"host": "rebound.example"}, {"origin": "http://page.example"}], ids=str
)
async def test_a_web_page_may_not_send_events(world: World, header: dict[str, str]) -> None:
    headers, body = encode_binary(make_event())
    answer = await world.client.post(
        f"{world.ingress}/{BROKER}", headers=headers | header, content=body
    )
    assert answer.status_code == 403
