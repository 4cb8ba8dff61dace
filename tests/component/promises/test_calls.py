"""«Calling a step», row by row: what comes back from an address, seen through the API."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest

from agentworkflow.events import CloudEvent

from .conftest import Host, Reply, completed, failed

ONE: dict[str, Any] = {
    "functions": [{"name": "f", "handler": "m:f", "retry": {"limit": 0}}],
    "steps": [{"name": "a", "function": "f", "input": "${input}"}],
}
PAUSES = "agentworkflow.dispatcher.shell.calls.PAUSES"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Posts are repeated without a pause, and as often as ever."""
    monkeypatch.setattr(PAUSES, (0.0,) * 5)


def answers(*given: Any) -> Any:
    """Each status once, and then an output."""
    left = list(given)

    async def answer(request: CloudEvent) -> Reply:
        return (left.pop(0), {}, b"") if left else completed(request, "done")

    return answer


async def finished(dispatcher: Any, value: Any = None, **request: Any) -> dict[str, Any]:
    view: dict[str, Any] = await dispatcher.finished(await dispatcher.start("w", value, **request))
    return view


async def test_a_request_carries_the_attributes_of_the_protocol(
    dispatcher: Any, host: Host
) -> None:
    function = {"name": "f", "handler": "m:f", "timeout": "30s", "startTimeout": "10s"}
    steps = [{"name": "a", "function": "f", "forEach": "${input.items}"}]
    await dispatcher.publish(
        "w", {"functions": [function], "steps": steps}, functions={"f": [host.url]}
    )
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    began = dt.datetime.now(dt.UTC)

    view = await finished(
        dispatcher,
        {"items": [{"n": 7}]},
        params={"session": "ada"},
        headers={"traceparent": trace},
    )

    (request,) = host.requests
    run = view["run"]
    extensions = dict(request.extensions)
    deadline = dt.datetime.fromisoformat(str(extensions.pop("awfdeadline")))
    assert 38 < (deadline - began).total_seconds() < 45
    assert len(str(extensions.pop("awftoken"))) >= 20
    assert extensions == {
        "awfrun": run,
        "awfstep": "a",
        "awfitem": "0",
        "awfattempt": "1",
        "awffunction": "f",
        "awfworkflow": "w",
        "awfnamespace": "default",
        "awfsession": "ada",
        "awfdepth": "1",
        "partitionkey": run,
        "traceparent": trace,
    }
    assert (request.type, request.id, request.source, request.data) == (
        "dev.agentworkflow.step.requested",
        f"{run}/a/0/1/requested",
        "/agentworkflow/default/w",
        {"n": 7},
    )


@pytest.mark.parametrize("pool_answers", [429, None], ids=["no-slot", "no-connection"])
async def test_a_pool_without_a_slot_or_without_anyone_is_passed_over_at_once(
    dispatcher: Any,
    start_host: Any,
    nobody: str,
    monkeypatch: pytest.MonkeyPatch,
    pool_answers: int | None,
) -> None:
    monkeypatch.setattr(PAUSES, (60.0,) * 5)  # a pause would be seen
    pool, own = await start_host(), await start_host()
    pool.on("f", answers(*[429] * 20))
    own.on("f", answers())
    addresses = [pool.url if pool_answers else nobody, own.url]
    await dispatcher.publish("w", ONE, functions={"f": addresses})

    async with asyncio.timeout(10):
        view = await finished(dispatcher)

    assert view["output"] == {"a": "done"}
    assert len(own.requests) == 1
    assert pool.tokens() <= own.tokens()
    assert view["steps"][0]["attempts"] == 1


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_pool_that_gives_no_other_answer_hands_over_on_the_next_posting(
    dispatcher: Any, start_host: Any, at_once: None, status: int
) -> None:
    pool, own = await start_host(), await start_host()
    pool.on("f", answers(*[status] * 20))
    own.on("f", answers(503))
    await dispatcher.publish("w", ONE, functions={"f": [pool.url, own.url]})

    view = await finished(dispatcher)

    assert view["output"] == {"a": "done"}
    assert (len(pool.requests), len(own.requests)) == (1, 2)
    assert pool.tokens() == own.tokens()


