"""Events that are ours to keep: those of users until they are published, and dead letters."""

from collections.abc import Mapping
from dataclasses import dataclass

from agentworkflow.store import names
from agentworkflow.store.connection import Connection, text
from agentworkflow.store.places import read_cursor, read_newest, write_cursor

__all__ = ["DeadLetterPage", "Letters"]


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """Dead letters by id, newest first, as JSON text; `cursor` starts the next page."""

    letters: Mapping[str, str]
    cursor: str | None


class Letters:
    """The events of a store.  Part of `Store`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put_event(self, publication: str, event: bytes, *, delay_ms: int = 0) -> bool:
        """Keep a user's event and make `event|<publication>` due.

        Args:
            publication: An id that ends in its shard, as a run id does.
            event: The event as the publisher will need it.
            delay_ms: Not due for so long: the caller's own lease.

        Returns:
            False if the publication exists already.
        """
        shard = names.parse_shard(publication)
        (new,) = await self._connection.script(
            "put_event",
            [names.event(publication), names.due(shard)],
            [f"event|{publication}", event, delay_ms],
        )
        return bool(new)

    async def get_event(self, publication: str) -> bytes | None:
        """Read a user's event that waits to be published."""
        found: bytes | None = await self._connection.command("GET", names.event(publication))
        return found

    async def drop_event(self, publication: str) -> bool:
        """Forget a user's event and its due entry; False if it was not there."""
        shard = names.parse_shard(publication)
        (found,) = await self._connection.script(
            "drop_event",
            [names.event(publication), names.due(shard), names.tries(shard)],
            [f"event|{publication}"],
        )
        return bool(found)

    async def add_dead_letter(self, namespace: str, letter: str, body: str, at_ms: int) -> bool:
        """Keep a dead letter (JSON text); False if one with this id is kept already."""
        (new,) = await self._connection.script(
            "add_dead_letter",
            [names.dead_letters(namespace), names.dead_letter_order(namespace)],
            [letter, body, at_ms],
        )
        return bool(new)

    async def list_dead_letters(
        self, namespace: str, *, limit: int = 50, cursor: str | None = None
    ) -> DeadLetterPage:
        """List dead letters, newest first.

        Raises:
            BadCursor: The cursor was not made by this method.
        """
        found = await read_newest(
            self._connection,
            [names.dead_letter_order(namespace)],
            limit,
            None if cursor is None else read_cursor(cursor),
        )
        page = found[:limit]
        ids = [place.member for place in page]
        bodies = (
            await self._connection.command("HMGET", names.dead_letters(namespace), *ids)
            if ids
            else []
        )
        letters = {
            letter: text(body)
            for letter, body in zip(ids, bodies, strict=True)
            if body is not None  # removed between the two reads
        }
        return DeadLetterPage(letters, write_cursor(page[-1]) if len(found) > limit else None)

    async def get_dead_letter(self, namespace: str, letter: str) -> str | None:
        """Read a dead letter."""
        found = await self._connection.command("HGET", names.dead_letters(namespace), letter)
        return None if found is None else text(found)

    async def remove_dead_letter(self, namespace: str, letter: str) -> bool:
        """Forget a dead letter; False if it was not there."""
        (found,) = await self._connection.script(
            "remove_dead_letter",
            [names.dead_letters(namespace), names.dead_letter_order(namespace)],
            [letter],
        )
        return bool(found)
