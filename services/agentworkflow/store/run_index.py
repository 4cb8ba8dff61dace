"""Lists of runs, newest first, over all shards.

Each shard has a sorted set of active and one of finished runs per workflow, scored by creation:
a run keeps its place when it ends.
"""

import heapq
from collections.abc import Iterable
from typing import Literal, TypeAlias

from agentworkflow.runs.ids import shard_of_session
from agentworkflow.store import names
from agentworkflow.store.connection import Connection, text
from agentworkflow.store.places import Place, read_cursor, read_newest, write_cursor
from agentworkflow.store.records import Page

__all__ = ["RunIndex", "StateGroup"]

StateGroup: TypeAlias = Literal["active", "finished"]


class RunIndex:
    """The lists of a store.  Part of `Store`."""

    def __init__(self, connection: Connection, *, shards: int) -> None:
        self._connection = connection
        self._shards = shards

    async def list_runs(
        self,
        namespace: str,
        workflow: str | None = None,
        *,
        state: StateGroup | None = None,
        session: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """List runs of a namespace, newest first.

        Args:
            namespace: Where to look.
            workflow: Only runs of this workflow.
            state: Only runs that have not ended (`active`) or that have (`finished`).
            session: Only runs of this session.
            limit: At most so many.
            cursor: From the page before.

        Raises:
            BadCursor: The cursor was not made by this method.
        """
        before = None if cursor is None else read_cursor(cursor)
        workflows = [workflow] if workflow is not None else await self._workflows(namespace)
        if session is None:
            groups: list[StateGroup] = ["active", "finished"] if state is None else [state]
            keys = self._sets(namespace, workflows, groups)
            found = await read_newest(self._connection, keys, limit, before)
        else:
            found = []
            for name in workflows:
                found += await self._of_session(namespace, name, session, state, limit, before)
            found = heapq.nlargest(limit + 1, found)
        page = found[:limit]
        return Page(
            runs=tuple(place.member for place in page),
            cursor=write_cursor(page[-1]) if page and len(found) > limit else None,
        )

    async def _workflows(self, namespace: str) -> list[str]:
        found = await self._connection.many(
            [("SMEMBERS", names.workflows(shard, namespace)) for shard in range(self._shards)]
        )
        return sorted({text(name) for group in found for name in group})

    def _sets(
        self, namespace: str, workflows: Iterable[str], groups: Iterable[StateGroup]
    ) -> list[str]:
        name_of = {"active": names.active, "finished": names.finished}
        return [
            name_of[group](shard, namespace, workflow)
            for workflow in workflows
            for group in groups
            for shard in range(self._shards)
        ]

    async def _of_session(
        self,
        namespace: str,
        workflow: str,
        session: str,
        state: StateGroup | None,
        limit: int,
        before: Place | None,
    ) -> list[Place]:
        shard = shard_of_session(namespace, workflow, session, shards=self._shards)
        runs = names.of_session(shard, namespace, workflow, session)
        active = names.active(shard, namespace, workflow)
        matching: list[Place] = []
        while True:
            found = await read_newest(self._connection, [runs], limit, before)
            if state is None:
                return found
            scores = await self._connection.many(
                [("ZSCORE", active, place.member) for place in found]
            )
            matching += [
                place
                for place, score in zip(found, scores, strict=True)
                if (score is not None) == (state == "active")
            ]
            if len(matching) > limit or len(found) <= limit:
                return matching
            before = found[-1]
