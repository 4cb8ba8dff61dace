"""What is due is given to one dispatcher at a time, and to another when that one is silent."""

import asyncio
from collections.abc import Awaitable, Callable

from agentworkflow.store import Commit, Due, Store

Started = Callable[..., Awaitable[str]]


async def _due(store: Store, started: Started, due: dict[str, int], shard: int = 0) -> str:
    run = await started(store, shard=shard)
    await store.commit(
        Commit(run, 1, ("{}",), due={name.format(run=run): at for name, at in due.items()})
    )
    return run


async def test_entries_are_leased_oldest_first_and_up_to_the_limit(
    store: Store, started: Started
) -> None:
    run = await _due(store, started, {"hook|{run}": 30, "timer|{run}|deadline": 10})
    await store.commit(Commit(run, 2, ("{}",), due={f"pub|{run}|2": 20}))

    assert await store.lease(0, limit=2, lease_ms=60_000) == [
        Due(f"timer|{run}|deadline", 10),
        Due(f"pub|{run}|2", 20),
    ]
    assert await store.lease(0, limit=2, lease_ms=60_000) == [Due(f"hook|{run}", 30)]
    assert await store.lease(0, limit=2, lease_ms=60_000) == []


async def test_what_is_due_later_is_not_leased(store: Store, started: Started) -> None:
    later = store.now_ms() + 60_000
    await _due(store, started, {"hook|{run}": later})

    assert await store.lease(0, limit=9, lease_ms=1) == []
    assert await store.next_due(0) == later


async def test_an_empty_due_set_has_no_next(store: Store) -> None:
    assert await store.next_due(0) is None
    assert await store.lease(0, limit=9, lease_ms=1) == []


async def test_a_leased_entry_is_due_again_when_its_lease_has_ended(
    store: Store, started: Started
) -> None:
    run = await _due(store, started, {"hook|{run}": 1})
    (first,) = await store.lease(0, limit=9, lease_ms=30)
    ends = await store.next_due(0)
    assert ends is not None

    taken: list[Due] = []
    while not taken:
        taken = await store.lease(0, limit=9, lease_ms=60_000)

    assert taken == [Due(f"hook|{run}", ends)]
    assert store.now_ms() >= ends
    assert first.due_ms == 1


async def test_two_dispatchers_never_hold_one_entry(
    open_store: Callable[..., Awaitable[Store]], started: Started
) -> None:
    stores = [await open_store() for _ in range(3)]
    run = await started(stores[0])
    members = {f"call|{run}|each|{n}|1" for n in range(200)}
    await stores[0].commit(Commit(run, 1, ("{}",), due=dict.fromkeys(members, 1)))

    batches = await asyncio.gather(
        *(stores[n % 3].lease(0, limit=7, lease_ms=60_000) for n in range(40))
    )

    taken = [due.member for batch in batches for due in batch]
    assert len(taken) == len(set(taken))
    assert set(taken) == members


async def test_an_extended_lease_is_kept_and_a_removed_entry_is_told(
    store: Store, started: Started
) -> None:
    run = await _due(store, started, {"hook|{run}": 1, "pub|{run}|1": 1})
    await store.lease(0, limit=9, lease_ms=1)
    await store.ack([f"pub|{run}|1"])

    gone = await store.extend([f"hook|{run}", f"pub|{run}|1"], 60_000)

    assert gone == {f"pub|{run}|1"}
    assert await store.lease(0, limit=9, lease_ms=1) == []
    next_due = await store.next_due(0)
    assert next_due is not None
    assert next_due > store.now_ms() + 30_000


async def test_an_entry_that_is_done_is_removed_once(store: Store, started: Started) -> None:
    run = await _due(store, started, {"hook|{run}": 1, "pub|{run}|1": 1})

    assert await store.ack([f"hook|{run}", f"pub|{run}|9"]) == 1
    assert await store.ack([f"hook|{run}"]) == 0
    assert [due.member for due in await store.lease(0, limit=9, lease_ms=1)] == [f"pub|{run}|1"]


async def test_an_entry_tried_again_is_due_later_and_counted_for_everyone(
    open_store: Callable[..., Awaitable[Store]], started: Started
) -> None:
    one, two = await open_store(), await open_store()
    run = await _due(one, started, {"pub|{run}|1": 1})

    assert await one.again(f"pub|{run}|1", 60_000) == 1
    assert await two.again(f"pub|{run}|1", 60_000) == 2

    assert await one.lease(0, limit=9, lease_ms=1) == []


async def test_an_entry_that_is_gone_is_not_tried_again(store: Store, started: Started) -> None:
    run = await _due(store, started, {"pub|{run}|1": 1})
    await store.ack([f"pub|{run}|1"])

    assert await store.again(f"pub|{run}|1", 1) is None
    assert await store.next_due(0) is None


async def test_a_removed_entry_is_forgotten_with_its_count(
    store: Store, started: Started, keys_of: Callable[[Store], Awaitable[list[str]]]
) -> None:
    run = await _due(store, started, {"pub|{run}|1": 1, "call|{run}|a||1": 1})
    await store.again(f"pub|{run}|1", 1)
    await store.again(f"call|{run}|a||1", 1)
    assert "awf:{00}:tries" in await keys_of(store)

    await store.ack([f"pub|{run}|1"])
    await store.commit(Commit(run, 2, ("{}",), undue=(f"call|{run}|a||1",)))

    assert "awf:{00}:tries" not in await keys_of(store)


async def test_an_entry_is_settled_only_if_its_run_has_not_grown(
    store: Store, started: Started, keys_of: Callable[[Store], Awaitable[list[str]]]
) -> None:
    run = await _due(store, started, {"hook|{run}": 1})
    hook = f"hook|{run}"
    await store.lease(0, limit=9, lease_ms=60_000)
    # While the webhook was posted for version 2, a commit has made it due once more.
    await store.commit(Commit(run, 2, ("{}",), due={hook: store.now_ms() + 60_000}))

    assert not await store.settle(hook, 2)
    assert [due.member for due in await store.lease(0, limit=9, lease_ms=60_000)] == [hook]
    await store.again(hook, 60_000)
    assert await store.settle(hook, 3)

    assert await store.next_due(0) is None
    assert "awf:{00}:tries" not in await keys_of(store)


async def test_an_entry_of_a_run_that_is_gone_is_settled(
    store: Store, run_id: Callable[..., str]
) -> None:
    assert await store.settle(f"hook|{run_id()}", 2)


async def test_each_shard_has_what_is_due_for_its_own_runs(
    open_store: Callable[..., Awaitable[Store]], started: Started
) -> None:
    store = await open_store(shards=64)
    one = await _due(store, started, {"hook|{run}": 1}, shard=1)
    last = await _due(store, started, {"hook|{run}": 1, "pub|{run}|1": 2}, shard=63)

    assert await store.lease(0, limit=9, lease_ms=60_000) == []
    assert await store.lease(1, limit=9, lease_ms=60_000) == [Due(f"hook|{one}", 1)]
    assert len(await store.lease(63, limit=9, lease_ms=60_000)) == 2
    every = [f"hook|{one}", f"hook|{last}", f"pub|{last}|1", f"hook|{'0' * 8}-00"]
    assert await store.extend(every, 60_000) == {every[-1]}
    assert await store.ack(every) == 3
