"""Purging a run: when its time to live has ended, nothing of it is left but perhaps its name."""

from collections.abc import Awaitable, Callable

from agentworkflow.store import (
    Commit,
    Created,
    Due,
    Finish,
    Gone,
    Guard,
    Start,
    Store,
    Tombstoned,
)

Started = Callable[..., Awaitable[str]]
KeysOf = Callable[[Store], Awaitable[list[str]]]
Ending = Callable[..., Finish]


async def _full_run(store: Store, started: Started, ending: Ending, **changes: object) -> str:
    """A run that has used everything a run can use, and has ended."""
    fields = {"run": "{}", "s:a": '{"n":1}'}
    run = await started(store, fields=fields, session="ann", blobs={"b1": b"1"}, **changes)
    call, deadline = f"call|{run}|a||1", f"timer|{run}|deadline"
    await store.commit(Commit(run, 1, ("{}",), due={call: 1, deadline: 2}, blobs={"b2": b"2"}))
    await store.append_progress(run, Guard("s:a", 1), "{}")
    await store.put_blob(run, "b3", b"3")
    await store.again(call, 1)
    end = ending(session="ann", session_ttl_ms=60_000)
    await store.commit(
        Commit(run, 2, ("{}",), undue=(call, deadline), due={f"hook|{run}": 1}, finished=end)
    )
    return run


async def test_an_ended_run_becomes_due_for_purging(
    store: Store, started: Started, ending: Ending
) -> None:
    run = await started(store)
    await store.commit(Commit(run, 1, ("{}",), finished=ending(purge_at_ms=1234)))

    assert await store.lease(0, limit=9, lease_ms=1) == [Due(f"purge|{run}", 1234)]


async def test_a_purged_run_leaves_nothing_behind(
    store: Store, started: Started, ending: Ending, keys_of: KeysOf
) -> None:
    run = await _full_run(store, started, ending)

    assert await store.purge(run)

    # The session lives on for its own time; it is not the run's.
    assert await keys_of(store) == ["awf:{00}:session:default/orders/ann"]
    assert await store.load(run) is None
    assert (await store.list_runs("default")).runs == ()
    assert await store.commit(Commit(run, 3, ("{}",))) == Gone(run)


async def test_a_purge_touches_no_other_run(store: Store, started: Started, ending: Ending) -> None:
    other = await started(store, blobs={"b": b"other"})
    run = await _full_run(store, started, ending)

    await store.purge(run)

    assert (await store.list_runs("default")).runs == (other,)
    assert await store.get_blob(other, "b") == b"other"
    assert await store.get_definition(0, "sha256:d1") is not None


async def test_a_run_that_has_not_ended_is_not_purged(store: Store, started: Started) -> None:
    run = await started(store)

    assert not await store.purge(run)

    assert await store.version(run) == 1


async def test_purging_twice_is_as_good_as_once(
    store: Store, started: Started, ending: Ending, keys_of: KeysOf
) -> None:
    run = await _full_run(store, started, ending)
    await store.purge(run)

    assert await store.purge(run)

    assert await keys_of(store) == ["awf:{00}:session:default/orders/ann"]


async def test_the_purge_entry_of_a_run_that_is_gone_is_removed(
    store: Store, started: Started, ending: Ending
) -> None:
    run = await _full_run(store, started, ending)
    await store._connection.command("DEL", f"awf:{{00}}:run:{run}")

    assert await store.purge(run)

    members = [due.member for due in await store.lease(0, limit=9, lease_ms=1)]
    assert f"purge|{run}" not in members


async def test_an_id_that_was_derived_stays_taken_after_the_purge(
    open_store: Callable[..., Awaitable[Store]],
    start_of: Callable[..., Start],
    run_id: Callable[..., str],
    ending: Ending,
) -> None:
    store = await open_store(tombstone_ms=60_000)
    run = run_id()
    await store.start(start_of(run, named=True, request_hash="h"))
    await store.commit(Commit(run, 1, ("{}",), finished=ending()))
    await store.purge(run)

    assert await store.start(start_of(run, named=True, request_hash="h")) == Tombstoned(run)

    assert 0 < await store._connection.command("PTTL", f"awf:{{00}}:tomb:{run}") <= 60_000


async def test_when_the_tombstone_is_gone_the_id_is_free(
    open_store: Callable[..., Awaitable[Store]],
    start_of: Callable[..., Start],
    run_id: Callable[..., str],
    ending: Ending,
) -> None:
    store = await open_store(tombstone_ms=1)
    run = run_id()
    await store.start(start_of(run, named=True))
    await store.commit(Commit(run, 1, ("{}",), finished=ending()))
    await store.purge(run)

    while (result := await store.start(start_of(run, named=True))) == Tombstoned(run):
        continue

    assert result == Created(run, 1)


async def test_the_last_purge_takes_the_definition_with_it(
    store: Store, started: Started, ending: Ending
) -> None:
    runs = [await started(store) for _ in range(2)]
    for run in runs:
        await store.commit(Commit(run, 1, ("{}",), finished=ending()))

    await store.purge(runs[0])
    assert await store.get_definition(0, "sha256:d1") is not None
    await store.purge(runs[1])
    assert await store.get_definition(0, "sha256:d1") is None


async def test_a_blob_of_a_run_that_is_gone_is_not_kept(
    store: Store, started: Started, ending: Ending, keys_of: KeysOf
) -> None:
    run = await started(store)
    await store.commit(Commit(run, 1, ("{}",), finished=ending()))
    await store.purge(run)

    assert not await store.put_blob(run, "b", b"late")

    assert await keys_of(store) == []
    assert await store.get_blob(run, "b") is None
