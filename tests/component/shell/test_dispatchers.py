"""Several dispatchers on one store, and one that dies."""

import asyncio

import pytest

from agentworkflow.dispatcher.core import Core
from agentworkflow.dispatcher.ports import (
    KeyReused,
    NoResult,
    RunFinished,
    StartCommand,
    UnknownRun,
    UnknownSignal,
)
from agentworkflow.events import CloudEvent

from .conftest import Reply, World, completed

CHAIN = {
    "steps": [
        {"name": "a", "function": "f", "input": "${input}"},
        {"name": "b", "function": "f", "needs": ["a"], "input": "${steps.a.output}"},
    ],
    "output": "${steps.b.output}",
}
WAIT = {"steps": [{"name": "w", "waitFor": {"signal": "go"}}], "output": "${steps.w.output}"}


async def test_two_dispatchers_fold_one_run(world: World) -> None:
    other = await world.another()
    await world.publish(WAIT)
    run = await world.start()
    await world.until(run, lambda view: view["state"] == "Waiting")
    await other.runs.signal("default", run, "go", {"by": "other"})
    view = await world.finish(run)
    assert view["output"] == {"by": "other"}


async def test_answers_and_cancels_that_race_on_two_dispatchers_leave_one_end(
    world: World,
) -> None:
    other = await world.another()
    await world.publish(WAIT)
    for _ in range(20):
        run = await world.start()
        await asyncio.gather(
            world.core.runs.signal("default", run, "go", 1),
            other.runs.cancel("default", run),
            return_exceptions=True,
        )
        view = await world.finish(run)
        assert view["state"] in ("Succeeded", "Cancelled")
        log = await other.runs.log("default", run)
        assert [entry["type"] for _, entry in log].count("run.finished") == 1
        assert [stream_id for stream_id, _ in log] == [f"{n}-0" for n in range(1, len(log) + 1)]
    await world.nothing_due()


async def test_what_a_dead_dispatcher_held_is_taken_up_when_its_lease_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentworkflow.dispatcher.shell.committing.LEASE_MS", 300)
    monkeypatch.setattr("agentworkflow.dispatcher.shell.sweep.LEASE_MS", 300)
    held = asyncio.Event()

    async def first_hangs(request: CloudEvent) -> Reply:
        if len(world.functions.requests) == 1:
            held.set()
            await asyncio.Event().wait()
        return completed(request, {"x": "again"})

    world.functions.on("f", first_hangs)
    dying = Core.build(world.store)
    await dying.start()
    await world.publish(CHAIN)
    await dying.catalog.refresh()
    ticket = await dying.runs.start(StartCommand("default", "w", {}))
    await held.wait()
    await dying.aclose()
    view = await world.finish(ticket.run)
    assert view["state"] == "Succeeded"
    tokens = {request.get("awftoken") for request in world.functions.asked("a")}
    assert len(tokens) == 1


async def test_a_dispatcher_that_stops_leaves_what_it_held_to_be_taken_at_once(
    world: World,
) -> None:
    held = asyncio.Event()

    async def hangs(_request: CloudEvent) -> Reply:
        held.set()
        await asyncio.Event().wait()
        raise AssertionError

    world.functions.on("f", hangs)
    await world.publish(CHAIN)
    run = await world.start({})
    await held.wait()
    call = f"call|{run}|a||1"
    assert await world.due_at(call) > world.store.now_ms()
    await world.core.aclose()
    assert await world.due_at(call) <= world.store.now_ms()


async def test_the_same_key_is_the_same_run_and_another_body_is_refused(world: World) -> None:
    await world.publish(CHAIN)
    command = StartCommand("default", "w", {"n": 1}, idempotency_key="k")
    first = await world.core.runs.start(command)
    again = await world.core.runs.start(command)
    assert (again.run, again.created) == (first.run, False)
    with pytest.raises(KeyReused):
        await world.core.runs.start(StartCommand("default", "w", {"n": 2}, idempotency_key="k"))
    in_session = StartCommand("default", "w", {"n": 2}, idempotency_key="k", session="s")
    assert (await world.core.runs.start(in_session)).run != first.run


