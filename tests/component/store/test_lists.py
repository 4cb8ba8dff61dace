"""Lists of runs: newest first, over all shards, page by page."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agentworkflow.runs.ids import shard_of_session
from agentworkflow.store import BadCursor, Commit, Finish, Store

Started = Callable[..., Awaitable[str]]
OpenStore = Callable[..., Awaitable[Store]]
Ending = Callable[..., Finish]


async def _pages(
    store: Store, namespace: str, workflow: str | None = None, **how: Any
) -> list[str]:
    runs: list[str] = []
    cursor = None
    while True:
        page = await store.list_runs(namespace, workflow, cursor=cursor, **how)
        assert len(page.runs) <= how.get("limit", 50)
        runs += page.runs
        cursor = page.cursor
        if cursor is None:
            return runs
        assert page.runs


async def test_nothing_started_lists_nothing(store: Store) -> None:
    page = await store.list_runs("default")
    assert (page.runs, page.cursor) == ((), None)


@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
async def test_pages_over_64_shards_show_every_run_once_newest_first(
    open_store: OpenStore, started: Started, limit: int
) -> None:
    store = await open_store(shards=64)
    runs = [await started(store, shard=n * 5 % 64) for n in range(130)]

    assert await _pages(store, "default", "orders", limit=limit) == runs[::-1]


async def test_runs_of_one_millisecond_are_neither_lost_nor_shown_twice(
    open_store: OpenStore, started: Started
) -> None:
    store = await open_store(shards=4)
    runs = [await started(store, shard=n % 2, created_ms=77) for n in range(300)]

    for limit in (3, 100):
        assert await _pages(store, "default", "orders", limit=limit) == sorted(runs, reverse=True)


async def test_a_list_tells_active_runs_from_finished_ones(
    store: Store, started: Started, ending: Ending
) -> None:
    runs = [await started(store) for _ in range(6)]
    for run in runs[::2]:
        await store.commit(Commit(run, 1, ("{}",), finished=ending()))

    assert await _pages(store, "default", state="active", limit=2) == runs[::-1][::2]
    assert await _pages(store, "default", state="finished", limit=2) == runs[::-1][1::2]
    assert await _pages(store, "default", limit=2) == runs[::-1]


async def test_a_run_that_ends_between_two_pages_keeps_its_place(
    store: Store, started: Started, ending: Ending
) -> None:
    runs = [await started(store) for _ in range(6)]
    first = await store.list_runs("default", limit=3)

    for run in runs:
        await store.commit(Commit(run, 1, ("{}",), finished=ending()))
    second = await store.list_runs("default", limit=3, cursor=first.cursor)

    assert [*first.runs, *second.runs] == runs[::-1]


async def test_a_list_without_a_workflow_shows_all_of_its_namespace_and_no_other(
    open_store: OpenStore, started: Started
) -> None:
    store = await open_store(shards=3)
    mine = [await started(store, shard=n, workflow=f"w{n}") for n in range(3)]
    other = await started(store, namespace="other")

    assert await _pages(store, "default", limit=2) == mine[::-1]
    assert await _pages(store, "default", "w1") == [mine[1]]
    assert await _pages(store, "other") == [other]


async def test_a_session_lists_its_own_runs(
    open_store: OpenStore, started: Started, ending: Ending
) -> None:
    store = await open_store(shards=64)
    shard = shard_of_session("default", "orders", "ann", shards=64)
    runs = []
    for _ in range(5):
        run = await started(store, shard=shard, session="ann")
        await store.commit(Commit(run, 1, ("{}",), finished=ending(session="ann")))
        runs.append(run)
    runs.append(await started(store, shard=shard, session="ann"))
    await started(store, shard=shard, session="bob")

    assert await _pages(store, "default", "orders", session="ann", limit=2) == runs[::-1]
    assert await _pages(store, "default", session="ann", limit=4) == runs[::-1]
    assert await _pages(store, "default", session="ann", state="active") == runs[-1:]
    finished = await _pages(store, "default", session="ann", state="finished", limit=2)
    assert finished == runs[:-1][::-1]
    assert await _pages(store, "default", session="eve") == []


@pytest.mark.parametrize("cursor", ["", "x", "äöü", "bm90aGluZw", "%%%"])
async def test_a_cursor_that_is_not_ours_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadCursor, match="is no cursor of ours; take it from the page before"):
        await store.list_runs("default", cursor=cursor)
