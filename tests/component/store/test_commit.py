"""Committing to a run: all of it or nothing, in order, once."""

import asyncio
from collections.abc import Awaitable, Callable

from agentworkflow.store import Commit, Committed, Conflict, Gone, Guard, Store

Started = Callable[..., Awaitable[str]]


async def test_a_commit_appends_sets_drops_and_makes_due(store: Store, started: Started) -> None:
    run = await started(store, fields={"run": "a", "s:x": "old", "s:y": "y"}, due={})
    await store.commit(Commit(run, 1, ("{}",), due={f"call|{run}|x||1": 7, f"hook|{run}": 8}))

    result = await store.commit(
        Commit(
            run,
            2,
            ('{"n":3}', '{"n":4}'),
            fields={"run": "b", "s:x": "new"},
            drop_fields=("s:y",),
            due={f"timer|{run}|deadline": 9},
            undue=(f"call|{run}|x||1",),
            blobs={"sha256:1": b"one"},
        )
    )

    assert result == Committed(4)
    head = await store.load(run)
    assert head is not None
    assert (head.version, head.fields) == (4, {"run": "b", "s:x": "new"})
    assert await store.read_entries(run, [4, 3, 99]) == {4: '{"n":4}', 3: '{"n":3}'}
    assert await store.get_blob(run, "sha256:1") == b"one"
    assert {due.member: due.due_ms for due in await store.lease(0, limit=9, lease_ms=1)} == {
        f"hook|{run}": 8,
        f"timer|{run}|deadline": 9,
    }


async def test_a_member_removed_and_added_in_one_commit_is_due(
    store: Store, started: Started
) -> None:
    run = await started(store, due={})
    call = f"call|{run}|a||1"
    await store.commit(Commit(run, 1, ("{}",), due={call: 5}))

    await store.commit(Commit(run, 2, ("{}",), due={call: 6}, undue=(call,)))

    assert await store.next_due(0) == 6


async def test_a_commit_on_an_old_version_changes_nothing_and_gets_the_entries_since(
    store: Store, started: Started
) -> None:
    run = await started(store)
    await store.commit(Commit(run, 1, ('{"n":2}', '{"n":3}')))

    late = await store.commit(
        Commit(run, 1, ('{"late":1}',), fields={"run": "late"}, due={f"hook|{run}": 1})
    )

    assert late == Conflict(3, ('{"n":2}', '{"n":3}'))
    head = await store.load(run)
    assert head is not None
    assert head.fields == {"run": '{"st":"R"}'}
    assert await store.next_due(0) is None


async def test_progress_is_not_among_the_entries_of_a_conflict(
    store: Store, started: Started
) -> None:
    run = await started(store, fields={"run": "{}", "s:a": '{"n":1,"st":"R"}'})
    await store.commit(Commit(run, 1, ('{"n":2}',)))
    assert await store.append_progress(run, Guard("s:a", 1), '{"progress":1}')
    await store.commit(Commit(run, 2, ('{"n":3}',)))

    assert await store.commit(Commit(run, 1, ("{}",))) == Conflict(3, ('{"n":2}', '{"n":3}'))


async def test_a_committer_far_behind_gets_every_entry(store: Store, started: Started) -> None:
    run = await started(store)
    events = tuple(f'{{"n":{n}}}' for n in range(2, 502))
    await store.commit(Commit(run, 1, events))

    assert await store.commit(Commit(run, 1, ("{}",))) == Conflict(501, events)


async def test_the_same_commit_given_twice_is_applied_once(store: Store, started: Started) -> None:
    run = await started(store)
    commit = Commit(run, 1, ('{"n":2}', '{"n":3}'))

    assert [await store.commit(commit), await store.commit(commit)] == [Committed(3)] * 2
    assert len(await store.read_log(run)) == 3


async def test_an_equal_commit_of_somebody_else_is_a_conflict(
    store: Store, started: Started
) -> None:
    run = await started(store)
    await store.commit(Commit(run, 1, ('{"n":2}',)))

    assert await store.commit(Commit(run, 1, ('{"n":2}',))) == Conflict(2, ('{"n":2}',))