async def test_runs_of_one_session_are_serial_and_hand_their_value_on(world: World) -> None:
    steps = [{"name": "w", "waitFor": {"signal": "go"}}]
    spec = {
        "steps": steps,
        "session": {"update": "${ {'n': session == null ? 1 : session.n + 1} }"},
        "output": "${session}",
    }
    await world.publish(spec)
    runs = [await world.start(session="s") for _ in range(3)]
    views = [await world.view(run) for run in runs]
    assert [view["state"] for view in views] == ["Waiting", "Pending", "Pending"]
    outputs = []
    for run in runs:
        await world.until(run, lambda view: view["state"] == "Waiting")
        await world.core.runs.signal("default", run, "go", None)
        outputs.append((await world.finish(run))["output"])
    assert outputs == [None, {"n": 1}, {"n": 2}]
    assert (await world.store.read_session("default", "w", "s")).value == '{"n":3}'


async def test_a_cancelled_run_gives_its_turn_to_the_next_of_its_session(world: World) -> None:
    await world.publish(WAIT)
    first = await world.start(session="s")
    second = await world.start(session="s")
    third = await world.start(session="s")
    await world.core.runs.cancel("default", second)
    await world.core.runs.cancel("default", first)
    await world.until(third, lambda view: view["state"] == "Waiting")
    assert (await world.view(second))["startedAt"] is None


async def test_signals_and_cancels_say_what_is_wrong(world: World) -> None:
    await world.publish(WAIT)
    run = await world.start()
    with pytest.raises(UnknownSignal, match="its signals: go"):
        await world.core.runs.signal("default", run, "gone", None)
    with pytest.raises(UnknownRun):
        await world.core.runs.signal("elsewhere", run, "go", None)
    with pytest.raises(NoResult):
        await world.core.runs.result("default", run)
    await world.core.runs.cancel("default", run)
    assert (await world.finish(run))["reason"] == "CancelRequested"
    await world.core.runs.cancel("default", run)
    with pytest.raises(RunFinished):
        await world.core.runs.signal("default", run, "go", None)


async def test_a_deadline_ends_a_waiting_run(world: World) -> None:
    await world.publish(WAIT | {"deadline": "1s"})
    view = await world.run()
    assert (view["state"], view["reason"]) == ("Failed", "DeadlineExceeded")
    await world.nothing_due()


async def test_withdrawn_workflows_end_their_runs(world: World) -> None:
    await world.publish(WAIT)
    runs = [await world.start() for _ in range(3)]
    assert await world.core.runs.cancel_all("default", "w", "WorkflowDeleted") == 3
    for run in runs:
        assert (await world.finish(run))["reason"] == "WorkflowDeleted"


async def test_a_fold_that_raises_ends_the_run_as_internal_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish(WAIT)
    run = await world.start()
    tries = []

    def broken(*_: object) -> None:
        tries.append(1)
        raise RuntimeError("a bug")

    monkeypatch.setattr("agentworkflow.dispatcher.shell.folding.decide", broken)
    with pytest.raises(RunFinished):
        await world.core.runs.signal("default", run, "go", 1)
    monkeypatch.undo()
    view = await world.finish(run)
    assert (view["state"], view["reason"]) == ("Failed", "InternalError")
    assert len(tries) == 3


async def test_a_webhook_hears_of_an_internal_error_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish(WAIT)
    run = await world.start(webhook="http://receiver.test/")
    heard = asyncio.Event()

    async def push(pushed_run: str) -> None:
        if (await world.view(pushed_run))["state"] == "Failed":
            heard.set()

    world.core.push_with(push)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("agentworkflow.dispatcher.shell.folding.decide", broken)
    with pytest.raises(RunFinished):
        await world.core.runs.signal("default", run, "go", 1)
    monkeypatch.undo()
    async with asyncio.timeout(10):
        await heard.wait()


async def test_a_deadline_that_fires_while_our_clock_is_behind_still_ends_the_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish(WAIT | {"deadline": "1s"})
    run = await world.start()
    true_now = world.store.now_ms
    monkeypatch.setattr(world.store, "now_ms", lambda: true_now() - 500)
    assert (await world.finish(run))["reason"] == "DeadlineExceeded"
