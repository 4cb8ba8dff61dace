"""When the server cannot answer, the caller learns why, and nothing is done twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest

from agentworkflow.engine.valkey import EmbeddedValkey
from agentworkflow.store import (
    Commit,
    Committed,
    Conflict,
    Created,
    Due,
    Finish,
    Guard,
    Start,
    Store,
    StoreUnavailable,
)

Started = Callable[..., Awaitable[str]]


class Proxy(Protocol):
    lose_answers: int
    refuse: bool

    def cut(self) -> None: ...


@pytest.fixture
async def own(server: EmbeddedValkey) -> AsyncIterator[Store]:
    async with await Store.connect(server.url) as store:
        yield store


async def _set(store: Store, name: str, value: str) -> None:
    await store._connection.command("CONFIG SET", name, value)


async def test_a_server_that_is_not_there_is_unavailable_soon(tmp_path: Path) -> None:
    async with asyncio.timeout(4):
        with pytest.raises(StoreUnavailable) as caught:
            await Store.connect(f"unix://{tmp_path}/nobody.sock")

    assert caught.value.reason == "Connection"


async def test_a_commit_whose_answer_is_lost_is_applied_once(
    proxied: tuple[Proxy, str], started: Started
) -> None:
    proxy, url = proxied
    async with await Store.connect(url) as store:
        run = await started(store)
        await store.commit(Commit(run, 1, ("{}",)))
        proxy.lose_answers = 1

        assert await store.commit(Commit(run, 2, ('{"n":3}',))) == Committed(3)

        assert proxy.lose_answers == 0
        assert len(await store.read_log(run)) == 3


async def test_a_start_whose_answer_is_lost_says_created(
    proxied: tuple[Proxy, str], start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    proxy, url = proxied
    run = run_id()
    async with await Store.connect(url) as store:
        proxy.lose_answers = 1

        assert await store.start(start_of(run)) == Created(run, 1)

        assert proxy.lose_answers == 0


async def test_progress_whose_answer_is_lost_is_not_repeated(
    proxied: tuple[Proxy, str], started: Started
) -> None:
    proxy, url = proxied
    async with await Store.connect(url) as store:
        run = await started(store, fields={"run": "{}", "s:a": '{"n":1}'})
        # The first one makes the script known; the lost answer is then that of the script.
        await store.append_progress(run, Guard("s:a", 1), "{}")
        proxy.lose_answers = 1

        with pytest.raises(StoreUnavailable) as caught:
            await store.append_progress(run, Guard("s:a", 1), "{}")

        assert caught.value.outcome_unknown
        assert len(await store.read_log(run)) == 3


async def test_a_store_whose_connections_were_cut_goes_on(
    proxied: tuple[Proxy, str], started: Started
) -> None:
    proxy, url = proxied
    async with await Store.connect(url) as store:
        run = await started(store)
        for version in range(1, 6):
            proxy.cut()
            assert await store.commit(Commit(run, version, ("{}",))) == Committed(version + 1)


async def test_what_was_answered_survives_a_kill_of_the_server(
    server: EmbeddedValkey, own: Store, started: Started
) -> None:
    run = await started(own)
    assert await own.commit(Commit(run, 1, ('{"n":2}',))) == Committed(2)

    server.kill()
    with pytest.raises(StoreUnavailable):
        await own.ping()
    await server.start()

    # The new server does not know the scripts, nor this client.
    assert await own.commit(Commit(run, 1, ("{}",))) == Conflict(2, ('{"n":2}',))


async def test_a_commit_during_a_restart_of_the_server_succeeds(
    server: EmbeddedValkey, own: Store, started: Started
) -> None:
    run = await started(own)
    server.kill()

    committed, _ = await asyncio.gather(own.commit(Commit(run, 1, ("{}",))), server.start())

    assert committed == Committed(2)


async def test_scripts_that_the_server_has_forgotten_are_sent_again(
    store: Store, started: Started
) -> None:
    run = await started(store)
    await store.commit(Commit(run, 1, ("{}",)))
    await store._connection.command("SCRIPT FLUSH")

    assert await store.commit(Commit(run, 2, ("{}",))) == Committed(3)


async def test_a_server_out_of_memory_refuses_writes_whole_and_answers_reads(
    own: Store, started: Started, start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    run = await started(own)
    await _set(own, "maxmemory", "1")
    commit = Commit(
        run, 1, ("{}",), fields={"run": "new"}, due={f"hook|{run}": 1}, blobs={"b": b"b"}
    )

    for write in (own.commit(commit), own.start(start_of(run_id()))):
        with pytest.raises(StoreUnavailable) as caught:
            await write
        assert caught.value.reason == "OutOfMemory"
        assert "raise it or shorten results.ttl" in str(caught.value)
        assert not caught.value.outcome_unknown

    head = await own.load(run)
    assert head is not None
    assert (head.version, head.fields) == (1, {"run": '{"st":"R"}'})
    assert await own.next_due(0) is None
    await _set(own, "maxmemory", "0")
    assert await own.commit(commit) == Committed(2)


async def test_a_server_out_of_memory_can_still_be_purged(
    own: Store, started: Started, ending: Callable[..., Finish]
) -> None:
    run = await started(own, named=True, session="ann", blobs={"b": b"x" * 1000})
    finish = ending(purge_at_ms=5, session="ann")
    await own.commit(Commit(run, 1, ("{}",), due={f"hook|{run}": 1}, finished=finish))
    await _set(own, "maxmemory", "1")

    assert await own.lease(0, limit=9, lease_ms=1_000) == [Due(f"purge|{run}", 5)]
    assert await own.purge(run)

    assert await own.load(run) is None


async def test_a_read_only_replica_is_unavailable_for_writes(own: Store, started: Started) -> None:
    run = await started(own)
    await own._connection.command("REPLICAOF", "127.0.0.1", "1")

    with pytest.raises(StoreUnavailable, match="point the URL at the primary") as caught:
        await own.commit(Commit(run, 1, ("{}",)))

    assert caught.value.reason == "ReadOnly"


async def test_a_server_that_cannot_write_its_disk_is_unavailable(
    server: EmbeddedValkey,
    own: Store,
    started: Started,
    eventually: Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]],
) -> None:
    run = await started(own)
    # A snapshot cannot replace a folder, so it fails.
    (server.directory / "dump.rdb" / "in the way").mkdir(parents=True)
    await _set(own, "save", "3600 1")
    await own._connection.command("BGSAVE")

    async def has_failed() -> bool:
        info = await own._connection.command("INFO", "persistence")
        return bool(info["rdb_last_bgsave_status"] == "err")

    await eventually(has_failed)

    with pytest.raises(StoreUnavailable, match="free space or check its log") as caught:
        await own.commit(Commit(run, 1, ("{}",)))

    assert caught.value.reason == "Disk"
    assert await own.version(run) == 1
    await _set(own, "save", "")  # or the server would not end before it has saved


async def test_a_wrong_password_is_told_so(server: EmbeddedValkey, own: Store) -> None:
    await _set(own, "requirepass", "secret")

    with pytest.raises(StoreUnavailable, match="refused the user or password") as caught:
        await Store.connect(f"{server.url}?password=wrong")

    assert caught.value.reason == "Authentication"
    async with await Store.connect(f"{server.url}?password=secret") as store:
        await store.ping()
