"""What a run promises whoever started it: sessions, keys, states, news, and its time to live."""

import asyncio
import hashlib
import json
import socket
from typing import Any

import pytest

from agentworkflow.events import CloudEvent

from .conftest import Host, Reply, Server, completed, failed

RUNS = "/v1/namespaces/default/runs"
START = "/v1/namespaces/default/workflows/{}/runs"
LETTERS = "/v1/namespaces/default/dead-letters"
WAIT: dict[str, Any] = {
    "steps": [{"name": "hold", "waitFor": {"signal": "go"}}],
    "output": "${steps.hold.output}",
}
PAUSE: dict[str, Any] = {
    "steps": [{"name": "pause", "waitFor": {"duration": "1ms"}}],
    "output": "${input}",
}
MADE = {"name": "made", "filters": [{"exact": {"type": "com.example.order.created"}}]}
SWEEP = "agentworkflow.dispatcher.shell.sweep._INTERVAL"


async def signal(dispatcher: Any, run: str, value: Any = None, name: str = "go") -> None:
    response = await dispatcher.api.post(f"{RUNS}/{run}/signals/{name}", json=value)
    assert response.status_code == 202, response.text


# --- sessions ---------------------------------------------------------------------------------


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


# --- keys, events and tombstones --------------------------------------------------------------


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


# --- states -----------------------------------------------------------------------------------


async def test_a_run_and_its_steps_go_through_their_states(dispatcher: Any, host: Host) -> None:
    gate = asyncio.Event()

    async def gated(request: CloudEvent) -> Reply:
        await gate.wait()
        return completed(request)

    host.on("f", gated)
    spec = {
        "functions": [{"name": "f", "handler": "m:f"}],
        "steps": [
            {"name": "first", "waitFor": {"signal": "go"}},
            {"name": "work", "function": "f", "needs": ["first"]},
            {"name": "never", "function": "f", "needs": ["first"], "when": "${false}"},
            {"name": "last", "waitFor": {"signal": "end"}, "needs": ["work"]},
            {"name": "after", "function": "f", "needs": ["last"]},
        ],
    }
    await dispatcher.publish("w", spec, functions={"f": [host.url]})
    run = await dispatcher.start("w")
    seen = []

    async def note(state: str) -> None:
        view = await dispatcher.until(run, state)
        seen.append((view["state"], *(step["state"] for step in view["steps"])))

    await note("Waiting")
    await signal(dispatcher, run)
    await note("Running")
    gate.set()
    await note("Waiting")
    assert (await dispatcher.api.post(f"{RUNS}/{run}/cancel")).status_code == 202
    await note("Cancelled")
    assert seen == [
        ("Waiting", "Waiting", "Pending", "Pending", "Pending", "Pending"),
        ("Running", "Succeeded", "Requested", "Skipped", "Pending", "Pending"),
        ("Waiting", "Succeeded", "Succeeded", "Skipped", "Waiting", "Pending"),
        ("Cancelled", "Succeeded", "Succeeded", "Skipped", "Cancelled", "Cancelled"),
    ]


async def test_a_run_goes_on_by_the_plan_that_it_started_with(dispatcher: Any) -> None:
    await dispatcher.publish("w", WAIT | {"output": "old"})
    run = await dispatcher.start("w")
    await dispatcher.publish("w", PAUSE | {"output": "new"}, generation=2)
    await signal(dispatcher, run)
    assert (await dispatcher.finished(run))["output"] == "old"
    assert (await dispatcher.finished(await dispatcher.start("w")))["output"] == "new"


async def test_a_run_that_has_failed_makes_no_further_attempt(
    dispatcher: Any, host: Host, until: Any
) -> None:
    release = asyncio.Event()

    async def retries(request: CloudEvent) -> Reply:
        return failed(request, "Retry", retryAfter=0.3)

    async def fails(request: CloudEvent) -> Reply:
        await release.wait()
        return failed(request, "Failure")

    host.on("again", retries)
    host.on("bad", fails)
    functions = ("again", "bad")
    spec = {
        "functions": [{"name": name, "handler": "m:f"} for name in functions],
        "steps": [{"name": name, "function": name} for name in functions],
    }
    await dispatcher.publish("w", spec, functions={name: [host.url] for name in functions})
    await dispatcher.publish(
        "later", {"steps": [{"name": "pause", "waitFor": {"duration": "600ms"}}]}
    )
    run = await dispatcher.start("w")

    async def is_due_again() -> bool:
        steps = (await dispatcher.view(run))["steps"]
        return bool(steps[0]["attempts"] == 2)

    await until(is_due_again)
    release.set()
    ended = await dispatcher.finished(run)
    assert (ended["state"], ended["reason"]) == ("Failed", "StepFailed")
    # Long after the second attempt would have been made:
    await dispatcher.finished(await dispatcher.start("later"))
    assert len(host.of("again")) == 1
    assert await dispatcher.view(run) == ended


