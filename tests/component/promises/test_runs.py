"""The states of a run and of its steps, and how many items run at once."""

import asyncio
import hashlib
from typing import Any

import pytest

from agentworkflow.events import CloudEvent

from .conftest import MADE, PAUSE, RUNS, WAIT, Host, Reply, completed, failed, signal


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


async def test_what_a_run_waits_for_comes_though_the_dispatcher_that_started_it_has_gone(
    start_dispatcher: Any, host: Host, until: Any
) -> None:
    async def second_time(request: CloudEvent) -> Reply:
        if request.get("awfattempt") == "1":
            return failed(request, "Retry", retryAfter=0.4)
        return completed(request, "again")

    host.on("f", second_time)
    first = await start_dispatcher()
    signal = {"signal": "go", "timeout": "400ms", "default": "nobody"}
    await first.publish("timeout", {"steps": [{"name": "a", "waitFor": signal}]})
    await first.publish("deadline", WAIT | {"deadline": "1s"})
    await first.publish(
        "retry",
        {
            "functions": [{"name": "f", "handler": "m:f"}],
            "steps": [{"name": "a", "function": "f"}],
        },
        functions={"f": [host.url]},
    )
    runs = [await first.start(name) for name in ("timeout", "deadline", "retry")]

    async def is_due_again() -> bool:
        return bool((await first.view(runs[2]))["steps"][0]["attempts"] == 2)

    await until(is_due_again)
    await first.close()

    second = await start_dispatcher()

    views = [await second.finished(run) for run in runs]
    assert [(view["state"], view["output"]) for view in views] == [
        ("Succeeded", {"a": "nobody"}),
        ("Failed", None),
        ("Succeeded", {"a": "again"}),
    ]
    assert views[1]["reason"] == "DeadlineExceeded"
    assert len(host.requests) == 2


async def test_the_event_is_null_for_a_start_by_a_route(dispatcher: Any) -> None:
    await dispatcher.publish(
        "w",
        PAUSE | {"routes": [{"path": "/go"}], "triggers": [MADE], "output": "${event == null}"},
    )
    response = await dispatcher.api.post("/go", json={})
    assert (response.status_code, response.json()["output"]) == (200, True)


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


async def test_who_waits_gets_a_result_of_any_size_and_a_view_says_what_it_leaves_out(
    dispatcher: Any, host: Host
) -> None:
    async def large(request: CloudEvent) -> Reply:
        return completed(request, "x" * 300_000)

    host.on("f", large)
    spec = {
        "functions": [{"name": "f", "handler": "m:f"}],
        "steps": [{"name": "a", "function": "f"}],
        "output": "${steps.a.output}",
    }
    await dispatcher.publish("w", spec, functions={"f": [host.url]})
    path = "/v1/namespaces/default/workflows/w/runs"
    answer = await dispatcher.api.post(path, json={}, headers={"prefer": "wait=20"})
    assert answer.status_code == 200
    assert answer.json()["output"] == "x" * 300_000
    view = (await dispatcher.api.get(f"{RUNS}/{answer.json()['run']}")).json()
    assert (view["output"], view["outputBytes"]) == (None, 300_002)
    assert (view["steps"][0]["output"], view["steps"][0]["outputBytes"]) == (None, 300_002)