async def test_a_step_that_the_pool_took_says_so(dispatcher: Any, start_host: Any) -> None:
    pool, own = await start_host(), await start_host()
    await dispatcher.publish("w", ONE, functions={"f": [pool.url, own.url]})

    view = await finished(dispatcher)

    assert view["steps"][0]["startType"] == "pool"
    assert own.requests == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_the_last_address_is_asked_again_with_the_same_token_and_outside_the_retries(
    dispatcher: Any, host: Host, at_once: None, status: int
) -> None:
    host.on("f", answers(*[status] * 5))
    await dispatcher.publish("w", ONE, functions={"f": [host.url]})

    view = await finished(dispatcher)

    assert (view["state"], view["output"]) == ("Succeeded", {"a": "done"})
    assert view["steps"][0]["attempts"] == 1
    assert (len(host.requests), len(host.tokens())) == (6, 1)
    assert len({request.id for request in host.requests}) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_after_five_more_posts_the_attempt_is_a_crash(
    dispatcher: Any, host: Host, at_once: None, status: int
) -> None:
    host.on("f", answers(*[status] * 20))
    await dispatcher.publish("w", ONE, functions={"f": [host.url]})

    view = await finished(dispatcher)

    assert (view["state"], view["reason"]) == ("Failed", "StepFailed")
    assert (view["steps"][0]["reason"], view["steps"][0]["attempts"]) == ("Crash", 1)
    assert str(status) in view["steps"][0]["problem"]["detail"]
    assert len(host.requests) == 6


async def test_a_connection_that_breaks_off_is_like_no_answer(
    dispatcher: Any, at_once: None
) -> None:
    seen = 0

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await dispatcher.publish("w", ONE, functions={"f": [f"http://127.0.0.1:{port}/"]})
        view = await finished(dispatcher)

    assert view["steps"][0]["reason"] == "Crash"
    assert seen == 6


async def test_a_host_that_nobody_reaches_is_a_crash_that_is_retried_as_such(
    dispatcher: Any, nobody: str, at_once: None
) -> None:
    function = {"name": "f", "handler": "m:f", "retry": {"limit": 1, "delay": "1ms"}}
    await dispatcher.publish("w", ONE | {"functions": [function]}, functions={"f": [nobody]})

    view = await finished(dispatcher)

    step = view["steps"][0]
    assert (step["reason"], step["attempts"]) == ("Crash", 2)
    assert nobody in step["problem"]["detail"]


