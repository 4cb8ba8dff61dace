"""Every script touches one slot, and only keys that it was handed: it works on Redis Cluster.

A server in cluster mode refuses a script that is handed keys of two slots.  It does not refuse one
that makes up a key of its own, as long as it serves that slot too; so MONITOR shows what each
script ran, and the server says which keys each command touches.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ClusterCrossSlotError

from agentworkflow.engine.valkey import EmbeddedValkey
from agentworkflow.store import Commit, Finish, Guard, Opening, Start, Store, WorkflowRecord
from agentworkflow.store.scripts import SCRIPTS

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NO_KEYS = {"TIME", "PUBLISH"}
_NAMES = {script.sha: script.name for script in SCRIPTS.values()}


class Cluster(Protocol):
    @property
    def server(self) -> EmbeddedValkey: ...
    @property
    def port(self) -> int: ...


class Monitored:
    """The scripts that a server ran, each with the keys it was handed and the commands it ran."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str], list[list[str]]]] = []

    def hear(self, line: str) -> None:
        words = _WORD.findall(line)
        if " lua]" in line:
            self.calls[-1][2].append(words)
        elif words and words[0].upper() in {"EVAL", "EVALSHA"}:
            if words[0].upper() == "EVAL" and self.calls and not self.calls[-1][2]:
                # The same call once more: EVALSHA met a server that did not know the script.
                name, _, _ = self.calls.pop()
            else:
                name = _NAMES.get(words[1], "?")
            self.calls.append((name, words[3 : 3 + int(words[2])], []))


@asynccontextmanager
async def _monitor(server: EmbeddedValkey, until: str) -> AsyncIterator[Monitored]:
    """Hear everything that the server runs, until it is asked to ECHO a mark."""
    reader, writer = await asyncio.open_unix_connection(str(server.socket), limit=1 << 24)
    writer.write(b"MONITOR\r\n")
    assert await reader.readline() == b"+OK\r\n"
    heard = Monitored()
    yield heard
    async with Redis.from_url(server.url) as client:
        await client.echo(until)
    while f'"{until}"' not in (line := (await reader.readline()).decode()):
        heard.hear(line)
    writer.close()
    await writer.wait_closed()


async def _do_everything(
    store: Store, run_id: Callable[..., str], start_of: Callable[..., Start]
) -> None:
    """Take every way through every script."""
    shard = 7
    first, second, third = run_id(shard), run_id(shard), run_id(shard)
    queued = Opening(("{}",), {"run": "{}"}, {f"timer|{second}|deadline": 1})
    start = start_of(
        first,
        session="ann",
        named=True,
        request_hash="h",
        queued=queued,
        fields={"run": "{}", "s:a": '{"n":1}'},
        due={f"call|{first}|a||1": 1},
        blobs={"b": b"b"},
    )
    for again in (start, start, start_of(first, session="ann", request_hash="x")):
        await store.start(again)
    await store.start(start_of(second, session="ann", queued=queued))
    await store.start(start_of(third, session="ann"))
    await store.start(start_of(third, digest="sha256:d2"))
    await store._connection.command("DEL", f"awf:{{{shard:02x}}}:def:sha256:d2")
    await store.start(start_of(run_id(shard), digest="sha256:d2"))

    await store.append_progress(first, Guard("s:a", 1), "{}")
    await store.put_blob(first, "c", b"c")
    commit = Commit(
        first,
        1,
        ("{}",),
        fields={"run": "{}"},
        drop_fields=("s:a",),
        due={f"hook|{first}": 1},
        undue=(f"call|{first}|a||1",),
        blobs={"d": b"d"},
    )
    for other in (commit, commit, Commit(first, 1, ("{}",)), Commit(run_id(shard), 1, ("{}",))):
        await store.commit(other)
    end = Finish("default", "orders", 1, 2, session="ann", session_value="1")
    ending = Commit(first, 2, ("{}",), finished=end)
    for other in (ending, ending, Commit(third, 1, ("{}",), finished=Finish("d", "w", 1, 2))):
        await store.commit(other)
    await store.commit(Commit(second, 1, ("{}",), finished=end))

    taken = await store.lease(shard, limit=9, lease_ms=1)
    assert taken
    await store.extend([due.member for due in taken], 1)
    await store.again(taken[0].member, 1)
    for version in (1, 3):
        await store.settle(f"hook|{first}", version)
    await store.ack([taken[0].member])
    for run in (first, second, third, first):
        await store.purge(run)
    await store.start(start)

    await store.put_event(first, b"x")
    await store.drop_event(first)
    await store.add_dead_letter("default", "l", "{}", 1)
    await store.remove_dead_letter("default", "l")
    record = WorkflowRecord("default", "orders", 1, "sha256:d", {})
    await store.publish(record)
    await store.withdraw("default", "orders")


async def test_every_script_touches_one_slot_and_only_keys_it_was_handed(
    cluster: Cluster, run_id: Callable[..., str], start_of: Callable[..., Start]
) -> None:
    async with await Store.connect(cluster.server.url, shards=64) as store:
        async with _monitor(cluster.server, until="that was all") as heard:
            await _do_everything(store, run_id, start_of)
        assert {name for name, _, _ in heard.calls} == set(SCRIPTS)
        for name, keys, commands in heard.calls:
            assert len({key_slot(key.encode()) for key in keys}) == 1, (name, keys)
            for command in commands:
                touched = await _keys_of(store, command)
                assert touched <= set(keys), (name, command)


async def _keys_of(store: Store, command: list[str]) -> set[str]:
    if command[0].upper() in _NO_KEYS:
        return set()
    found = await store._connection.command("COMMAND GETKEYS", *command)
    return {key if isinstance(key, str) else key.decode() for key in found}


async def test_such_a_server_refuses_a_script_that_is_handed_keys_of_two_slots(
    cluster: Cluster,
) -> None:
    async with Redis.from_url(cluster.server.url) as client:
        with pytest.raises(ClusterCrossSlotError):
            await client.register_script("return 1")(["awf:{00}:x", "awf:{01}:x"])


async def test_such_a_monitor_sees_a_key_that_was_not_handed_over(cluster: Cluster) -> None:
    async with await Store.connect(cluster.server.url) as store:
        async with _monitor(cluster.server, until="enough") as heard:
            await store._connection.command(
                "EVAL", "return redis.call('GET', 'awf:{01}:hidden')", 1, "awf:{00}:x"
            )
        ((_, keys, commands),) = heard.calls
        assert keys == ["awf:{00}:x"]
        assert await _keys_of(store, commands[0]) == {"awf:{01}:hidden"}


async def test_the_store_works_through_a_cluster_client(
    cluster: Cluster,
    run_id: Callable[..., str],
    start_of: Callable[..., Start],
    started: Callable[..., Awaitable[str]],
) -> None:
    url = f"redis+cluster://127.0.0.1:{cluster.port}"
    async with await Store.connect(url, shards=64) as store:
        await _do_everything(store, run_id, start_of)
        runs = [await started(store, shard=n, workflow="many") for n in range(64)]
        assert (await store.list_runs("default", "many", limit=99)).runs == tuple(runs[::-1])
        assert (await store.durability()).window == "None"
        async with store.subscribe(runs[5]) as grown:
            await store.commit(Commit(runs[5], 1, ("{}",)))
            async with asyncio.timeout(10):
                await grown.wait()
        assert await store.read_entries(runs[5], [1, 2]) == {
            1: '{"type":"run.created"}',
            2: "{}",
        }
