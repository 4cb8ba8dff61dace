"""Sessions: their runs are serial, and their value changes in the commit of its run."""

import asyncio
from collections.abc import Awaitable, Callable

from agentworkflow.store import (
    Commit,
    Committed,
    Created,
    Due,
    Finish,
    Opening,
    SessionBusy,
    SessionChanged,
    SessionState,
    Start,
    Store,
)

MakeStart = Callable[..., Start]
MakeId = Callable[..., str]
Ending = Callable[..., Finish]

QUEUED = Opening(events=('{"type":"run.queued"}',), fields={"run": '{"st":"P"}'})


async def test_a_session_nobody_used_is_empty(store: Store) -> None:
    assert await store.read_session("default", "orders", "ann") == SessionState(None, 0, None)


async def test_a_run_takes_its_session_and_leaves_it_with_a_new_value(
    store: Store, start_of: MakeStart, run_id: MakeId, ending: Ending
) -> None:
    run = run_id()
    await store.start(start_of(run, session="ann", session_version=0))
    assert await store.read_session("default", "orders", "ann") == SessionState(None, 1, run)

    end = ending(session="ann", session_value='{"count":1}')
    assert await store.commit(Commit(run, 1, ("{}",), finished=end)) == Committed(2)

    assert await store.read_session("default", "orders", "ann") == SessionState(
        '{"count":1}', 2, None
    )
    head = await store.load(run)
    assert head is not None
    assert (head.session, head.finished_ms) == ("ann", 5_000)


async def test_a_run_that_fails_leaves_the_value_as_it_was(
    store: Store, start_of: MakeStart, run_id: MakeId, ending: Ending
) -> None:
    first, second = run_id(), run_id()
    await store.start(start_of(first, session="ann"))
    end = ending(session="ann", session_value="1")
    await store.commit(Commit(first, 1, ("{}",), finished=end))
    await store.start(start_of(second, session="ann"))

    await store.commit(Commit(second, 1, ("{}",), finished=ending(session="ann")))

    assert (await store.read_session("default", "orders", "ann")).value == "1"


async def test_a_start_decided_on_an_old_value_is_told_the_new_one(
    store: Store, start_of: MakeStart, run_id: MakeId, ending: Ending
) -> None:
    first, second = run_id(), run_id()
    await store.start(start_of(first, session="ann"))
    end = ending(session="ann", session_value="7")
    await store.commit(Commit(first, 1, ("{}",), finished=end))

    late = await store.start(start_of(second, session="ann", session_version=0, queued=QUEUED))

    assert late == SessionChanged(SessionState("7", 2, None))
    assert await store.load(second) is None


async def test_a_start_without_a_queued_opening_is_told_that_the_session_is_busy(
    store: Store, start_of: MakeStart, run_id: MakeId
) -> None:
    first, second = run_id(), run_id()
    await store.start(start_of(first, session="ann"))

    late = await store.start(start_of(second, session="ann"))

    assert late == SessionChanged(SessionState(None, 1, first))
    assert await store.load(second) is None


async def test_runs_of_a_busy_session_wait_and_are_handed_it_in_order(
    store: Store, start_of: MakeStart, run_id: MakeId, ending: Ending
) -> None:
    first, second, third = run_id(), run_id(), run_id()
    end = ending(session="ann", purge_at_ms=99_999_999_999_999)
    assert await store.start(start_of(first, session="ann", queued=QUEUED)) == Created(first, 1)
    for run in (second, third):
        start = start_of(run, session="ann", session_version=0, queued=QUEUED)
        assert await store.start(start) == await store.start(start) == SessionBusy(run, 1)
    head = await store.load(second)
    assert head is not None
    assert head.fields == {"run": '{"st":"P"}'}

    ended = await store.commit(Commit(first, 1, ("{}",), finished=end))

    assert ended == Committed(2, next_run=second)
    assert (await store.read_session("default", "orders", "ann")).active == second
    (due,) = await store.lease(0, limit=9, lease_ms=1_000)
    assert due == Due(f"start|{second}", due.due_ms)
    assert due.due_ms <= store.now_ms()

    ended = await store.commit(Commit(second, 1, ("{}",), finished=end))
    assert ended == Committed(2, next_run=third)