async def test_a_post_that_lived_as_long_as_knative_allows_does_not_count(
    dispatcher: Any, host: Host, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentworkflow.dispatcher.shell.calls._LONGEST_POST", 0.0)
    host.on("f", answers(*[504] * 12))
    await dispatcher.publish("w", ONE, functions={"f": [host.url]})

    view = await finished(dispatcher)

    assert view["output"] == {"a": "done"}
    assert len(host.requests) == 13


def _structured(**changes: Any) -> Callable[[CloudEvent], Reply]:
    """A valid answer, but for the changes."""

    def build(request: CloudEvent) -> Reply:
        return completed(request, "forged", **changes)

    return build


def _event_of(kind: str) -> Callable[[CloudEvent], Reply]:
    def build(request: CloudEvent) -> Reply:
        status, headers, body = completed(request)
        return status, headers | {"ce-type": kind}, body

    return build


WRONG: list[tuple[str, Callable[[CloudEvent], Reply], str]] = [
    ("500", lambda _: (500, {}, b"boom"), "Crash"),
    ("501", lambda _: (501, {}, b""), "Crash"),
    ("404", lambda _: (404, {}, b""), "Failure"),
    ("400", lambda _: (400, {}, b""), "Failure"),
    ("202", lambda request: (202, *completed(request)[1:]), "Failure"),
    ("204", lambda _: (204, {}, b""), "Failure"),
    ("302", lambda _: (302, {"location": "/"}, b""), "Failure"),
    ("text", lambda _: (200, {"content-type": "text/plain"}, b"hello"), "Failure"),
    ("empty", lambda _: (200, {}, b""), "Failure"),
    ("type", _event_of("com.example.other"), "Failure"),
    ("token", _structured(awftoken="forged"), "Failure"),
    ("run", _structured(awfrun="other"), "Failure"),
    ("step", _structured(awfstep="other"), "Failure"),
    ("attempt", _structured(awfattempt="2"), "Failure"),
    ("item", _structured(awfitem="0"), "Failure"),
]


@pytest.mark.parametrize(
    ("build", "reason"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
async def test_what_is_no_answer_of_this_attempt_ends_it_at_once(
    dispatcher: Any, host: Host, build: Callable[[CloudEvent], Reply], reason: str
) -> None:
    async def wrong(request: CloudEvent) -> Reply:
        return build(request)

    host.on("f", wrong)
    await dispatcher.publish("w", ONE, functions={"f": [host.url]})

    view = await finished(dispatcher)

    step = view["steps"][0]
    assert (view["state"], step["reason"], step["output"]) == ("Failed", reason, None)
    assert step["problem"]["type"].endswith("/BadAnswer")
    assert len(host.requests) == 1
    log = (await dispatcher.api.get(f"/v1/namespaces/default/runs/{view['run']}/events")).text
    assert not any(token in json.dumps(view) + log for token in host.tokens())


async def test_silence_is_ended_by_the_attempts_timer_and_the_next_has_another_token(
    dispatcher: Any, host: Host
) -> None:
    async def silent_once(request: CloudEvent) -> Reply | None:
        return completed(request, "second") if request.get("awfattempt") == "2" else None

    host.on("f", silent_once)
    function = {
        "name": "f",
        "handler": "m:f",
        "timeout": "100ms",
        "startTimeout": "1s",
        "retry": {"limit": 1, "delay": "1ms"},
    }
    await dispatcher.publish("w", ONE | {"functions": [function]}, functions={"f": [host.url]})

    view = await finished(dispatcher)

    assert (view["output"], view["steps"][0]["attempts"]) == ({"a": "second"}, 2)
    assert view["durationMs"] >= 1_100
    assert len(host.tokens()) == 2


async def test_a_function_that_is_slow_holds_up_nobody_else(dispatcher: Any, host: Host) -> None:
    async def silent(_request: CloudEvent) -> None:
        return None

    host.on("slow", silent)
    for name, function in (("w", "slow"), ("quick", "f")):
        spec = {
            "functions": [{"name": function, "handler": "m:f"}],
            "steps": [{"name": "a", "function": function}],
        }
        await dispatcher.publish(name, spec, functions={function: [host.url]})
    slow = [await dispatcher.start("w") for _ in range(20)]

    quick = await dispatcher.finished(await dispatcher.start("quick"))

    assert quick["state"] == "Succeeded"
    assert {(await dispatcher.view(run))["state"] for run in slow} == {"Running"}


@pytest.mark.parametrize(
    ("reason", "on", "attempts"),
    [
        ("Retry", None, 3),
        ("DeadlineExceeded", None, 3),
        ("Crash", None, 3),
        ("OutOfMemory", None, 3),
        ("Failure", None, 1),
        ("InvalidInput", None, 1),
        ("BadAnswer", None, 1),
        ("OutOfMemory", ["Crash"], 3),
        ("OutOfMemory", ["Retry", "DeadlineExceeded"], 1),
        ("Crash", ["Retry", "DeadlineExceeded"], 1),
        ("DeadlineExceeded", ["Retry", "Crash"], 1),
        ("Retry", ["Failure"], 1),
        ("Failure", ["Failure"], 3),
        ("InvalidInput", ["Failure"], 1),
    ],
)
async def test_an_attempt_is_made_again_for_what_retry_on_names(
    dispatcher: Any, host: Host, reason: str, on: list[str] | None, attempts: int
) -> None:
    async def fails(request: CloudEvent) -> Reply:
        return failed(request, reason)

    host.on("f", fails)
    retry = {"limit": 2, "delay": "1ms"} | ({} if on is None else {"on": on})
    function = {"name": "f", "handler": "m:f", "retry": retry}
    await dispatcher.publish("w", ONE | {"functions": [function]}, functions={"f": [host.url]})

    view = await finished(dispatcher)

    step = view["steps"][0]
    assert (step["reason"], step["attempts"]) == (reason, attempts)
    assert len(host.requests) == attempts


@pytest.mark.parametrize(
    ("backoff", "least", "most"), [("Exponential", 0, 300_000), ("Linear", 900_000, 900_000)]
)
async def test_an_exponential_pause_is_at_most_five_minutes_and_a_linear_one_grows_on(
    dispatcher: Any, host: Host, until: Any, backoff: str, least: int, most: int
) -> None:
    async def fails(request: CloudEvent) -> Reply:
        # What the handler asks for is taken instead of the pause, so the third attempt is soon.
        at_once = {"retryAfter": 0} if request.get("awfattempt") in ("1", "2") else {}
        return failed(request, "Retry", **at_once)

    host.on("f", fails)
    retry = {"limit": 3, "delay": "5m", "backoff": backoff}
    function = {"name": "f", "handler": "m:f", "retry": retry}
    await dispatcher.publish("w", ONE | {"functions": [function]}, functions={"f": [host.url]})
    runs = [await dispatcher.start("w") for _ in range(8)]
    pauses = []
    for run in runs:

        async def is_due_again(run: str = run) -> bool:
            return bool((await dispatcher.view(run))["steps"][0]["attempts"] == 4)

        await until(is_due_again)
        await dispatcher.api.post(f"/v1/namespaces/default/runs/{run}/cancel")
        log = (await dispatcher.api.get(f"/v1/namespaces/default/runs/{run}/events")).text
        lines = [line for line in log.splitlines() if line.startswith("data: ")]
        entries = [json.loads(line.removeprefix("data: ")) for line in lines]
        (last,) = [entry for entry in entries if entry.get("attempt") == 4 and "due" in entry]
        due, asked = (dt.datetime.fromisoformat(last[name]) for name in ("due", "time"))
        pauses.append(round((due - asked).total_seconds() * 1000))
    assert all(least <= pause <= most for pause in pauses)
    assert max(pauses) > 60_000
