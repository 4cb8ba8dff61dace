"""Dead letters over HTTP: listed, shown, sent again to where they were going, dropped."""

import base64
import json
from typing import Any

import pytest

LETTERS = "/v1/namespaces/default/dead-letters"
RUNS = "/v1/namespaces/default/runs"
STARTS = {
    "steps": [{"name": "pause", "waitFor": {"duration": "1ms"}}],
    "output": "${input}",
    "triggers": [{"name": "made", "filters": [{"exact": {"type": "com.example.order.created"}}]}],
}


@pytest.fixture
async def published(dispatcher: Any) -> Any:
    await dispatcher.publish("shop", STARTS)
    return dispatcher


async def bury(dispatcher: Any, headers: dict[str, str], trigger: str = "made") -> dict[str, Any]:
    """A Broker gives up on an event; the letter it becomes."""
    said = json.dumps({"title": "The store does not answer", "detail": "at all"}).encode()
    dead = {
        "ce-knativeerrordest": "http://dispatcher/e/default/shop/made",
        "ce-knativeerrorcode": "503",
        "ce-knativeerrordata": base64.b64encode(said).decode(),
    }
    address = dispatcher.trigger("shop", trigger)
    response = await dispatcher.events.post(
        f"{address}/dead", content=b'{"order": 1}', headers=headers | dead
    )
    assert response.status_code == 202
    (letter,) = (await dispatcher.api.get(LETTERS)).json()["items"]
    found: dict[str, Any] = letter
    return found


async def test_what_a_broker_gave_up_on_is_kept_with_the_reason(
    published: Any, event_headers: Any
) -> None:
    letter = await bury(published, event_headers("7", colour="red"))
    assert (letter["kind"], letter["workflow"], letter["target"]) == ("trigger", "shop", "made")
    assert (letter["code"], letter["reason"]) == (503, "Status503")
    assert letter["detail"] == "The store does not answer: at all"
    event = letter["event"]
    assert (event["id"], event["colour"], event["data"]) == ("7", "red", {"order": 1})
    assert [name for name in event if name.startswith("knative")] == []
    shown = await published.api.get(f"{LETTERS}/{letter['id']}")
    assert shown.json() == letter


async def test_a_loop_that_a_function_host_ended_is_kept_as_one(
    published: Any, event_headers: Any
) -> None:
    said = base64.b64encode(b'{"title": "Loop", "reason": "Loop", "detail": "17 events"}').decode()
    headers = event_headers("7", knativeerrorcode="422", knativeerrordata=said)
    await published.events.post(
        published.trigger("shop", "made") + "/dead", content=b"{}", headers=headers
    )
    (letter,) = (await published.api.get(LETTERS)).json()["items"]
    assert (letter["reason"], letter["code"], letter["detail"]) == ("Loop", 422, "Loop: 17 events")


async def test_the_same_event_twice_is_one_letter(published: Any, event_headers: Any) -> None:
    first = await bury(published, event_headers("7"))
    again = await bury(published, event_headers("7"))
    assert first["id"] == again["id"]


async def test_a_letter_that_is_sent_again_starts_its_run_and_is_gone(
    published: Any, event_headers: Any
) -> None:
    letter = await bury(published, event_headers("7"))
    response = await published.api.post(f"{LETTERS}/{letter['id']}/redrive")
    assert response.status_code == 200
    view = await published.finished(response.json()["run"])
    assert (view["state"], view["output"]) == ("Succeeded", {"order": 1})
    assert view["startedBy"]["event"]["id"] == "7"
    assert (await published.api.get(LETTERS)).json()["items"] == []


async def test_a_letter_whose_event_had_started_a_run_starts_no_second_one(
    published: Any, event_headers: Any
) -> None:
    address = published.trigger("shop", "made")
    await published.events.post(address, content=b'{"order": 1}', headers=event_headers("7"))
    letter = await bury(published, event_headers("7"))
    response = await published.api.post(f"{LETTERS}/{letter['id']}/redrive")
    assert response.status_code == 200
    (run,) = (await published.api.get(RUNS)).json()["items"]
    assert response.json()["run"] == run["run"]


async def test_a_letter_that_is_refused_again_is_kept(published: Any, event_headers: Any) -> None:
    letter = await bury(published, event_headers("7"))
    await published.publish(
        "shop", STARTS | {"inputSchema": {"required": ["customer"]}}, generation=2
    )
    response = await published.api.post(f"{LETTERS}/{letter['id']}/redrive")
    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == "/customer"
    assert (await published.api.get(f"{LETTERS}/{letter['id']}")).status_code == 200


