"""The store: everything that is kept, behind one object.

Each concept has a class of its own; `Store` puts them on one connection.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

from agentworkflow.store import names
from agentworkflow.store.connection import Connection
from agentworkflow.store.due_set import DueSet
from agentworkflow.store.durability import Durability, read_durability
from agentworkflow.store.errors import StoreError
from agentworkflow.store.growth import Growth
from agentworkflow.store.letters import Letters
from agentworkflow.store.registry import Registry
from agentworkflow.store.run_index import RunIndex
from agentworkflow.store.run_log import RunLog

__all__ = ["Store"]

_MAX_SHARDS: Final = 256
"""A run id has two hex digits for its shard."""

_TOMBSTONE_MS: Final = 30 * 24 * 3600 * 1000


class Store(RunLog, DueSet, RunIndex, Registry, Letters):
    """All state, in a Redis 6.2 or later, a Valkey, or a Redis Cluster.

    Methods raise `StoreUnavailable` when the server cannot answer now.
    """

    def __init__(self, connection: Connection, *, shards: int, tombstone_ms: int) -> None:
        channels = [names.grown(shard) for shard in range(shards)]
        growth = Growth(connection, [*channels, names.REGISTRY_CHANGED])
        RunLog.__init__(self, connection, shards=shards, tombstone_ms=tombstone_ms)
        DueSet.__init__(self, connection)
        RunIndex.__init__(self, connection, shards=shards)
        Registry.__init__(self, connection, growth)
        Letters.__init__(self, connection)
        self.shards = shards

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        shards: int = 1,
        client_name: str = "agentworkflow",
        cluster: bool = False,
        tombstone_ms: int = _TOMBSTONE_MS,
    ) -> Self:
        """Connect and set the clock.

        Args:
            url: `redis://`, `rediss://` or `unix://`, as redis-py takes it, and
                `redis+cluster://` or `rediss+cluster://` for a Redis Cluster.
            shards: 1 when embedded, 64 on clusters; every process of one installation and every
                release after it must use the same.
            client_name: Shown by `CLIENT LIST`; no spaces.
            cluster: The server is a Redis Cluster.
            tombstone_ms: How long the id of a purged run that was not random stays taken.

        Raises:
            StoreUnavailable: The server does not answer.
        """
        if not 1 <= shards <= _MAX_SHARDS:
            raise StoreError(f"there cannot be {shards} shards; choose 1 to {_MAX_SHARDS}")
        connection = Connection(url, client_name=client_name, cluster=cluster)
        try:
            await connection.set_clock()
        except BaseException:
            await connection.aclose()
            raise
        return cls(connection, shards=shards, tombstone_ms=tombstone_ms)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; watchers are not woken any more."""
        await self._growth.aclose()
        await self._connection.aclose()

    async def ping(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            StoreUnavailable: There was none.
        """
        await self._connection.set_clock()

    def now_ms(self) -> int:
        """The server's time, in milliseconds since the epoch; it costs no round trip."""
        return self._connection.clock.now_ms()

    async def durability(self) -> Durability:
        """Read which writes a crash of the server may lose."""
        return await read_durability(self._connection)

    @asynccontextmanager
    async def subscribe(self, run: str) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set whenever the run's log may have grown.

        Clear it, then read the log, then wait for it: in this order nothing is missed.
        """
        async with self._growth.watch(names.grown(names.parse_shard(run)), run) as grown:
            yield grown
