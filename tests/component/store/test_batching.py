"""Requests that share a packet share nothing else."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agentworkflow.engine.valkey import EmbeddedValkey
from agentworkflow.store import Commit, Committed, Store, StoreError, StoreUnavailable

Started = Callable[..., Awaitable[str]]


async def test_each_of_many_requests_gets_its_own_answer(store: Store, started: Started) -> None:
    runs = [await started(store, blobs={"b": f"{n}".encode()}) for n in range(300)]

    found = await asyncio.gather(*(store.get_blob(run, "b") for run in runs))

    assert found == [f"{n}".encode() for n in range(300)]


async def test_a_request_that_fails_does_not_spoil_its_neighbours(
    store: Store, started: Started
) -> None:
    run = await started(store)
    await store._connection.command("SET", "awf:{00}:text", "x")

    answers = await asyncio.gather(
        *(store.version(run) for _ in range(5)),
        store._connection.command("HGET", "awf:{00}:text", "v"),
        *(store.version(run) for _ in range(5)),
        return_exceptions=True,
    )

    assert isinstance(answers[5], StoreError)
    assert "WRONGTYPE" in str(answers[5])
    assert answers[:5] + answers[6:] == [1] * 10


async def test_scripts_that_are_unknown_to_the_server_are_known_to_a_whole_packet(
    store: Store, started: Started
) -> None:
    runs = [await started(store) for _ in range(100)]
    await store._connection.command("SCRIPT FLUSH")

    found = await asyncio.gather(*(store.commit(Commit(run, 1, ("{}",))) for run in runs))

    assert found == [Committed(2)] * 100


async def test_requests_come_through_however_bursts_and_pauses_alternate(
    store: Store, started: Started
) -> None:
    run = await started(store)
    async with asyncio.timeout(30):
        for burst in range(200):
            found = await asyncio.gather(*(store.version(run) for _ in range(burst % 5)))
            assert found == [1] * (burst % 5)


async def test_whoever_leaves_does_not_hold_up_the_others(store: Store, started: Started) -> None:
    run = await started(store)
    tasks = [asyncio.create_task(store.version(run)) for _ in range(200)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()

    assert await asyncio.gather(*tasks[1::2]) == [1] * 100
    gone = await asyncio.gather(*tasks[::2], return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in gone)
    assert await store.version(run) == 1


async def test_whoever_waits_when_the_store_is_closed_is_told_so(
    open_store: Callable[..., Awaitable[Store]], started: Started
) -> None:
    store = await open_store()
    run = await started(store)
    tasks = [asyncio.create_task(store.version(run)) for _ in range(200)]
    await asyncio.sleep(0)

    await store.aclose()

    for answer in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(answer, StoreUnavailable)
        assert answer.reason == "Closed"
    with pytest.raises(StoreUnavailable, match="has closed its connection"):
        await store.version(run)


async def test_every_request_of_a_packet_learns_that_the_server_has_gone(
    server: EmbeddedValkey, started: Started
) -> None:
    async with await Store.connect(server.url) as store:
        run = await started(store)
        server.kill()

        answers = await asyncio.gather(
            *(store.version(run) for _ in range(100)), return_exceptions=True
        )

        reasons = {answer.reason for answer in answers if isinstance(answer, StoreUnavailable)}
        assert (len(answers), reasons) == (100, {"Connection"})
        assert not [answer for answer in answers if not isinstance(answer, StoreUnavailable)]