async def test_a_spent_budget_ends_the_run_before_the_next_attempt_with_the_amounts(
    dispatcher: Any, host: Host
) -> None:
    functions = [{"name": "f", "handler": "m:f"}]
    steps: list[dict[str, Any]] = [
        {"name": "first", "function": "f"},
        {"name": "second", "function": "f", "needs": ["first"]},
        {"name": "each", "function": "f", "needs": ["second"], "forEach": "${[1, 2, 3]}"},
    ]
    spec = {"functions": functions, "steps": steps, "budget": {"steps": 4}}
    await dispatcher.publish("w", spec, functions={"f": [host.url]})
    view = await dispatcher.finished(await dispatcher.start("w"))
    assert (view["state"], view["reason"]) == ("Failed", "BudgetExhausted")
    problem = view["problem"]
    assert (problem["allowed"], problem["spent"], problem["wanted"]) == (4, 2, 3)
    assert len(host.requests) == 2


async def test_progress_and_blobs_of_an_attempt_are_refused_once_its_run_has_ended(
    dispatcher: Any, host: Host, until: Any
) -> None:
    async def silent(_request: CloudEvent) -> None:
        return None

    host.on("f", silent)
    spec = {
        "functions": [{"name": "f", "handler": "m:f"}],
        "steps": [{"name": "a", "function": "f"}],
    }
    await dispatcher.publish("w", spec, functions={"f": [host.url]})
    run = await dispatcher.start("w")
    await until(lambda: host.requests)
    token = str(host.requests[0].get("awftoken"))
    digest = "sha256:" + hashlib.sha256(b"{}").hexdigest()
    event = {
        "ce-specversion": "1.0",
        "ce-id": f"{run}/a/1/progressed/1",
        "ce-source": "/agentworkflow/default/w",
        "ce-type": "dev.agentworkflow.step.progressed",
        "ce-awfrun": run,
        "ce-awfstep": "a",
        "ce-awfattempt": "1",
        "ce-awftoken": token,
        "content-type": "application/json",
    }
    attempt = {
        "authorization": f"Bearer {token}",
        "awf-run": run,
        "awf-step": "a",
        "awf-attempt": "1",
    }

    async def put() -> int:
        answer = await dispatcher.events.put(f"/blobs/{digest}", content=b"{}", headers=attempt)
        return int(answer.status_code)

    assert await put() == 201
    await dispatcher.api.post(f"{RUNS}/{run}/cancel")
    ended = await dispatcher.finished(run)
    progress = await dispatcher.events.post("/progress", content=b"{}", headers=event)
    assert (await put(), progress.status_code) == (403, 403)
    assert await dispatcher.view(run) == ended


async def test_the_event_is_null_for_a_start_by_a_route(dispatcher: Any) -> None:
    await dispatcher.publish(
        "w",
        PAUSE | {"routes": [{"path": "/go"}], "triggers": [MADE], "output": "${event == null}"},
    )
    response = await dispatcher.api.post("/go", json={})
    assert (response.status_code, response.json()["output"]) == (200, True)


# --- forEach ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("parallelism", "running"), [(None, 10), (3, 3), (1, 1)])
async def test_so_many_items_run_at_once_and_no_more(
    dispatcher: Any, host: Host, until: Any, parallelism: int | None, running: int
) -> None:
    async def silent(_request: CloudEvent) -> None:
        return None

    host.on("f", silent)
    step: dict[str, Any] = {"name": "each", "function": "f", "forEach": "${input.items}"}
    if parallelism is not None:
        step["parallelism"] = parallelism
    spec = {"functions": [{"name": "f", "handler": "m:f"}], "steps": [step]}
    await dispatcher.publish("w", spec, functions={"f": [host.url]})

    # As many items as there may be at all.
    run = await dispatcher.start("w", {"items": list(range(10_000))})

    await until(lambda: len(host.requests) >= running)
    counts = (await dispatcher.view(run))["steps"][0]["items"]
    assert counts == {"total": 10_000, "succeeded": 0, "failed": 0, "running": running}
    await dispatcher.api.post(f"{RUNS}/{run}/cancel")
    await dispatcher.finished(run)
    assert sorted(int(str(request.get("awfitem"))) for request in host.requests) == list(
        range(running)
    )


async def test_a_failed_item_is_named_in_the_error_with_its_problem(
    dispatcher: Any, host: Host
) -> None:
    async def odd(request: CloudEvent) -> Reply:
        number = request.data["n"]
        return (
            failed(request, "Failure", detail=f"no {number}")
            if number % 2
            else completed(request, number)
        )

    host.on("f", odd)
    step = {"name": "each", "function": "f", "forEach": "${input.items}", "onFailure": "Continue"}
    echo = {
        "name": "look",
        "function": "echo",
        "needs": ["each"],
        "input": {
            "output": "${steps.each.output}",
            "items": "${steps.each.error.items.map(i, [i.index, i.problem.detail])}",
        },
    }
    functions = [{"name": name, "handler": "m:f"} for name in ("f", "echo")]
    await dispatcher.publish(
        "w",
        {"functions": functions, "steps": [step, echo], "output": "${steps.look.output}"},
        functions={"f": [host.url], "echo": [host.url]},
    )
    run = await dispatcher.start("w", {"items": [{"n": n} for n in range(4)]})
    view = await dispatcher.finished(run)
    assert view["output"] == {
        "output": [0, None, 2, None],
        "items": [[1, "no 1"], [3, "no 3"]],
    }


# --- news of a run ----------------------------------------------------------------------------


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


# --- two doors --------------------------------------------------------------------------------


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
