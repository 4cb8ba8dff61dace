"""Streams of the broker on a real Valkey: an event stays until each group is done with it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentworkflow.store.errors import StoreUnavailable
from agentworkflow.store.streams import (
    Postponed,
    StreamEntry,
    StreamFull,
    Streams,
    Taken,
)

BROKER = "default/default"


@pytest.fixture
async def streams(each_server: Any) -> AsyncIterator[Streams]:
    opened = await Streams.connect(each_server.url)
    yield opened
    await opened.aclose()


async def take(streams: Streams, group: str = "a", consumer: str = "me", **changes: int) -> Taken:
    wanted = {"fresh": 10, "postponed": 10, "lease_ms": 60_000} | changes
    return await streams.take(BROKER, group, consumer, **wanted)


async def test_each_group_gets_every_event_appended_after_it_was_opened(streams: Streams) -> None:
    await streams.append(BROKER, ["early"], limit=10)
    await streams.open_group(BROKER, "a")
    await streams.open_group(BROKER, "b")
    await streams.append(BROKER, ["one", "two"], limit=10)
    for group in ("a", "b"):
        taken = await take(streams, group)
        assert [entry.body for entry in taken.entries] == ["one", "two"]


async def test_opening_a_group_again_does_not_lose_what_waits_in_it(streams: Streams) -> None:
    await streams.open_group(BROKER, "a")
    await streams.append(BROKER, ["one"], limit=10)
    await streams.open_group(BROKER, "a")
    assert [entry.body for entry in (await take(streams)).entries] == ["one"]


async def test_a_batch_that_does_not_fit_is_refused_as_a_whole(streams: Streams) -> None:
    await streams.append(BROKER, ["one"], limit=2)
    with pytest.raises(StreamFull, match=BROKER):
        await streams.append(BROKER, ["two", "three"], limit=2)
    assert await streams.length(BROKER) == 1


async def test_what_was_held_at_a_kill_comes_back_to_the_same_consumer(streams: Streams) -> None:
    await streams.open_group(BROKER, "a")
    await streams.append(BROKER, ["one", "two"], limit=10)
    first, second = (await take(streams)).entries
    await streams.settle(BROKER, "a", [first.id])
    assert await streams.recover(BROKER, "a", "me") == (second,)
    assert await streams.recover(BROKER, "a", "other") == ()


async def test_another_consumer_takes_over_only_what_nobody_renews(streams: Streams) -> None:
    await streams.open_group(BROKER, "a")
    await streams.append(BROKER, ["one", "two"], limit=10)
    first, second = (await take(streams)).entries
    # Driven, not slept: an entry counts as idle from the moment it was delivered or renewed.
    async with asyncio.timeout(10):
        claimed: tuple[StreamEntry, ...] = ()
        while not claimed:
            await streams.renew(BROKER, "a", "me", [first.id], lease_ms=60_000)
            claimed = await streams.claim_abandoned(BROKER, "a", "other", idle_ms=200, limit=10)
    assert claimed == (second,)


async def test_a_postponed_entry_waits_its_delay_and_carries_its_state(streams: Streams) -> None:
    await streams.open_group(BROKER, "a")
    await streams.append(BROKER, ["one"], limit=10)
    (entry,) = (await take(streams)).entries
    later = Postponed(entry.id, entry.body, '{"attempt":1}', 300)
    await streams.settle(BROKER, "a", [], postpone=[later])
    taken = await take(streams)
    assert taken.entries == ()
    assert taken.next_due_ms is not None
    assert 0 < taken.next_due_ms <= 300
    assert taken.postponed == 1
    async with asyncio.timeout(10):
        while (again := await take(streams)).entries == ():
            pass
    assert again.entries == (StreamEntry(entry.id, "one", '{"attempt":1}'),)
    await streams.settle(BROKER, "a", [entry.id])
    assert (await take(streams)).postponed == 0


async def test_a_postponed_entry_that_was_taken_comes_back_after_a_kill(streams: Streams) -> None:
    await streams.open_group(BROKER, "a")
    await streams.append(BROKER, ["one"], limit=10)
    (entry,) = (await take(streams)).entries
    await streams.settle(BROKER, "a", [], postpone=[Postponed(entry.id, "one", "{}", 0)])
    assert len((await take(streams)).entries) == 1
    assert (await take(streams)).entries == ()
    assert await streams.recover(BROKER, "a", "me") == ()
    assert (await take(streams)).entries == (StreamEntry(entry.id, "one", "{}"),)


async def test_a_copy_of_an_entry_is_postponed_and_settled_on_its_own(streams: Streams) -> None:
    await streams.open_group(BROKER, "a")
    await streams.append(BROKER, ["one"], limit=10)
    (entry,) = (await take(streams)).entries
    copy = Postponed(f"{entry.id}/2", "one", "{}", 0)
    await streams.settle(BROKER, "a", [entry.id], postpone=[copy])
    assert [again.id for again in (await take(streams)).entries] == [copy.id]
    await streams.settle(BROKER, "a", [copy.id])
    assert (await take(streams)).postponed == 0


async def test_trimming_keeps_what_a_group_has_not_read_or_not_settled(streams: Streams) -> None:
    await streams.open_group(BROKER, "a")
    await streams.open_group(BROKER, "b")
    await streams.append(BROKER, ["one", "two", "three"], limit=10)
    first, second, third = (await take(streams, "a")).entries
    await streams.settle(BROKER, "a", [first.id, second.id, third.id])
    await streams.trim(BROKER, ["a", "b"], room=0)
    assert await streams.length(BROKER) == 3
    taken = (await take(streams, "b")).entries
    await streams.settle(BROKER, "b", [taken[0].id])
    await streams.trim(BROKER, ["a", "b"], room=0)
    assert await streams.length(BROKER) == 2
    await streams.settle(BROKER, "b", [taken[1].id, taken[2].id])
    await streams.trim(BROKER, ["a", "b"], room=0)
    assert await streams.length(BROKER) == 0


async def test_a_postponed_entry_does_not_hold_up_trimming(streams: Streams) -> None:
    await streams.open_group(BROKER, "a")
    await streams.append(BROKER, ["one"], limit=10)
    (entry,) = (await take(streams)).entries
    await streams.settle(BROKER, "a", [], postpone=[Postponed(entry.id, "one", "{}", 0)])
    await streams.trim(BROKER, ["a"], room=0)
    assert await streams.length(BROKER) == 0
    assert [again.body for again in (await take(streams)).entries] == ["one"]


async def test_a_group_that_nobody_serves_holds_entries_only_while_there_is_room(
    streams: Streams,
) -> None:
    await streams.open_group(BROKER, "served")
    await streams.open_group(BROKER, "left")
    await streams.append(BROKER, ["one", "two"], limit=10)
    taken = (await take(streams, "served")).entries
    await streams.settle(BROKER, "served", [entry.id for entry in taken])
    await streams.trim(BROKER, ["served"], room=2)
    assert await streams.length(BROKER) == 2
    await streams.trim(BROKER, ["served"], room=1)
    assert await streams.length(BROKER) == 0


async def test_without_a_group_an_event_is_dropped_at_the_next_trimming(streams: Streams) -> None:
    await streams.append(BROKER, ["one"], limit=10)
    await streams.trim(BROKER, [], room=0)
    assert await streams.length(BROKER) == 0


async def test_a_tick_is_appended_once(streams: Streams) -> None:
    assert await streams.append_tick(BROKER, "w--s", 1000, "tick", limit=10)
    assert not await streams.append_tick(BROKER, "w--s", 1000, "tick", limit=10)
    assert not await streams.append_tick(BROKER, "w--s", 999, "tick", limit=10)
    assert await streams.append_tick(BROKER, "w--s", 2000, "tick", limit=10)
    assert await streams.length(BROKER) == 2


async def test_a_tick_refused_by_a_full_stream_may_fire_later(streams: Streams) -> None:
    with pytest.raises(StreamFull):
        await streams.append_tick(BROKER, "w--s", 1000, "tick", limit=0)
    assert await streams.append_tick(BROKER, "w--s", 1000, "tick", limit=1)


async def test_waiting_ends_with_the_append(streams: Streams) -> None:
    position = await streams.position(BROKER)
    waiting = asyncio.create_task(streams.wait(BROKER, position, block_ms=5000))
    await streams.append(BROKER, ["one"], limit=10)
    seen = await asyncio.wait_for(waiting, 5)
    assert seen == await streams.position(BROKER) != position


async def test_what_was_appended_survives_the_kill_of_the_store(
    streams: Streams, each_server: Any
) -> None:
    await streams.open_group(BROKER, "a")
    await streams.append(BROKER, ["one"], limit=10)
    await each_server.kill()
    with pytest.raises(StoreUnavailable):
        await streams.append(BROKER, ["two"], limit=10)
    await each_server.start()
    assert [entry.body for entry in (await take(streams)).entries] == ["one"]


async def test_a_dropped_group_leaves_nothing(streams: Streams) -> None:
    await streams.open_group(BROKER, "a")
    await streams.append(BROKER, ["one"], limit=10)
    (entry,) = (await take(streams)).entries
    await streams.settle(BROKER, "a", [], postpone=[Postponed(entry.id, "one", "{}", 0)])
    await streams.drop_group(BROKER, "a")
    await streams.drop_group("default/never-there", "a")
    await streams.open_group(BROKER, "a")
    assert (await take(streams)).entries == ()