async def test_of_two_committers_one_wins_and_the_other_learns_what_happened(
    open_store: Callable[..., Awaitable[Store]], started: Started
) -> None:
    one, two = await open_store(), await open_store()
    run = await started(one)

    results = await asyncio.gather(
        one.commit(Commit(run, 1, ('{"by":1}',))), two.commit(Commit(run, 1, ('{"by":2}',)))
    )

    entry = (await one.read_log(run, after="1-0"))[0][1]
    assert sorted(map(str, results)) == sorted([str(Committed(2)), str(Conflict(2, (entry,)))])


async def test_many_racing_committers_lose_no_entry_and_write_none_twice(
    open_store: Callable[..., Awaitable[Store]], started: Started
) -> None:
    stores = [await open_store() for _ in range(4)]
    run = await started(stores[0])

    async def add(store: Store, mark: int) -> None:
        expected = 1
        while True:
            result = await store.commit(Commit(run, expected, (f'{{"mark":{mark}}}',)))
            if isinstance(result, Committed):
                return
            assert isinstance(result, Conflict)
            assert len(result.events) == result.version - expected
            expected = result.version

    await asyncio.gather(*(add(stores[mark % 4], mark) for mark in range(40)))

    log = await stores[0].read_log(run)
    assert [stream_id for stream_id, _ in log] == [f"{n}-0" for n in range(1, 42)]
    assert sorted(entry for _, entry in log[1:]) == sorted(f'{{"mark":{n}}}' for n in range(40))


async def test_a_commit_without_events_sets_fields_and_keeps_the_version(
    store: Store, started: Started
) -> None:
    run = await started(store)

    assert await store.commit(Commit(run, 1, (), fields={"hook": "3-0"})) == Committed(1)

    head = await store.load(run)
    assert head is not None
    assert head.fields["hook"] == "3-0"


async def test_a_commit_to_no_run_says_so(store: Store, run_id: Callable[..., str]) -> None:
    run = run_id()

    assert await store.commit(Commit(run, 1, ("{}",))) == Gone(run)
    assert await store.load(run) is None


async def test_a_commit_below_what_the_server_has_lost_shows_the_lower_version(
    store: Store, started: Started
) -> None:
    run = await started(store)

    assert await store.commit(Commit(run, 7, ("{}",))) == Conflict(1, ())


async def test_a_big_value_and_every_character_survive(store: Store, started: Started) -> None:
    run = await started(store)
    blob = bytes(range(256)) * 40_000
    entry = '{"text":"\\u0000 é 🦊 \\"quoted\\" ' + "x" * 300_000 + '"}'

    await store.commit(Commit(run, 1, (entry,), fields={"s:é": entry}, blobs={"d": blob}))

    assert await store.read_entries(run, [2]) == {2: entry}
    head = await store.load(run)
    assert head is not None
    assert head.fields["s:é"] == entry
    assert await store.get_blob(run, "d") == blob


async def test_a_commit_costs_the_same_on_a_run_of_ten_thousand_entries(
    store: Store, started: Started
) -> None:
    async def commands_of(run: str, version: int) -> int:
        before = await _commands(store)
        await store.commit(Commit(run, version, ("{}",), fields={"run": "{}"}))
        return await _commands(store) - before

    small = await started(store)
    big = await started(store, events=tuple("{}" for _ in range(10_000)))

    assert await commands_of(small, 1) == await commands_of(big, 10_000)


async def _commands(store: Store) -> int:
    """How many commands the server has run, those inside scripts among them."""
    info = await store._connection.command("INFO", "commandstats")
    return sum(
        stats["calls"]
        for name, stats in info.items()
        if name.startswith("cmdstat_") and name != "cmdstat_info"
    )


async def test_the_log_is_read_in_pages_from_any_cursor(store: Store, started: Started) -> None:
    run = await started(store, fields={"run": "{}", "s:a": '{"n":1}'})
    await store.append_progress(run, Guard("s:a", 1), '{"p":1}')
    await store.append_progress(run, Guard("s:a", 1), '{"p":2}')
    await store.commit(Commit(run, 1, ('{"n":2}',)))

    first = await store.read_log(run, limit=2)
    rest = await store.read_log(run, after=first[-1][0])

    assert [stream_id for stream_id, _ in first + rest] == ["1-0", "1-1", "1-2", "2-0"]
    assert await store.read_log(run, after="2-0") == []
