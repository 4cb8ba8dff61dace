"""What a run tells the world, and what each of the two doors takes."""

import asyncio
import json
import socket
from typing import Any

import pytest

from agentworkflow.events import CloudEvent

from .conftest import LETTERS, MADE, PAUSE, RUNS, SWEEP, WAIT, Host, Reply, Server, failed, signal


async def news(receiver: Any, count: int) -> list[tuple[dict[str, str], Any]]:
    await receiver.count(count)
    return [(headers, json.loads(body)) for _, headers, body in receiver.requests]


async def test_a_run_tells_of_its_start_and_of_its_end(dispatcher: Any, receiver: Any) -> None:
    await dispatcher.publish("w", WAIT, broker=f"{receiver.url}/default/default")
    run = await dispatcher.start("w", params={"session": "ada"})
    await news(receiver, 1)
    await signal(dispatcher, run, {"n": 1})

    (began, started), (ended, succeeded) = await news(receiver, 2)

    for headers in (began, ended):
        awf = {
            name: value
            for name, value in headers.items()
            if name.startswith("ce-awf") or name == "ce-partitionkey"
        }
        assert awf == {
            "ce-awfrun": run,
            "ce-awfworkflow": "w",
            "ce-awfnamespace": "default",
            "ce-awfsession": "ada",
            "ce-awfdepth": "1",
            "ce-partitionkey": run,
        }
    assert began["ce-type"] == "dev.agentworkflow.run.started"
    assert ended["ce-type"] == "dev.agentworkflow.run.succeeded"
    assert began["ce-id"] != ended["ce-id"]
    assert started["run"] == run
    assert (succeeded["state"], succeeded["output"]) == ("Succeeded", {"n": 1})
    assert succeeded["steps"] == 0
    assert succeeded["durationMs"] >= 0


async def test_a_run_that_fails_tells_its_problem_and_what_it_used(
    dispatcher: Any, receiver: Any, host: Host
) -> None:
    async def fails(request: CloudEvent) -> Reply:
        return failed(request, "Retry")

    host.on("f", fails)
    function = {"name": "f", "handler": "m:f", "retry": {"limit": 1, "delay": "1ms"}}
    await dispatcher.publish(
        "w",
        {"functions": [function], "steps": [{"name": "a", "function": "f"}]},
        functions={"f": [host.url]},
        broker=receiver.url,
    )
    await dispatcher.finished(await dispatcher.start("w"))
    found = {headers["ce-type"]: data for headers, data in await news(receiver, 2)}
    data = found["dev.agentworkflow.run.failed"]
    assert (data["state"], data["reason"], data["steps"]) == ("Failed", "StepFailed", 2)
    assert data["problem"]["title"] == "Retry"


async def test_a_cancelled_run_tells_so(dispatcher: Any, receiver: Any) -> None:
    await dispatcher.publish("w", WAIT, broker=receiver.url)
    run = await dispatcher.start("w")
    await dispatcher.api.post(f"{RUNS}/{run}/cancel")
    found = {headers["ce-type"]: data for headers, data in await news(receiver, 2)}
    assert found["dev.agentworkflow.run.cancelled"]["reason"] == "CancelRequested"


async def test_what_a_run_causes_lies_one_deeper_than_what_started_it(
    dispatcher: Any, receiver: Any, host: Host, event_headers: Any
) -> None:
    spec = {
        "functions": [{"name": "f", "handler": "m:f"}],
        "steps": [{"name": "a", "function": "f"}],
        "triggers": [MADE],
    }
    await dispatcher.publish("w", spec, functions={"f": [host.url]}, broker=receiver.url)
    response = await dispatcher.events.post(
        dispatcher.trigger("w", "made"), content=b"{}", headers=event_headers("7", awfdepth="4")
    )
    assert response.status_code == 202
    found = await news(receiver, 2)
    assert {headers["ce-awfdepth"] for headers, _ in found} == {"5"}
    assert [request.get("awfdepth") for request in host.requests] == ["5"]


