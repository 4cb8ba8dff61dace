"""Paging over sorted sets: the newest first, merged over any number of sets.

A cursor is the last place that was shown, so a page costs the same wherever it starts, and entries
that come or go between two pages neither shift it nor make it invalid.
"""

import base64
import binascii
import heapq
from collections.abc import Sequence
from typing import Final, NamedTuple

from agentworkflow.store.connection import Connection, scored
from agentworkflow.store.errors import StoreError

__all__ = ["BadCursor", "Place", "read_cursor", "read_newest", "write_cursor"]

_TIES: Final = 50
"""How many entries more than asked for are read, for those in the cursor's own millisecond."""


class BadCursor(StoreError):  # noqa: N818 - a caller answers 400 by this name
    """A cursor that we did not make."""


class Place(NamedTuple):
    """Where an entry stands in a list: by time, then by name."""

    at_ms: int
    member: str


async def read_newest(
    connection: Connection, keys: Sequence[str], limit: int, before: Place | None
) -> list[Place]:
    """Read the newest places of several sets that come after `before`, newest first.

    Returns:
        One more than the limit, if there are so many: then there is a next page.
    """
    start: str | int = "+inf" if before is None else before.at_ms
    count = limit + 1 + (0 if before is None else _TIES)
    found: list[Place] = []
    pending = [(key, 0) for key in keys]
    while pending:
        replies = await connection.many(
            [
                ("ZREVRANGEBYSCORE", key, start, "-inf", "WITHSCORES", "LIMIT", offset, count)
                for key, offset in pending
            ]
        )
        again: list[tuple[str, int]] = []
        for (key, offset), reply in zip(pending, replies, strict=True):
            places = [Place(at_ms, member) for member, at_ms in scored(reply)]
            after = [place for place in places if before is None or place < before]
            found += after
            if len(places) == count and len(after) <= limit:
                # More entries than expected share the cursor's millisecond.
                again.append((key, offset + count))
        pending = again
    return heapq.nlargest(limit + 1, found)


def write_cursor(place: Place) -> str:
    """Make the cursor of the page after a place."""
    return base64.urlsafe_b64encode(f"{place.at_ms}/{place.member}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Place:
    """Read what `write_cursor` made.

    Raises:
        BadCursor: It was not made there.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        plain = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        at_ms, _, member = plain.partition("/")
        return Place(int(at_ms), member)
    except (ValueError, binascii.Error) as error:
        raise BadCursor(
            f"{cursor!r} is no cursor of ours; take it from the page before, "
            "or leave it out for the first page"
        ) from error
