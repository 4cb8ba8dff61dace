"""Talks to Redis: one client, its time limits, retries and errors, and the clock in its answers.

Every script may be repeated after a lost answer without harm (it compares a call id, or doing it
twice is the same), except where the caller says otherwise.  redis-py's own retries are off: they
would hide how long a request has been waiting.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Self, TypeAlias, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from agentworkflow.store.batching import Batches
from agentworkflow.store.clock import StoreClock
from agentworkflow.store.errors import StoreUnavailable, translate
from agentworkflow.store.scripts import SCRIPTS

__all__ = ["Argument", "Connection", "optional_text", "scored", "text"]

Argument: TypeAlias = str | bytes | int
_T = TypeVar("_T")

_CLUSTER: Final = "+cluster://"

RETRY_FOR: Final = 1.0
"""Seconds during which a request is repeated while the connection fails: a restart of the
embedded server takes 0.2 s, and nobody should wait much longer for a 503."""

SOCKET_TIMEOUT: Final = 5.0
"""Seconds without an answer before a request has failed.  An fsync on a busy disk takes 0.1 s."""

CONNECTIONS: Final = 16
"""Packets use two; the others are for reads of many keys in one round trip."""


class Connection:
    """A client of one Redis or Redis Cluster, with our errors and our clock."""

    def __init__(self, url: str, *, client_name: str, cluster: bool = False) -> None:
        self.clustered = cluster or _CLUSTER in url
        self.url = url.replace(_CLUSTER, "://", 1)
        self.client_name = client_name
        self.clock = StoreClock()
        self._client: Redis | RedisCluster
        self._batches: Batches | None = None
        if self.clustered:
            self._client = RedisCluster.from_url(
                self.url,
                client_name=client_name,
                protocol=2,
                socket_timeout=SOCKET_TIMEOUT,
                socket_connect_timeout=SOCKET_TIMEOUT,
            )
        else:
            pool = BlockingConnectionPool.from_url(
                self.url,
                client_name=client_name,
                protocol=2,
                max_connections=CONNECTIONS,
                timeout=SOCKET_TIMEOUT,
                socket_timeout=SOCKET_TIMEOUT,
                socket_connect_timeout=SOCKET_TIMEOUT,
                retry=Retry(NoBackoff(), 0),
            )
            self._client = Redis.from_pool(pool)
            self._batches = Batches(self._client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._batches is not None:
            await self._batches.aclose()
        await self._client.aclose()

    def dedicated(self) -> Redis:
        """A client of its own for a subscriber: a blocking read has no time limit.

        In a cluster any node will do: PUBLISH reaches all of them.
        """
        return Redis.from_url(
            self.url,
            client_name=f"{self.client_name}-subscriber",
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=SOCKET_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )

    async def script(
        self, name: str, keys: Sequence[str], arguments: Sequence[Argument], *, repeat: bool = True
    ) -> list[Any]:
        """Run a script and return its reply without the time.

        Args:
            name: The script's file name without `.lua`.
            keys: Every key that it touches.
            arguments: Its ARGV.
            repeat: False if doing it twice differs from doing it once.
        """
        script = SCRIPTS[name]
        given = (len(keys), *keys, *arguments)

        async def run() -> list[Any]:
            asked = self.clock.monotonic()
            try:
                reply = await self._ask("EVALSHA", script.sha, *given)
            except NoScriptError:
                # A server that was restarted has forgotten it; EVAL also makes it known again.
                reply = await self._ask("EVAL", script.source, *given)
            self.clock.observe(asked, self.clock.monotonic(), reply[0])
            return list(reply[1:])

        return await self._attempt(name, run, repeat=repeat)

    async def command(self, *arguments: Argument) -> Any:
        """Run a command that may be repeated: a read, as a rule."""

        async def run() -> Any:
            return await self._ask(*arguments)

        return await self._attempt(str(arguments[0]), run, repeat=True)

    async def many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run reads in one round trip (one per node in a cluster)."""
        if not commands:
            return []

        async def run() -> list[Any]:
            pipeline = self._client.pipeline(transaction=False)
            for arguments in commands:
                pipeline.execute_command(*arguments)
            return list(await pipeline.execute())

        return await self._attempt(str(commands[0][0]), run, repeat=True)

    async def set_clock(self) -> None:
        """Ask for the time: its answer does not wait for an fsync, as a script's may."""
        for _ in range(3):
            asked = self.clock.monotonic()
            seconds, micros = await self.command("TIME")
            server_ms = int(seconds) * 1000 + int(micros) // 1000
            self.clock.observe(asked, self.clock.monotonic(), server_ms)

    async def _ask(self, *command: Argument) -> Any:
        # In a cluster the client finds the node of each command; packets are not worth it there.
        if self._batches is None:
            return await self._client.execute_command(*command)
        return await self._batches.ask(command)

    async def _attempt(self, action: str, run: Callable[[], Awaitable[_T]], *, repeat: bool) -> _T:
        give_up = self.clock.monotonic() + RETRY_FOR
        pause = 0.02
        while True:
            try:
                return await run()
            except (RedisError, OSError) as error:
                failure = translate(error, action)
                passing = isinstance(failure, StoreUnavailable) and failure.reason in {
                    "Connection",
                    "Loading",
                }
                if not (passing and repeat) or self.clock.monotonic() + pause > give_up:
                    raise failure from error
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads retries
            pause *= 2


def text(value: bytes) -> str:
    """Text of Redis: always UTF-8."""
    return value.decode()


def optional_text(value: bytes | None) -> str | None:
    """Text of Redis, or None where there is nothing."""
    return None if value is None else value.decode()


def scored(reply: Sequence[bytes]) -> list[tuple[str, int]]:
    """Members and scores, as a sorted set gives them: in turn.  A score of ours is in ms."""
    return [
        (text(member), int(float(score)))
        for member, score in zip(reply[::2], reply[1::2], strict=True)
    ]