async def test_news_that_a_broker_refuses_are_posted_five_times_and_kept_as_a_dead_letter(
    dispatcher: Any, receiver: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SWEEP, 0.02)
    monkeypatch.setattr("agentworkflow.dispatcher.shell.publications._FIRST_PAUSE_MS", 1)
    await dispatcher.publish("w", WAIT, broker=receiver.url)
    receiver.statuses.extend([503] * 5)
    run = await dispatcher.start("w")

    async def letters() -> Any:
        return (await dispatcher.api.get(LETTERS)).json()["items"]

    (letter,) = await until(letters)

    assert len(receiver.requests) == 5
    assert len({headers["ce-id"] for _, headers, _ in receiver.requests}) == 1
    assert (letter["kind"], letter["reason"], letter["run"]) == ("publication", "Status503", run)
    assert letter["event"]["type"] == "dev.agentworkflow.run.started"
    again = await dispatcher.api.post(f"{LETTERS}/{letter['id']}/redrive")
    assert again.status_code == 200
    await receiver.count(6)
    assert receiver.requests[5][1]["ce-id"] == letter["event"]["id"]


async def test_a_broker_that_does_not_answer_holds_no_run_up(dispatcher: Any) -> None:
    asked = asyncio.Event()

    async def silent(_scope: Any, receive: Any, _send: Any) -> None:
        asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    broker = Server(silent, socket.create_server(("127.0.0.1", 0)))
    await broker.start()
    await dispatcher.publish("w", PAUSE, broker=broker.url)
    async with asyncio.timeout(20):
        runs = [await dispatcher.start("w", {"n": n}) for n in range(5)]
        views = [await dispatcher.finished(run) for run in runs]
        await asked.wait()
    assert [view["output"] for view in views] == [{"n": n} for n in range(5)]
    await dispatcher.close()
    await broker.stop()


@pytest.mark.parametrize("path", ["signals/go", "cancel"])
async def test_signals_and_cancels_are_taken_from_the_api_only(dispatcher: Any, path: str) -> None:
    await dispatcher.publish("w", WAIT)
    run = await dispatcher.start("w")
    response = await dispatcher.events.post(f"{RUNS}/{run}/{path}", json=1)
    assert response.status_code == 404
    assert (await dispatcher.view(run))["state"] == "Waiting"


async def test_a_dead_letter_is_sent_again_to_its_own_trigger_only(
    dispatcher: Any, receiver: Any, event_headers: Any
) -> None:
    for name in ("w", "x"):
        await dispatcher.publish(name, PAUSE | {"triggers": [MADE]}, broker=receiver.url)
    dead = event_headers("7", knativeerrorcode="503")
    await dispatcher.events.post(
        dispatcher.trigger("w", "made") + "/dead", content=b"{}", headers=dead
    )
    (letter,) = (await dispatcher.api.get(LETTERS)).json()["items"]

    again = await dispatcher.api.post(f"{LETTERS}/{letter['id']}/redrive")

    await dispatcher.finished(again.json()["run"])
    items = (await dispatcher.api.get(RUNS)).json()["items"]
    assert [item["workflow"] for item in items] == ["w"]
    # The broker, which would bring it to both, has heard of the run only.
    assert {headers["ce-type"] for headers, _ in await news(receiver, 2)} == {
        "dev.agentworkflow.run.started",
        "dev.agentworkflow.run.succeeded",
    }


async def test_a_run_may_be_asked_for_by_an_event_of_ours_that_a_trigger_names(
    dispatcher: Any, event_headers: Any
) -> None:
    kind = "dev.agentworkflow.run.requested"
    triggers = [
        {"name": "asked", "filters": [{"exact": {"type": kind}}]},
        {"name": "prefix", "filters": [{"prefix": {"type": "dev.agentworkflow."}}]},
    ]
    await dispatcher.publish("w", PAUSE | {"triggers": triggers})
    statuses = [
        (
            await dispatcher.events.post(
                dispatcher.trigger("w", trigger),
                content=b'{"n": 1}',
                headers=event_headers("7") | {"ce-type": kind},
            )
        ).status_code
        for trigger in ("prefix", "asked")
    ]
    assert statuses == [204, 202]
    (run,) = (await dispatcher.api.get(RUNS)).json()["items"]
    view = await dispatcher.finished(run["run"])
    assert (view["output"], view["startedBy"]["event"]["type"]) == ({"n": 1}, kind)
