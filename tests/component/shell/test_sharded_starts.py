"""One event starts one run, however many shards there are and whatever session a trigger gives."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from agentworkflow.dispatcher.core import Core
from agentworkflow.dispatcher.ports import StartCommand, StartedBy
from agentworkflow.events import CloudEvent
from agentworkflow.runs.ids import shard_of
from agentworkflow.store import Store

from .conftest import FunctionServer, World

SPEC = {
    "steps": [{"name": "w", "waitFor": {"signal": "go"}}],
    "triggers": [
        {"name": "by-customer", "session": "${event.data.customer}"},
        {"name": "by-order", "session": "${event.data.order}"},
        {"name": "plain"},
    ],
}


@pytest.fixture
async def sharded(valkey_url: str, functions: FunctionServer) -> AsyncIterator[World]:
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()
    async with await Store.connect(valkey_url, shards=64) as store:
        core = Core.build(store)
        await core.start()
        world = World(store, core, functions)
        await world.publish(dict(SPEC))
        yield world
        await core.aclose()


def start(number: int, session: str | None) -> StartCommand:
    event = CloudEvent(id=str(number), source="/shop", type="com.example.order", data={"n": number})
    origin = StartedBy("event", "t", event)
    return StartCommand("default", "w", event.data, origin, session=session)


async def test_triggers_that_give_one_event_different_sessions_start_one_run(
    sharded: World,
) -> None:
    for number in range(10):
        tickets = await asyncio.gather(
            *(sharded.core.runs.start(start(number, s)) for s in (f"ann-{number}", "order", None))
        )
        assert len({ticket.run for ticket in tickets}) == 1
        assert sum(ticket.created for ticket in tickets) == 1
    page = await sharded.core.runs.list_runs(
        "default", workflow="w", state=None, session=None, limit=50, cursor=None
    )
    assert len(page.items) == 10
    assert len({shard_of(view["run"]) for view in page.items}) > 1


async def test_a_redelivery_under_another_session_is_the_run_of_the_first(sharded: World) -> None:
    first = await sharded.core.runs.start(start(1, "ann"))
    again = await sharded.core.runs.start(start(1, "bob"))
    assert (again.run, again.created) == (first.run, False)
    assert (await sharded.view(first.run))["session"] == "ann"
