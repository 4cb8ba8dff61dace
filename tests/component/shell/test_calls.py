"""What comes back from a function's address, and what becomes of the attempt."""

import asyncio
import json
import socket
from typing import Any

import pytest

from agentworkflow.dispatcher.ports import Attempt, AttemptRefused
from agentworkflow.events import CloudEvent

from .conftest import Reply, World, completed, failed

ONE = {"steps": [{"name": "a", "function": "f", "input": "${input}"}]}


def problem_of(view: dict[str, Any]) -> Any:
    return view["steps"][0]["problem"]


async def test_a_request_carries_the_attributes_of_the_protocol(world: World) -> None:
    await world.publish(ONE | {"steps": [*ONE["steps"]]})
    view = await world.run({"x": 1})
    (request,) = world.functions.requests
    run = view["run"]
    assert request.type == "dev.agentworkflow.step.requested"
    assert request.id == f"{run}/a/1/requested"
    assert request.source == "/agentworkflow/default/w"
    assert request.data == {"x": 1}
    assert {name: request.get(name) for name in ("awfrun", "awfstep", "awfattempt")} == {
        "awfrun": run,
        "awfstep": "a",
        "awfattempt": "1",
    }
    assert request.get("awffunction") == "f"
    assert request.get("awfworkflow") == "w"
    assert request.get("awfnamespace") == "default"
    assert request.get("awfdepth") == "1"
    assert request.get("partitionkey") == run
    assert len(str(request.get("awftoken"))) == 24


async def test_an_output_becomes_the_steps_output(world: World) -> None:
    await world.publish(ONE)
    view = await world.run({"x": 1})
    assert view["state"] == "Succeeded"
    assert view["output"] == {"a": {"x": 1}}
    assert view["steps"][0]["startType"] == "warm"
    await world.nothing_due()


async def test_a_full_pool_is_passed_over_at_once(world: World) -> None:
    async def full(_request: CloudEvent) -> Reply:
        return 429, {}, b""

    world.functions.on("f", full)
    own = world.functions.url

    async def first_full(request: CloudEvent) -> Reply:
        if len(world.functions.requests) == 1:
            return 429, {}, b""
        return completed(request, {"by": "own"})

    world.functions.on("f", first_full)
    await world.publish(ONE, addresses=[own, own])
    view = await world.run({})
    assert view["steps"][0]["output"] == {"by": "own"}
    assert view["steps"][0]["startType"] == "warm"
    assert view["steps"][0]["attempts"] == 1


async def test_an_answer_of_the_pool_is_of_start_type_pool(world: World) -> None:
    own = world.functions.url
    await world.publish(ONE, addresses=[own, own])
    view = await world.run({})
    assert view["steps"][0]["startType"] == "pool"


async def test_a_pool_that_nobody_listens_on_is_passed_over(world: World) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}/"
    await world.publish(ONE, addresses=[dead, world.functions.url])
    view = await world.run({"x": 2})
    assert view["output"] == {"a": {"x": 2}}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_last_address_is_asked_again_with_the_same_token(
    world: World, status: int
) -> None:
    async def busy_twice(request: CloudEvent) -> Reply:
        if len(world.functions.requests) <= 2:
            return status, {}, b""
        return completed(request, "late")

    world.functions.on("f", busy_twice)
    await world.publish(ONE)
    view = await world.run({})
    assert view["output"] == {"a": "late"}
    assert view["steps"][0]["attempts"] == 1
    assert len({request.get("awftoken") for request in world.functions.requests}) == 1


async def test_an_address_that_never_answers_ends_the_attempt_with_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentworkflow.dispatcher.shell.calls.PAUSES", (0.0,) * 5)

    async def gone(_request: CloudEvent) -> Reply:
        return 503, {}, b""

    world.functions.on("f", gone)
    await world.publish(ONE | {"functions": {"f": {"retry": {"limit": 0}}}})
    view = await world.run({})
    assert view["state"] == "Failed"
    assert view["reason"] == "StepFailed"
    assert view["steps"][0]["reason"] == "Crash"
    assert len(world.functions.requests) == 6


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason"),
    [
        (500, {}, b"boom", "Crash"),
        (200, {"content-type": "text/plain"}, b"hello", "Failure"),
        (404, {}, b"", "Failure"),
        (200, {"content-type": "application/cloudevents+json"}, b"{", "Failure"),
    ],
)
async def test_an_answer_that_is_none_ends_the_attempt_at_once(
    world: World, status: int, headers: dict[str, str], body: bytes, reason: str
) -> None:
    async def wrong(_request: CloudEvent) -> Reply:
        return status, headers, body

    world.functions.on("f", wrong)
    await world.publish(ONE | {"functions": {"f": {"retry": {"limit": 0}}}})
    view = await world.run({})
    assert view["steps"][0]["reason"] == reason
    assert problem_of(view)["type"].endswith("/BadAnswer")
    assert len(world.functions.requests) == 1


