"""Fixtures of every test: a real Valkey per test process, and a store that is empty.

Each xdist worker has a server of its own, on a Unix socket in a temporary directory, so tests run
in parallel and need no port.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from agentworkflow.engine.valkey import EmbeddedValkey
from agentworkflow.store import Store


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[EmbeddedValkey]:
    # No test of a healthy server depends on fsync; those of crashes start servers of their own.
    server = EmbeddedValkey(options={"appendfsync": "no"})
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture(scope="session")
def valkey_url(valkey_server: EmbeddedValkey) -> str:
    return valkey_server.url


@pytest.fixture
async def store(valkey_url: str) -> AsyncIterator[Store]:
    """An empty store with one shard, as the embedded engine has."""
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()
    async with await Store.connect(valkey_url) as opened:
        yield opened
