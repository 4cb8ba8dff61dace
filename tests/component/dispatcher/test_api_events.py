"""Users' events in, over the API: stored first, then on their way to a Broker."""

import asyncio
import json
from typing import Any

import pytest

EVENTS = "/v1/namespaces/default/events"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def event(identity: str = "1", **members: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": identity,
        "source": "/shop",
        "type": "com.example.order.created",
        "data": {"order": identity},
        **members,
    }


@pytest.fixture
async def with_broker(dispatcher: Any, receiver: Any) -> Any:
    await dispatcher.publish(
        "shop",
        {"steps": [{"name": "hold", "waitFor": {"signal": "go"}}]},
        broker=f"{receiver.url}/default/default",
    )
    return dispatcher


async def test_an_event_in_binary_mode_is_stored_and_sent_on(
    with_broker: Any, receiver: Any, event_headers: Any
) -> None:
    response = await with_broker.api.post(
        EVENTS, content=b'{"order": 1}', headers=event_headers("17", colour="red")
    )
    assert response.status_code == 202
    verdict = response.json()
    assert (verdict["accepted"], verdict["refused"]) == (1, [])
    assert verdict["events"][0]["id"] == "17"
    await receiver.count(1)
    path, headers, body = receiver.requests[0]
    assert path == "/default/default"
    assert (headers["ce-id"], headers["ce-source"]) == ("17", "/shop")
    assert headers["ce-colour"] == "red"
    assert json.loads(body) == {"order": 1}


async def test_an_event_in_structured_mode_is_taken(with_broker: Any, receiver: Any) -> None:
    response = await with_broker.api.post(
        EVENTS, content=json.dumps(event("18")), headers={"content-type": STRUCTURED}
    )
    assert response.status_code == 202
    await receiver.count(1)
    assert receiver.requests[0][1]["ce-id"] == "18"


async def test_attributes_of_ours_are_dropped(with_broker: Any, receiver: Any) -> None:
    forged = event("19", awfrun="a-run", awftoken="guessed", awfdepth=3, keep="me")
    response = await with_broker.api.post(
        EVENTS, content=json.dumps(forged), headers={"content-type": STRUCTURED}
    )
    assert response.status_code == 202
    await receiver.count(1)
    headers = receiver.requests[0][1]
    assert [name for name in headers if name.startswith("ce-awf")] == []
    assert headers["ce-keep"] == "me"


async def test_each_event_of_a_batch_has_its_verdict(with_broker: Any, receiver: Any) -> None:
    wrong = event("21")
    del wrong["source"]
    batch = [event("20"), wrong, event("22")]
    response = await with_broker.api.post(
        EVENTS, content=json.dumps(batch), headers={"content-type": BATCH}
    )
    assert response.status_code == 207
    verdict = response.json()
    assert verdict["accepted"] == 2
    assert [(each["index"], each["id"]) for each in verdict["events"]] == [(0, "20"), (2, "22")]
    (refused,) = verdict["refused"]
    assert (refused["index"], refused["status"]) == (1, 400)
    assert refused["errors"][0]["path"] == "[1].source"
    await receiver.count(2)
    assert {headers["ce-id"] for _, headers, _ in receiver.requests} == {"20", "22"}


async def test_a_batch_of_good_events_is_202(with_broker: Any) -> None:
    batch = [event("1"), event("2")]
    response = await with_broker.api.post(
        EVENTS, content=json.dumps(batch), headers={"content-type": BATCH}
    )
    assert (response.status_code, response.json()["accepted"]) == (202, 2)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", "{}", 400),
        (STRUCTURED, "{", 400),
        (STRUCTURED, '["no object"]', 400),
        (STRUCTURED, json.dumps({**event(), "id": ""}), 400),
        (BATCH, "{}", 400),
        (BATCH, json.dumps([{"id": "x"}]), 400),
        ("application/cloudevents+xml", "<event/>", 415),
    ],
)
async def test_a_message_without_one_good_event_is_refused_as_a_whole(
    with_broker: Any, content_type: str, body: str, status: int
) -> None:
    response = await with_broker.api.post(
        EVENTS, content=body, headers={"content-type": content_type}
    )
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["title"] == "Malformed CloudEvent"


async def test_a_message_over_the_limit_is_413(with_broker: Any) -> None:
    large = event("1", data="x" * 1024 * 1024)
    response = await with_broker.api.post(
        EVENTS, content=json.dumps(large), headers={"content-type": STRUCTURED}
    )
    assert response.status_code == 413


@pytest.mark.parametrize("broker", ["", "../x", "a b", "A"])
async def test_a_broker_that_cannot_have_that_name_is_refused(
    with_broker: Any, broker: str, event_headers: Any
) -> None:
    response = await with_broker.api.post(
        EVENTS, params={"broker": broker}, content=b"{}", headers=event_headers()
    )
    assert response.status_code == 400
    assert response.json()["reason"] == "BadParameter"


async def test_an_event_for_a_broker_that_nobody_knows_becomes_a_dead_letter(
    with_broker: Any, until: Any, event_headers: Any
) -> None:
    response = await with_broker.api.post(
        EVENTS, params={"broker": "elsewhere"}, content=b"{}", headers=event_headers("30")
    )
    assert response.status_code == 202

    async def letters() -> Any:
        return (await with_broker.api.get("/v1/namespaces/default/dead-letters")).json()["items"]

    (letter,) = await until(letters)
    assert (letter["kind"], letter["target"]) == ("publication", "elsewhere")
    assert letter["event"]["id"] == "30"


async def test_an_accepted_event_outlives_the_dispatcher_that_took_it(
    with_broker: Any, start_dispatcher: Any, receiver: Any, event_headers: Any
) -> None:
    # The Broker refuses while the first one lives; its successor sends the event.
    receiver.statuses.extend([503])
    response = await with_broker.api.post(EVENTS, content=b"{}", headers=event_headers("40"))
    assert response.status_code == 202
    await receiver.count(1)
    await with_broker.close()
    await start_dispatcher()
    async with asyncio.timeout(30):
        await receiver.count(2)
    assert [headers["ce-id"] for _, headers, _ in receiver.requests] == ["40", "40"]