async def test_a_letter_of_a_function_goes_to_that_function_and_its_reply_to_the_broker(
    dispatcher: Any, host: str, receiver: Any, event_headers: Any
) -> None:
    await dispatcher.publish(
        "shop",
        {
            "functions": [{"name": "analyze", "handler": "api_functions:analyze"}],
            "triggers": [{"name": "upload", "function": "analyze", "reply": "com.example.done"}],
        },
        functions={"analyze": [host]},
        broker=f"{receiver.url}/default/default",
    )
    letter = await bury(dispatcher, event_headers("7"), trigger="upload")
    assert letter["event"]["data"] == {"order": 1}
    response = await dispatcher.api.post(f"{LETTERS}/{letter['id']}/redrive")
    # `order` is a text for this handler, so the function refuses the event once more.
    assert response.status_code == 502
    assert "422" in response.json()["detail"]
    await dispatcher.api.delete(f"{LETTERS}/{letter['id']}")

    dead = {"ce-knativeerrorcode": "503"}
    address = dispatcher.trigger("shop", "upload")
    await dispatcher.events.post(
        f"{address}/dead", content=b'{"order": "a"}', headers=event_headers("8") | dead
    )
    (letter,) = (await dispatcher.api.get(LETTERS)).json()["items"]
    response = await dispatcher.api.post(f"{LETTERS}/{letter['id']}/redrive")
    assert response.status_code == 200, response.text
    assert response.json()["publication"]
    await receiver.count(1)
    _, headers, body = receiver.requests[0]
    assert headers["ce-type"] == "com.example.done"
    assert json.loads(body) == {"order": "a", "revenue": 2.0}


@pytest.mark.parametrize("status", [200, 202])
async def test_a_letter_of_an_image_goes_to_its_own_server_and_its_reply_one_deeper(
    dispatcher: Any, receiver: Any, event_headers: Any, status: int
) -> None:
    await dispatcher.publish(
        "shop",
        {
            "functions": [{"name": "legacy", "image": "registry.example/legacy"}],
            "triggers": [{"name": "upload", "function": "legacy"}],
        },
        functions={"legacy": [f"{receiver.url}/"]},
        broker=f"{receiver.url}/default/default",
    )
    dead = event_headers("7", awfdepth="4", knativeerrorcode="503")
    address = dispatcher.trigger("shop", "upload")
    await dispatcher.events.post(f"{address}/dead", content=b"{}", headers=dead)
    (letter,) = (await dispatcher.api.get(LETTERS)).json()["items"]
    receiver.statuses.append(status)
    receiver.reply_headers = event_headers("8")
    response = await dispatcher.api.post(f"{LETTERS}/{letter['id']}/redrive")
    assert response.status_code == 200, response.text
    assert [path for path, _, _ in receiver.requests[:1]] == ["/"]
    # A Broker ignores the reply in a 202, and so does this.
    assert (response.json()["publication"] is not None) == (status == 200)
    if status == 200:
        await receiver.count(2)
        path, headers, _ = receiver.requests[1]
        assert (path, headers["ce-id"], headers["ce-awfdepth"]) == ("/default/default", "8", "5")


async def test_a_letter_is_dropped(published: Any, event_headers: Any) -> None:
    letter = await bury(published, event_headers("7"))
    assert (await published.api.delete(f"{LETTERS}/{letter['id']}")).status_code == 204
    assert (await published.api.get(f"{LETTERS}/{letter['id']}")).status_code == 404


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/redrive"), ("DELETE", "")])
async def test_an_unknown_letter_is_404(published: Any, method: str, path: str) -> None:
    response = await published.api.request(method, f"{LETTERS}/nothing{path}")
    assert response.status_code == 404
    assert response.json()["reason"] == "UnknownDeadLetter"


async def test_a_letter_is_seen_in_its_own_namespace_only(
    published: Any, event_headers: Any
) -> None:
    letter = await bury(published, event_headers("7"))
    other = f"/v1/namespaces/other/dead-letters/{letter['id']}"
    assert (await published.api.get(other)).status_code == 404
    assert (await published.api.delete(other)).status_code == 404
    assert (await published.api.post(f"{other}/redrive")).status_code == 404
    assert (await published.api.get(f"{LETTERS}/{letter['id']}")).status_code == 200


async def test_letters_are_listed_page_by_page(published: Any, event_headers: Any) -> None:
    address = published.trigger("shop", "made")
    for number in range(5):
        await published.events.post(
            f"{address}/dead", content=b"{}", headers=event_headers(str(number))
        )
    seen = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await published.api.get(LETTERS, params=query)).json()
        assert len(page["items"]) <= 2
        seen += [letter["event"]["id"] for letter in page["items"]]
        if page["cursor"] is None:
            break
        query["cursor"] = page["cursor"]
    assert sorted(seen) == ["0", "1", "2", "3", "4"]
