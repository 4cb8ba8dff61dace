"""The due set of each shard: calls, timers and publications, leased to one dispatcher at a time.

An entry is leased by moving its score to now + lease, by the server's clock.  A dispatcher that
dies simply lets its leases end.
"""

from collections import defaultdict
from collections.abc import Iterable

from agentworkflow.store import names
from agentworkflow.store.connection import Connection, scored, text
from agentworkflow.store.records import Due

__all__ = ["DueSet"]


class DueSet:
    """What is due in a store.  Part of `Store`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lease(self, shard: int, *, limit: int, lease_ms: int) -> list[Due]:
        """Take up to `limit` entries that are due, the oldest first.

        A server out of memory gives only `purge|…` entries, unleased: purging makes room.
        """
        outcome, taken, *_ = await self._connection.script(
            "lease", [names.due(shard)], [limit, lease_ms]
        )
        del outcome  # `full` is no different for whoever acts on the entries
        return [Due(member, due_ms) for member, due_ms in scored(taken)]

    async def next_due(self, shard: int) -> int | None:
        """When the earliest entry is due, leased or not, in ms; None if the set is empty."""
        found = await self._connection.command("ZRANGE", names.due(shard), 0, 0, "WITHSCORES")
        return scored(found)[0][1] if found else None

    async def extend(self, members: Iterable[str], lease_ms: int) -> frozenset[str]:
        """Renew leases.

        Returns:
            The members that are no longer due: their attempt or run has ended.
        """
        gone: set[str] = set()
        for shard, group in _by_shard(members).items():
            (missing,) = await self._connection.script(
                "extend", [names.due(shard)], [lease_ms, *group]
            )
            gone.update(text(member) for member in missing)
        return frozenset(gone)

    async def again(self, member: str, delay_ms: int) -> int | None:
        """Make an entry due again after a pause.

        Returns:
            How often this was done for the entry, counted across dispatchers and restarts;
            None if the entry is gone.
        """
        shard = names.shard_of_member(member)
        (times,) = await self._connection.script(
            "again", [names.due(shard), names.tries(shard)], [member, delay_ms], repeat=False
        )
        return None if times < 0 else int(times)

    async def settle(self, member: str, version: int) -> bool:
        """Remove a run's entry that was acted on with the run at `version`.

        For an entry that several commits may make due, as `hook|<run>`: `ack` would also remove
        what a commit has added while the caller was busy.

        Returns:
            False if the run has grown since; then the entry is due at once.
        """
        shard = names.shard_of_member(member)
        run = member.split("|")[1]
        (removed,) = await self._connection.script(
            "settle",
            [names.due(shard), names.tries(shard), names.head(run)],
            [member, version],
        )
        return bool(removed)

    async def ack(self, members: Iterable[str]) -> int:
        """Remove entries that are done; returns how many were there."""
        removed = 0
        for shard, group in _by_shard(members).items():
            (count,) = await self._connection.script(
                "ack", [names.due(shard), names.tries(shard)], group
            )
            removed += count
        return removed


def _by_shard(members: Iterable[str]) -> dict[int, list[str]]:
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for member in members:
        groups[names.shard_of_member(member)].append(member)
    return groups