async def test_the_committer_may_lease_the_start_of_the_next_run(
    store: Store, start_of: MakeStart, run_id: MakeId, ending: Ending
) -> None:
    first, second = run_id(), run_id()
    for run in (first, second):
        await store.start(start_of(run, session="ann", queued=QUEUED))
    end = ending(session="ann", purge_at_ms=99_999_999_999_999, start_lease_ms=60_000)
    await store.commit(Commit(first, 1, ("{}",), finished=end))

    assert await store.lease(0, limit=9, lease_ms=1) == []


async def test_a_repeated_final_commit_names_the_next_run_again(
    store: Store, start_of: MakeStart, run_id: MakeId, ending: Ending
) -> None:
    first, second = run_id(), run_id()
    for run in (first, second):
        await store.start(start_of(run, session="ann", queued=QUEUED))
    commit = Commit(first, 1, ("{}",), finished=ending(session="ann"))

    results = [await store.commit(commit), await store.commit(commit)]

    assert results == [Committed(2, next_run=second)] * 2


async def test_a_waiting_run_that_is_cancelled_leaves_the_queue_and_not_the_session(
    store: Store, start_of: MakeStart, run_id: MakeId, ending: Ending
) -> None:
    first, second = run_id(), run_id()
    for run in (first, second):
        await store.start(start_of(run, session="ann", queued=QUEUED))

    end = ending(session="ann", session_value='"of nobody"')
    await store.commit(Commit(second, 1, ("{}",), finished=end))

    assert await store.read_session("default", "orders", "ann") == SessionState(None, 1, first)
    ended = await store.commit(Commit(first, 1, ("{}",), finished=ending(session="ann")))
    assert ended == Committed(2, next_run=None)


async def test_of_many_racing_starts_one_owns_the_session_and_all_run_in_turn(
    open_store: Callable[..., Awaitable[Store]],
    start_of: MakeStart,
    run_id: MakeId,
    ending: Ending,
) -> None:
    stores = [await open_store(), await open_store()]
    runs = [run_id() for _ in range(10)]
    results = await asyncio.gather(
        *(
            stores[n % 2].start(start_of(run, session="ann", queued=QUEUED))
            for n, run in enumerate(runs)
        )
    )

    (owner,) = [result.run for result in results if isinstance(result, Created)]
    turn: str | None = owner
    seen = []
    while turn is not None:
        seen.append(turn)
        ended = await stores[0].commit(Commit(turn, 1, ("{}",), finished=ending(session="ann")))
        assert isinstance(ended, Committed)
        turn = ended.next_run
    assert sorted(seen) == sorted(runs)


async def test_a_session_expires_only_while_no_run_owns_it(
    store: Store, start_of: MakeStart, run_id: MakeId, ending: Ending
) -> None:
    first, second = run_id(), run_id()
    await store.start(start_of(first, session="ann"))
    end = ending(session="ann", session_value="1", session_ttl_ms=60_000)
    await store.commit(Commit(first, 1, ("{}",), finished=end))
    key = "awf:{00}:session:default/orders/ann"
    assert 0 < await store._connection.command("PTTL", key) <= 60_000

    await store.start(start_of(second, session="ann"))

    assert await store._connection.command("PTTL", key) == -1


async def test_sessions_with_strange_names_do_not_touch_each_other(
    store: Store, start_of: MakeStart, run_id: MakeId
) -> None:
    names = ["ann", "ann:queue", "queue:ann", "{00}", "a/b", "ä ö", "}"]
    runs = [run_id() for _ in names]
    for run, name in zip(runs, names, strict=True):
        assert await store.start(start_of(run, session=name)) == Created(run, 1)

    states = [await store.read_session("default", "orders", name) for name in names]
    assert [state.active for state in states] == runs
