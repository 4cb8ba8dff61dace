"""A store on every Redis that is at hand, and records to fill it with."""

import asyncio
import itertools
import os
import shutil
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pytest
from redis.asyncio import Redis

from agentworkflow.engine.valkey import EmbeddedValkey, EmbeddedValkeyError
from agentworkflow.store import Created, Finish, Start, Store
from agentworkflow.store.connection import Connection

DEBIAN_REDIS = shutil.which("redis-server")
NAMED_REDIS = os.environ.get("AGENTWORKFLOW_TEST_REDIS_URL")

_AT_HAND = ["valkey"]
if DEBIAN_REDIS:
    _AT_HAND.append("debian-redis")
if NAMED_REDIS:
    _AT_HAND.append("named-redis")


@pytest.fixture(scope="session")
def debian_redis_url() -> Iterator[str]:
    """Debian's own Redis.  `test_backends.py` says so where there is none."""
    assert DEBIAN_REDIS is not None
    server = EmbeddedValkey(options={"appendfsync": "no"}, binary=Path(DEBIAN_REDIS))
    asyncio.run(server.start())
    yield server.url
    asyncio.run(server.stop())


@pytest.fixture(scope="session")
def named_redis_url() -> str:
    """A Redis named by the environment.  Each test process has a database, emptied each time."""
    assert NAMED_REDIS is not None
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return f"{NAMED_REDIS.rstrip('/')}/{1 + int(worker)}"


@pytest.fixture(params=_AT_HAND)
def redis_url(request: pytest.FixtureRequest) -> str:
    fixture = {
        "valkey": "valkey_url",
        "debian-redis": "debian_redis_url",
        "named-redis": "named_redis_url",
    }[request.param]
    url: str = request.getfixturevalue(fixture)
    return url


class OpenStore(Protocol):
    def __call__(self, **options: Any) -> Awaitable[Store]: ...


@pytest.fixture
async def open_store(redis_url: str) -> AsyncIterator[OpenStore]:
    """Opens stores on one emptied server."""
    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
    async with AsyncExitStack() as stack:

        async def open_one(url: str = redis_url, **options: Any) -> Store:
            return await stack.enter_async_context(await Store.connect(url, **options))

        yield open_one


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    return await open_store()


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedValkey]:
    """A server that a test may break."""
    async with EmbeddedValkey() as own:
        yield own


def connection_of(store: Store) -> Connection:
    return store._connection


@pytest.fixture
def keys_of() -> Callable[[Store], Awaitable[list[str]]]:
    async def read(store: Store) -> list[str]:
        return sorted(key.decode() for key in await connection_of(store).command("KEYS", "*"))

    return read


@pytest.fixture
def run_id() -> Callable[..., str]:
    def make(shard: int = 0) -> str:
        return f"{uuid.uuid4()}-{shard:02x}"

    return make


@pytest.fixture
def start_of() -> Callable[..., Start]:
    """A Start with little in it; what a test is about it says itself."""
    created = itertools.count(1_000)

    def make(run: str, **changes: Any) -> Start:
        given: dict[str, Any] = {
            "namespace": "default",
            "workflow": "orders",
            "digest": "sha256:d1",
            "definition": '{"steps":[]}',
            "secret": "only-the-store-knows",
            "created_ms": next(created),
            "events": ('{"type":"run.created"}',),
            "fields": {"run": '{"st":"R"}'},
        }
        return Start(run=run, **{**given, **changes})

    return make


@pytest.fixture
def started(
    start_of: Callable[..., Start], run_id: Callable[..., str]
) -> Callable[..., Awaitable[str]]:
    """Creates a run and returns its id."""

    async def create(store: Store, run: str | None = None, shard: int = 0, **changes: Any) -> str:
        run = run or run_id(shard)
        result = await store.start(start_of(run, **changes))
        assert result == Created(run, len(changes.get("events", ("",))))
        return run

    return create


@pytest.fixture
def ending() -> Callable[..., Finish]:
    def make(**changes: Any) -> Finish:
        given: dict[str, Any] = {
            "namespace": "default",
            "workflow": "orders",
            "at_ms": 5_000,
            "purge_at_ms": 9_000,
        }
        return Finish(**{**given, **changes})

    return make


class Proxy:
    """Stands between a store and its server, and loses what it is told to lose."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self.lose_answers = 0
        self.refuse = False
        self.mute = False

    def cut(self) -> None:
        """Close every connection."""
        for writer in tuple(self._writers):
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            writer.close()
            return
        up_reader, up_writer = await asyncio.open_unix_connection(str(self._target))
        self._writers |= {writer, up_writer}

        async def copy(
            source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool
        ) -> None:
            try:
                while data := await source.read(1 << 16):
                    if self.mute:
                        continue
                    if answers and self.lose_answers > 0:
                        self.lose_answers -= 1
                        break
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            finally:
                writer.close()
                up_writer.close()

        await asyncio.gather(
            copy(reader, up_writer, answers=False), copy(up_reader, writer, answers=True)
        )
        self._writers -= {writer, up_writer}


@pytest.fixture
async def proxied(server: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of a server, and the URL of the proxy."""
    async with _proxy(server.socket, tmp_path / "p") as found:
        yield found


@asynccontextmanager
async def _proxy(target: Path, path: Path) -> AsyncIterator[tuple[Proxy, str]]:
    proxy = Proxy(target)
    listener = await asyncio.start_unix_server(proxy.serve, str(path))
    try:
        yield proxy, f"unix://{path}"
    finally:
        listener.close()
        proxy.cut()
        await listener.wait_closed()


Eventually: TypeAlias = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
def eventually() -> Eventually:
    """Waits for what a server does in its own time."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(20):
            while not await condition():  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)

    return wait


@dataclass(frozen=True)
class Cluster:
    """One server in cluster mode that serves every slot."""

    server: EmbeddedValkey
    port: int


@pytest.fixture
async def cluster(eventually: Eventually) -> AsyncIterator[Cluster]:
    found = await _start_cluster()
    async with found.server, await Store.connect(found.server.url) as store:
        await connection_of(store).command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

        async def is_up() -> bool:
            info = await connection_of(store).command("CLUSTER INFO")
            return bool(info["cluster_state"] == "ok")

        await eventually(is_up)
        yield found


async def _start_cluster() -> Cluster:
    while True:
        # A server in cluster mode cannot be asked for port 0, so a port is found and tried.
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            port, bus = one.getsockname()[1], two.getsockname()[1]
        server = EmbeddedValkey(
            options={
                "cluster-enabled": "yes",
                "bind": "127.0.0.1",
                "port": str(port),
                "cluster-port": str(bus),
            }
        )
        try:
            await server.start()
        except EmbeddedValkeyError as error:
            if "Address already in use" not in str(error):
                raise
        else:
            return Cluster(server, port)
