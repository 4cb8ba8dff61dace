"""The embedded Valkey: it keeps what it answered, and it leaves no process behind."""

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agentworkflow.engine.valkey import DataDirectoryInUse, EmbeddedValkey, EmbeddedValkeyError
from agentworkflow.store import Commit, Committed, Store

Started = Callable[..., Awaitable[str]]
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

_PARENT = """
import asyncio, pathlib, sys
from agentworkflow.engine.valkey import EmbeddedValkey

async def main():
    server = EmbeddedValkey(pathlib.Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def _runs(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_it_answers_on_a_socket_that_only_we_may_use(tmp_path: Path) -> None:
    async with EmbeddedValkey(tmp_path / "data") as server:
        async with await Store.connect(server.url) as store:
            assert (await store.durability()).window == "None"
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert server.running

    assert not server.running


async def test_what_was_committed_is_there_after_a_restart(
    tmp_path: Path, started: Started
) -> None:
    async with EmbeddedValkey(tmp_path) as server, await Store.connect(server.url) as store:
        run = await started(store)

    async with EmbeddedValkey(tmp_path) as server, await Store.connect(server.url) as store:
        assert await store.version(run) == 1


async def test_what_was_committed_is_there_after_a_kill_at_the_same_address(
    tmp_path: Path, started: Started
) -> None:
    async with EmbeddedValkey(tmp_path) as server, await Store.connect(server.url) as store:
        url = server.url
        run = await started(store)
        for version in range(1, 20):
            await store.commit(Commit(run, version, ("{}",)))

        server.kill()
        assert not server.running
        assert await server.start() == url

        assert await store.version(run) == 20


async def test_a_log_that_ends_in_the_middle_of_a_commit_loses_that_commit_only(
    tmp_path: Path, started: Started
) -> None:
    async with EmbeddedValkey(tmp_path) as server, await Store.connect(server.url) as store:
        run = await started(store)
        assert await store.commit(Commit(run, 1, ('{"whole":1}',))) == Committed(2)
        await store.commit(Commit(run, 2, ('{"half":1}',), fields={"run": "half"}))
        server.kill()
        (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
        whole = log.read_bytes()
        log.write_bytes(whole[: whole.rindex(b"half") + 2])
        await server.start()

        head = await store.load(run)
        assert head is not None
        assert (head.version, head.fields) == (2, {"run": '{"st":"R"}'})
        assert await store.commit(Commit(run, 2, ("{}",))) == Committed(3)


async def test_a_log_that_is_broken_in_the_middle_is_not_guessed_at(
    tmp_path: Path, started: Started
) -> None:
    async with EmbeddedValkey(tmp_path) as server:
        async with await Store.connect(server.url) as store:
            await started(store)
            await started(store)
        server.kill()
        (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
        whole = log.read_bytes()
        log.write_bytes(whole[:100] + b"\x00" * 50 + whole[150:])

        with pytest.raises(EmbeddedValkeyError, match=r"The end of its log:\n(.|\n)*AOF"):
            await server.start()


async def test_a_directory_that_is_in_use_is_refused_with_its_holder(tmp_path: Path) -> None:
    async with EmbeddedValkey(tmp_path) as server:
        with pytest.raises(DataDirectoryInUse) as caught:
            await EmbeddedValkey(tmp_path).start()
        assert server.running

    assert str(caught.value) == (
        f"The data directory {tmp_path} is in use by process {os.getpid()}. "
        "Stop that engine, or choose another --data-dir."
    )


async def test_a_temporary_directory_is_removed() -> None:
    server = EmbeddedValkey()
    await server.start()
    directory = server.directory
    assert directory.is_dir()

    await server.stop()

    assert not directory.exists()


async def test_a_directory_with_a_long_path_works(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    async with EmbeddedValkey(directory) as server, await Store.connect(server.url) as store:
        await store.ping()
        socket = server.socket
        server.kill()
        await server.start()
        assert server.socket == socket

    assert not socket.parent.exists()


async def test_a_setting_that_it_refuses_is_shown() -> None:
    with pytest.raises(EmbeddedValkeyError, match="argument must be a memory value"):
        await EmbeddedValkey(options={"maxmemory": "much"}).start()


async def test_its_end_is_noticed() -> None:
    async with EmbeddedValkey() as server:
        ended = asyncio.create_task(server.wait_ended())
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)

        async with asyncio.timeout(10):
            assert await ended == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
async def test_it_dies_with_a_parent_that_was_killed_and_the_next_one_takes_over(
    tmp_path: Path, eventually: Eventually
) -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220 - its output is one line
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _runs(pid)
    with pytest.raises(DataDirectoryInUse, match=f"in use by process {parent.pid}"):
        await EmbeddedValkey(tmp_path).start()

    parent.kill()
    parent.wait()
    parent.stdout.close()

    # Without waiting for the old server: it may hold the directory a little longer.
    async with EmbeddedValkey(tmp_path) as server, await Store.connect(server.url) as store:
        await store.ping()

        async def is_gone() -> bool:
            return not _runs(pid)

        await eventually(is_gone)
