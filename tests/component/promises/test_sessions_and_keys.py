"""Turns of a session, what a key or an event names, and for how long."""

from typing import Any

import pytest

from agentworkflow.events import CloudEvent

from .conftest import MADE, PAUSE, RUNS, SWEEP, WAIT, Host, Reply, completed, failed, signal

START = "/v1/namespaces/default/workflows/{}/runs"


async def test_runs_of_a_session_take_turns_in_the_order_of_their_starts(dispatcher: Any) -> None:
    await dispatcher.publish(
        "w", WAIT | {"session": {"update": "${steps.hold.output}"}, "output": "${session}"}
    )
    session = {"params": {"session": "ada"}}
    runs = [await dispatcher.start("w", **session) for _ in range(4)]
    other = await dispatcher.start("w", params={"session": "bob"})
    assert [(await dispatcher.view(run))["state"] for run in [*runs, other]] == [
        *("Waiting", "Pending", "Pending", "Pending"),
        "Waiting",
    ]

    outputs = []
    for number, run in enumerate(runs):
        await dispatcher.until(run, "Waiting")
        assert {(await dispatcher.view(later))["state"] for later in runs[number + 1 :]} <= {
            "Pending"
        }
        await signal(dispatcher, run, number)
        outputs.append((await dispatcher.finished(run))["output"])
    assert outputs == [None, 0, 1, 2]


async def test_a_run_that_does_not_succeed_leaves_the_sessions_value_as_it_was(
    dispatcher: Any, host: Host
) -> None:
    async def fails(request: CloudEvent) -> Reply:
        return failed(request, "Failure") if request.data["fail"] else completed(request)

    host.on("f", fails)
    spec = {
        "functions": [{"name": "f", "handler": "m:f"}],
        "steps": [{"name": "a", "function": "f", "input": "${input}"}],
        "session": {"update": "${session == null ? 1 : session + 1}"},
        "output": "${session}",
    }
    await dispatcher.publish("w", spec, functions={"f": [host.url]})
    views = [
        await dispatcher.finished(
            await dispatcher.start("w", {"fail": fail}, params={"session": "ada"})
        )
        for fail in (False, True, False)
    ]
    assert [view["state"] for view in views] == ["Succeeded", "Failed", "Succeeded"]
    assert views[2]["output"] == 1


async def test_a_deadline_runs_while_a_run_waits_for_its_turn(dispatcher: Any) -> None:
    session = {"params": {"session": "ada"}}
    # Only the second one's generation has a deadline.
    await dispatcher.publish("w", WAIT)
    first = await dispatcher.start("w", **session)
    await dispatcher.publish("w", WAIT | {"deadline": "1s"}, generation=2)
    second = await dispatcher.start("w", **session)
    await dispatcher.publish("w", WAIT, generation=3)
    third = await dispatcher.start("w", **session)

    view = await dispatcher.finished(second)

    assert (view["state"], view["reason"]) == ("Failed", "DeadlineExceeded")
    assert view["startedAt"] is None
    assert (await dispatcher.view(first))["state"] == "Waiting"
    assert (await dispatcher.view(third))["state"] == "Pending"
    await signal(dispatcher, first)
    await dispatcher.until(third, "Waiting")


async def test_a_run_that_is_cancelled_while_it_waits_for_its_turn_is_passed_over(
    dispatcher: Any,
) -> None:
    await dispatcher.publish("w", WAIT)
    session = {"params": {"session": "ada"}}
    first, second, third = [await dispatcher.start("w", **session) for _ in range(3)]
    assert (await dispatcher.api.post(f"{RUNS}/{second}/cancel")).status_code == 202
    assert (await dispatcher.view(first))["state"] == "Waiting"

    await signal(dispatcher, first)

    await dispatcher.until(third, "Waiting")
    view = await dispatcher.view(second)
    assert (view["state"], view["startedAt"]) == ("Cancelled", None)


async def test_a_signal_for_a_run_that_waits_for_its_turn_is_kept(dispatcher: Any) -> None:
    await dispatcher.publish("w", WAIT)
    session = {"params": {"session": "ada"}}
    first, second = [await dispatcher.start("w", **session) for _ in range(2)]
    await signal(dispatcher, second, "early")
    assert (await dispatcher.view(second))["state"] == "Pending"
    await signal(dispatcher, first)
    assert (await dispatcher.finished(second))["output"] == "early"


async def test_a_session_belongs_to_its_workflow(dispatcher: Any) -> None:
    for name in ("w", "x"):
        await dispatcher.publish(name, WAIT)
    session = {"params": {"session": "ada"}}
    runs = [await dispatcher.start(name, **session) for name in ("w", "x")]
    assert [(await dispatcher.view(run))["state"] for run in runs] == ["Waiting", "Waiting"]


async def test_a_key_is_scoped_to_its_namespace_workflow_and_session(dispatcher: Any) -> None:
    await dispatcher.publish("w", WAIT)
    await dispatcher.publish("x", WAIT)
    await dispatcher.publish("w", WAIT, namespace="other")
    key = {"idempotency-key": "k"}

    async def start(path: str, body: Any, **params: str) -> tuple[str, bool]:
        response = await dispatcher.api.post(path, json=body, headers=key, params=params)
        assert response.status_code == 202, response.text
        return response.json()["run"], response.json()["created"]

    mine = START.format("w")
    started = [
        await start(mine, 1),
        await start(mine, 2, session="ada"),
        await start(mine, 3, session="bob"),
        await start(START.format("x"), 4),
        await start(mine.replace("default", "other"), 5),
    ]
    assert len(set(started)) == 5
    assert await start(mine, 2, session="ada") == (started[1][0], False)
    refused = await dispatcher.api.post(mine, json=1, headers=key, params={"session": "ada"})
    assert refused.status_code == 409


async def test_one_event_starts_a_run_of_each_workflow_that_it_is_delivered_to(
    dispatcher: Any, event_headers: Any
) -> None:
    for name in ("w", "x"):
        await dispatcher.publish(name, PAUSE | {"triggers": [MADE]})
    for name in ("w", "x", "w"):
        await dispatcher.events.post(
            dispatcher.trigger(name, "made"), content=b"{}", headers=event_headers("7")
        )
    # Another source's event of that id is another event.
    await dispatcher.events.post(
        dispatcher.trigger("w", "made"),
        content=b"{}",
        headers=event_headers("7") | {"ce-source": "/elsewhere"},
    )
    items = (await dispatcher.api.get(RUNS)).json()["items"]
    assert sorted(item["workflow"] for item in items) == ["w", "w", "x"]


async def test_a_result_is_kept_for_its_time_to_live_and_its_key_names_no_other_run_after_it(
    dispatcher: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SWEEP, 0.02)
    await dispatcher.publish("w", PAUSE | {"results": {"ttl": "1s"}})
    key = {"headers": {"idempotency-key": "k"}}
    run = await dispatcher.start("w", {"n": 1}, **key)
    await dispatcher.finished(run)
    assert (await dispatcher.api.get(f"{RUNS}/{run}/result")).json() == {"n": 1}

    async def gone() -> bool:
        response = await dispatcher.api.get(f"{RUNS}/{run}/result")
        return bool(response.status_code == 404)

    await until(gone)
    assert (await dispatcher.api.get(f"{RUNS}/{run}")).status_code == 404
    assert (await dispatcher.api.get(RUNS)).json()["items"] == []
    again = await dispatcher.api.post(START.format("w"), json={"n": 1}, **key)
    assert (again.status_code, again.json()["reason"]) == (410, "RunExpired")