@pytest.mark.parametrize("name", ["awftoken", "awfrun", "awfstep", "awfattempt"])
async def test_an_answer_of_another_attempt_is_a_bad_answer_and_shows_no_token(
    world: World, name: str
) -> None:
    async def forged(request: CloudEvent) -> Reply:
        return completed(request, "forged", **{name: "7"})

    world.functions.on("f", forged)
    await world.publish(ONE | {"functions": {"f": {"retry": {"limit": 0}}}})
    view = await world.run({})
    assert view["steps"][0]["reason"] == "Failure"
    assert name in problem_of(view)["detail"]
    log = await world.core.runs.log("default", view["run"])
    token = str(world.functions.requests[0].get("awftoken"))
    assert token not in json.dumps([view, log])


async def test_retry_is_decided_by_the_fold_and_honours_what_the_handler_asked(
    world: World,
) -> None:
    async def twice(request: CloudEvent) -> Reply:
        if len(world.functions.requests) < 3:
            return failed(request, "Retry", retryAfter=0)
        return completed(request, "third")

    world.functions.on("f", twice)
    await world.publish(ONE)
    view = await world.run({})
    assert view["output"] == {"a": "third"}
    assert view["steps"][0]["attempts"] == 3
    tokens = [request.get("awftoken") for request in world.functions.requests]
    assert len(set(tokens)) == 3


async def test_silence_ends_with_the_attempts_timer(world: World) -> None:
    async def silent(_request: CloudEvent) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    world.functions.on("f", silent)
    function = {"timeout": "100ms", "startTimeout": "100ms", "retry": {"limit": 0}}
    await world.publish(ONE | {"functions": {"f": function}})
    view = await world.run({})
    assert view["steps"][0]["reason"] == "DeadlineExceeded"
    await world.nothing_due()


async def test_an_input_that_is_no_object_fails_the_step_with_a_sentence(world: World) -> None:
    await world.publish(ONE)
    view = await world.run([1, 2])
    assert view["steps"][0]["reason"] == "InvalidInput"
    assert world.functions.requests == []


async def test_an_expression_that_fails_for_a_call_fails_the_step(world: World) -> None:
    await world.publish({"steps": [{"name": "a", "function": "f", "input": {"x": "${input.y}"}}]})
    view = await world.run({})
    assert view["steps"][0]["reason"] == "ExpressionFailed"
    assert problem_of(view)["expression"] == "${input.y}"


async def test_values_over_256_kib_are_kept_beside_the_log_and_read_back(world: World) -> None:
    steps = [
        {"name": "a", "function": "f", "input": "${input}"},
        {"name": "b", "function": "g", "needs": ["a"], "input": {"n": "${size(steps.a.output.s)}"}},
    ]
    await world.publish({"steps": steps, "output": "${steps.a.output}"})

    async def big(request: CloudEvent) -> Reply:
        return completed(request, {"s": "é" * 200_000})

    world.functions.on("f", big)
    view = await world.run({})
    assert view["state"] == "Succeeded"
    assert view["output"] is None
    assert view["outputBytes"] == view["steps"][0]["outputBytes"] > 256 * 1024
    assert "outputBytes" not in view["steps"][1]
    assert view["steps"][1]["output"] == {"n": 200_000}
    result = json.loads(await world.core.runs.result("default", view["run"]))
    assert result == {"s": "é" * 200_000}


async def test_progress_that_meets_the_answer_is_not_logged_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [
        {"name": "a", "function": "f"},
        {"name": "w", "needs": ["a"], "waitFor": {"signal": "go"}},
    ]
    await world.publish({"steps": steps})
    run = await world.start({})
    await world.until(run, lambda view: view["state"] == "Waiting")
    (request,) = world.functions.requests

    async def proven(*_: object) -> None:
        """The check of the token was passed a moment before the answer was committed."""

    monkeypatch.setattr(world.core.runs, "_attempt", proven)
    attempt = Attempt(run, "a", None, 1)
    with pytest.raises(AttemptRefused):
        await world.core.runs.progress(attempt, str(request.get("awftoken")), 0.5, "late")
