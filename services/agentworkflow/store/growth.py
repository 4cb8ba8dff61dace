"""Wakes whoever watches a run when its log grows.

One subscriber per store serves every watcher.  A notice says only that there is something to read:
one that is lost with a connection is made good by waking everybody once the connection is back.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NoReturn

import structlog
from redis.asyncio.client import PubSub

from agentworkflow.store.connection import Connection, text
from agentworkflow.store.tasks import end_tasks

__all__ = ["Growth"]

_QUIET: Final = 10.0
"""Seconds of silence after which the server is asked whether it is still there."""

_PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds before each attempt to connect again; the last one repeats."""

_CONFIRM: Final = 2.0
"""Seconds that a new watcher waits for the subscription; then it is woken when there is one."""

_log = structlog.get_logger(__name__)


class Growth:
    """The subscriber of a store.

    Watchers of a channel are woken by any message on it, or, if they gave a key, by messages that
    are that key.
    """

    def __init__(self, connection: Connection, channels: Sequence[str]) -> None:
        self._connection = connection
        self._channels = tuple(channels)
        self._watchers: defaultdict[tuple[str, str | None], set[asyncio.Event]] = defaultdict(set)
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    async def aclose(self) -> None:
        """Stop listening."""
        if self._task is not None:
            await end_tasks([self._task])
            self._task = None

    @contextlib.asynccontextmanager
    async def watch(self, channel: str, key: str | None = None) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set whenever there may be something new.

        Clear it, then read, then wait: in this order nothing is missed.
        """
        woken = asyncio.Event()
        self._watchers[channel, key].add(woken)
        try:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._listen(), name="store-growth")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CONFIRM):
                    await self._listening.wait()
            yield woken
        finally:
            watchers = self._watchers[channel, key]
            watchers.discard(woken)
            if not watchers:
                del self._watchers[channel, key]

    async def _listen(self) -> None:
        while True:
            try:
                async with (
                    self._connection.dedicated() as client,
                    client.pubsub(ignore_subscribe_messages=False) as subscriber,
                ):
                    await subscriber.subscribe(*self._channels)
                    await self._hear(subscriber)
            except Exception as error:  # noqa: BLE001 - were this to end, watchers would hang
                if self._failures == 0:
                    _log.warning("store.subscriber_lost", error=str(error))
            finally:
                self._listening.clear()
            await asyncio.sleep(_PAUSES[min(self._failures, len(_PAUSES) - 1)])
            self._failures += 1

    async def _hear(self, subscriber: PubSub) -> NoReturn:
        confirmed: set[str] = set()
        asked = False
        while True:
            message = await subscriber.get_message(timeout=_QUIET)
            if message is None:
                if asked:
                    raise OSError(f"no sign of life for {2 * _QUIET:g} s")
                await subscriber.ping()
                asked = True
                continue
            asked = False
            if message["type"] == "message":
                self._wake(message)
            elif message["type"] == "subscribe":
                confirmed.add(text(message["channel"]))
                if len(confirmed) == len(self._channels) and not self._listening.is_set():
                    self._failures = 0
                    self._listening.set()
                    self._wake_all()

    def _wake(self, message: dict[str, Any]) -> None:
        channel = text(message["channel"])
        for key in (text(message["data"]), None):
            for woken in self._watchers.get((channel, key), ()):
                woken.set()

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            for woken in watchers:
                woken.set()
