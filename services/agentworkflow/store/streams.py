"""Event streams of the embedded broker: durable append, one consumer group per Trigger, retries.

Talks to Redis.
A broker is one stream.
A group's entries wait in the stream, are pending while they are delivered, and are *postponed*
between two attempts: a postponed entry is copied out of the stream, so that it holds up neither
the trimming of the stream nor the entries behind it, and it survives a restart.
Every key of one broker carries the same hash tag, so that each script stays in one slot.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError, ResponseError

from agentworkflow.store.errors import StoreError, translate
from agentworkflow.store.streams_lua import APPEND, CLAIM, RELEASE, SETTLE, TAKE, TICK, TRIM

# redis-py gives up on a silent socket after its timeout: a blocking read must end before that.
_SOCKET_TIMEOUT: Final = 10.0


class StreamFull(StoreError):  # noqa: N818 - named for the state, as queue.Full is
    """The stream already holds as many entries as it may; nothing was appended."""


class NoSuchGroup(StoreError):  # noqa: N818 - as above
    """The group does not exist: its stream was removed from Redis behind our back."""


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One event on its way to one group.

    Attributes:
        id: the id of the entry; a copy of an entry has its own.
        body: the event, as it was appended.
        state: what the last postponement said about it; empty for one that was never postponed.
    """

    id: str
    body: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class Postponed:
    """An entry to be taken again later: after ``delay_ms``, with what ``state`` says about it."""

    id: str
    body: str
    state: str
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a consumer took: ``next_due_ms`` is how long until the next postponed entry is due."""

    entries: tuple[StreamEntry, ...]
    next_due_ms: int | None
    postponed: int


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of one broker and, where given, one group."""

    tag: str
    group: str = ""

    @property
    def stream(self) -> str:
        return f"{self.tag}:events"

    @property
    def due(self) -> str:
        return f"{self.tag}:due:{self.group}"

    @property
    def records(self) -> str:
        return f"{self.tag}:records:{self.group}"

    @property
    def holders(self) -> str:
        return f"{self.tag}:holders:{self.group}"

    def tick(self, source: str) -> str:
        return f"{self.tag}:tick:{source}"


def _keys(broker: str, group: str = "") -> _Keys:
    return _Keys(tag=f"awf:{{broker:{broker}}}", group=group)


