"""Watchers are woken when there is something to read, also after a lost connection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import pytest

from agentworkflow.engine.valkey import EmbeddedValkey
from agentworkflow.store import Commit, Guard, Start, Store, WorkflowRecord, growth, registry

Started = Callable[..., Awaitable[str]]
OpenStore = Callable[..., Awaitable[Store]]


class Proxy(Protocol):
    lose_answers: int
    refuse: bool
    mute: bool

    def cut(self) -> None: ...


async def _woken(event: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await event.wait()


async def test_a_watcher_is_woken_by_a_commit_of_another_process(
    open_store: OpenStore, started: Started
) -> None:
    writer, watcher = await open_store(shards=64), await open_store(shards=64)
    run = await started(writer, shard=17)
    async with watcher.subscribe(run) as grown:
        grown.clear()
        await writer.commit(Commit(run, 1, ("{}",)))
        await _woken(grown)

    assert [stream_id for stream_id, _ in await watcher.read_log(run)] == ["1-0", "2-0"]


async def test_a_watcher_is_woken_by_the_start_and_by_progress(
    store: Store, start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    run = run_id()
    async with store.subscribe(run) as grown:
        grown.clear()
        await store.start(start_of(run, fields={"run": "{}", "s:a": '{"n":1}'}))
        await _woken(grown)
        grown.clear()
        await store.append_progress(run, Guard("s:a", 1), "{}")
        await _woken(grown)


async def test_every_watcher_of_a_run_is_woken_and_no_other(store: Store, started: Started) -> None:
    run, other = await started(store), await started(store)
    async with (
        store.subscribe(run) as one,
        store.subscribe(run) as two,
        store.subscribe(other) as three,
    ):
        for event in (one, two, three):
            event.clear()
        await store.commit(Commit(run, 1, ("{}",)))
        await _woken(one)
        await _woken(two)
        assert not three.is_set()


async def test_watchers_that_have_left_leave_nothing(store: Store, started: Started) -> None:
    run = await started(store)
    for _ in range(3):
        async with store.subscribe(run):
            pass

    assert not store._growth._watchers


async def test_nothing_is_missed_between_reading_and_waiting(
    open_store: OpenStore, started: Started
) -> None:
    writer, watcher = await open_store(), await open_store()
    run = await started(writer)

    async def follow() -> list[str]:
        seen: list[str] = []
        async with watcher.subscribe(run) as grown:
            while len(seen) < 101:
                grown.clear()
                found = await watcher.read_log(run, after=seen[-1] if seen else "0-0")
                seen += [stream_id for stream_id, _ in found]
                if not found:
                    await grown.wait()
        return seen

    async def write() -> None:
        for version in range(1, 101):
            await writer.commit(Commit(run, version, ("{}",)))

    async with asyncio.timeout(30):
        seen, _ = await asyncio.gather(follow(), write())

    assert seen == [f"{n}-0" for n in range(1, 102)]


async def test_a_watcher_whose_connection_was_lost_is_woken_when_it_is_back(
    server: EmbeddedValkey, proxied: tuple[Proxy, str], started: Started
) -> None:
    proxy, url = proxied
    async with await Store.connect(server.url) as writer, await Store.connect(url) as watcher:
        run = await started(writer)
        async with watcher.subscribe(run) as grown:
            grown.clear()
            proxy.refuse = True
            proxy.cut()
            # Nobody hears this one.
            await writer.commit(Commit(run, 1, ("{}",)))
            proxy.refuse = False
            await _woken(grown)
            assert len(await watcher.read_log(run)) == 2
            grown.clear()
            await writer.commit(Commit(run, 2, ("{}",)))
            await _woken(grown)


async def test_a_connection_that_has_gone_silent_is_replaced(
    server: EmbeddedValkey,
    proxied: tuple[Proxy, str],
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(growth, "_QUIET", 0.1)
    proxy, url = proxied
    async with await Store.connect(server.url) as writer, await Store.connect(url) as watcher:
        run = await started(writer)
        async with watcher.subscribe(run) as grown:
            # As a network does that drops everything and closes nothing.
            proxy.mute = True
            grown.clear()
            await writer.commit(Commit(run, 1, ("{}",)))
            async with asyncio.timeout(10):
                while watcher._growth._listening.is_set():  # noqa: ASYNC110 - nobody is told
                    await asyncio.sleep(0.01)
            proxy.mute = False
            await _woken(grown)


async def test_a_quiet_server_is_asked_and_kept(
    server: EmbeddedValkey, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "_QUIET", 0.02)
    async with await Store.connect(server.url) as store:
        run = await started(store)

        async def pings() -> int:
            info = await store._connection.command("INFO", "commandstats")
            return int(info.get("cmdstat_ping", {"calls": 0})["calls"])

        before = await pings()
        async with store.subscribe(run) as grown:
            grown.clear()
            while await pings() < before + 3:
                continue
            assert not grown.is_set()


async def test_a_change_of_the_registry_that_nobody_was_told_of_is_found(
    server: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_CHECK_EVERY", 0.02)
    async with await Store.connect(server.url) as store:
        changes = store.watch_registry()
        async with asyncio.timeout(10):
            assert await anext(changes) == 0
            await store._connection.command("INCR", "awf:{registry}:version")
            assert await anext(changes) == 1


async def test_a_watcher_survives_a_restart_of_the_server(
    server: EmbeddedValkey, started: Started
) -> None:
    async with await Store.connect(server.url) as store:
        run = await started(store)
        async with store.subscribe(run) as grown:
            grown.clear()
            server.kill()
            await server.start()
            await _woken(grown)
            grown.clear()
            await store.commit(Commit(run, 1, ("{}",)))
            await _woken(grown)


async def test_a_watcher_of_the_registry_survives_a_restart_of_the_server(
    server: EmbeddedValkey,
) -> None:
    record = WorkflowRecord("default", "orders", 1, "sha256:d", {})
    async with await Store.connect(server.url) as store:
        changes = store.watch_registry()
        async with asyncio.timeout(20):
            assert await anext(changes) == 0
            server.kill()
            await server.start()
            await store.publish(record)
            assert await anext(changes) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_store_can_be_closed_with_or_without_watchers(
    open_store: OpenStore, run_id: Callable[..., str], when: str
) -> None:
    store = await open_store()
    if when == "after":
        async with store.subscribe(run_id()):
            pass
    await store.aclose()