class Streams:
    """The streams of all brokers in one Redis.

    ``broker`` is ``<namespace>/<name>``, ``group`` names a Trigger, ``consumer`` an engine.
    Every method raises `StoreUnavailable` when Redis does not answer.
    """

    def __init__(self, client: "redis_asyncio.Redis") -> None:
        self._client = client
        register = client.register_script
        self._append = register(APPEND)
        self._claim = register(CLAIM)
        self._release = register(RELEASE)
        self._settle = register(SETTLE)
        self._take = register(TAKE)
        self._tick = register(TICK)
        self._trim = register(TRIM)

    @classmethod
    async def connect(cls, url: str, *, client_name: str = "agentworkflow-broker") -> Self:
        """Connect to the Redis at ``url`` (``redis://…`` or ``unix://…``)."""
        client = redis_asyncio.Redis.from_url(
            url,
            client_name=client_name,
            decode_responses=True,
            socket_timeout=_SOCKET_TIMEOUT,
            socket_connect_timeout=_SOCKET_TIMEOUT,
        )
        streams = cls(client)
        try:
            await streams._run(client.ping())
        except StoreError:
            await client.aclose()
            raise
        return streams

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def append(self, broker: str, bodies: Sequence[str], *, limit: int) -> None:
        """Append all of ``bodies`` or none of them.

        With ``appendfsync always``, which the engine asks of its Redis, they are on disk when this
        returns.

        Raises:
            StreamFull: the stream would hold more than ``limit`` entries.
        """
        keys = _keys(broker)
        if not await self._run(self._append(keys=[keys.stream], args=[limit, *bodies])):
            raise StreamFull(f"broker {broker} already holds {limit} events")

    async def append_tick(
        self, broker: str, source: str, tick_ms: int, body: str, *, limit: int
    ) -> bool:
        """Append what a schedule fires at ``tick_ms``, once: False if it has fired that or later.

        Raises:
            StreamFull: as for `append`; the tick then counts as not fired.
        """
        keys = _keys(broker)
        answer = await self._run(
            self._tick(keys=[keys.stream, keys.tick(source)], args=[limit, tick_ms, body])
        )
        if answer < 0:
            raise StreamFull(f"broker {broker} already holds {limit} events")
        return bool(answer)

    async def open_group(self, broker: str, group: str) -> None:
        """Create the group, for events appended from now on; one that exists goes on."""
        try:
            await self._run(
                self._client.xgroup_create(_keys(broker).stream, group, id="$", mkstream=True)
            )
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def drop_group(self, broker: str, group: str) -> None:
        """Remove the group with everything that waits in it."""
        keys = _keys(broker, group)
        try:
            await self._run(self._client.xgroup_destroy(keys.stream, group))
        except ResponseError as error:
            if "requires the key to exist" not in str(error):
                raise
        await self._run(self._client.delete(keys.due, keys.records, keys.holders))

    async def groups(self, broker: str) -> frozenset[str]:
        """The groups that the stream of a broker has, served or not."""
        try:
            found = await self._run(self._client.xinfo_groups(_keys(broker).stream))
        except StoreError as error:
            if "no such key" in str(error):
                return frozenset()
            raise
        return frozenset(each["name"] for each in found)

    async def take(
        self, broker: str, group: str, consumer: str, *, fresh: int, postponed: int, lease_ms: int
    ) -> Taken:
        """Take up to ``fresh`` new entries and up to ``postponed`` that are due.

        A postponed entry that is taken becomes due again after ``lease_ms`` unless it is renewed.
        """
        keys = _keys(broker, group)
        answer = await self._run(
            self._take(
                keys=[keys.stream, keys.due, keys.records, keys.holders],
                args=[group, consumer, fresh, postponed, lease_ms],
            )
        )
        new, again, next_due, waiting = answer
        entries = [StreamEntry(entry_id, body) for entry_id, body in new]
        entries += [StreamEntry(entry_id, body, state) for entry_id, body, state in again]
        return Taken(tuple(entries), None if next_due < 0 else next_due, waiting)

    async def settle(
        self,
        broker: str,
        group: str,
        done: Iterable[str],
        *,
        postpone: Sequence[Postponed] = (),
        replies: Sequence[str] = (),
    ) -> None:
        """Finish entries, keep others for later and append replies, all in one script.

        Replies are taken even by a full stream: each follows an entry that just left its group, so
        they cannot pile up, and refusing them would stop the one thing that makes room.
        """
        keys = _keys(broker, group)
        finished = list(done)
        args: list[str | int] = [group, len(finished), *finished, len(postpone)]
        for entry in postpone:
            args += [entry.id, entry.body, entry.state, entry.delay_ms]
        args += replies
        await self._run(
            self._settle(keys=[keys.stream, keys.due, keys.records, keys.holders], args=args)
        )

    async def renew(
        self, broker: str, group: str, consumer: str, ids: Iterable[str], *, lease_ms: int
    ) -> None:
        """Say that the consumer still works on these entries."""
        keys = _keys(broker, group)
        await self._run(
            self._claim(
                keys=[keys.stream, keys.due, keys.holders],
                args=[group, consumer, lease_ms, *ids],
            )
        )

    async def recover(
        self, broker: str, group: str, consumer: str, *, limit: int = 1000
    ) -> tuple[StreamEntry, ...]:
        """Give back what this consumer held when its process died.

        Fresh entries are returned; postponed ones are made due at once.
        """
        keys = _keys(broker, group)
        await self._run(self._release(keys=[keys.due, keys.holders], args=[consumer]))
        answer = await self._run(
            self._client.xreadgroup(group, consumer, {keys.stream: "0"}, count=limit)
        )
        return await self._present(keys, group, [pair for _, pairs in answer for pair in pairs])

    async def claim_abandoned(
        self, broker: str, group: str, consumer: str, *, idle_ms: int, limit: int
    ) -> tuple[StreamEntry, ...]:
        """Take over entries that another consumer has neither settled nor renewed for long."""
        keys = _keys(broker, group)
        answer = await self._run(
            self._client.xautoclaim(
                keys.stream, group, consumer, min_idle_time=idle_ms, count=limit
            )
        )
        return await self._present(keys, group, answer[1])

    async def trim(self, broker: str, groups: Sequence[str], *, room: int) -> None:
        """Drop the entries that every group has settled.

        A group that is not in ``groups`` (nobody serves its Trigger now) holds its entries only
        while the stream is not longer than ``room``.
        """
        await self._run(self._trim(keys=[_keys(broker).stream], args=[room, *groups]))

    async def length(self, broker: str) -> int:
        """How many entries the stream holds."""
        return int(await self._run(self._client.xlen(_keys(broker).stream)))

    async def position(self, broker: str) -> str:
        """The id of the last entry ever appended."""
        last = await self._run(self._client.xrevrange(_keys(broker).stream, count=1))
        return str(last[0][0]) if last else "0-0"

    async def wait(self, broker: str, after: str, *, block_ms: int) -> str:
        """Wait until something is appended behind ``after``; returns the last id seen."""
        answer = await self._run(
            self._client.xread({_keys(broker).stream: after}, block=block_ms, count=1000)
        )
        return str(answer[0][1][-1][0]) if answer else after

    async def _present(
        self, keys: _Keys, group: str, pairs: Iterable[tuple[str | None, dict[str, str] | None]]
    ) -> tuple[StreamEntry, ...]:
        """Keep what still has a body; a pending entry whose body was trimmed is settled."""
        entries, gone = [], []
        for entry_id, fields in pairs:
            if fields and entry_id is not None:
                entries.append(StreamEntry(entry_id, fields["e"]))
            elif entry_id is not None:  # Redis 6.2 does not say which entry is gone
                gone.append(entry_id)
        if gone:
            await self._run(self._client.xack(keys.stream, group, *gone))
        return tuple(entries)

    async def _run(self, command: Any) -> Any:
        """Await a command; its error becomes one of the store's."""
        try:
            return await command
        except ResponseError as error:
            if "NOGROUP" in str(error):
                raise NoSuchGroup(str(error)) from error
            if "BUSYGROUP" in str(error) or "requires the key to exist" in str(error):
                raise
            raise translate(error, "a command of the broker") from error
        except (RedisError, OSError) as error:
            raise translate(error, "a command of the broker") from error
