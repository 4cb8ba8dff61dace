"""Follows the log of one run: what is there, then what comes, until the run's last entry."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from agentworkflow.dispatcher.ports import LAST_ENTRY, TERMINAL_STATES, RunService

FIRST: Final = "0-0"
"""The cursor before every entry."""

_PAGE: Final = 200

Entry = tuple[str, Mapping[str, Any]]


async def follow(
    runs: RunService,
    namespace: str,
    run: str,
    after: str,
    *,
    heartbeat: float,
    closing: asyncio.Event,
) -> AsyncGenerator[Entry | None, None]:
    """Entries after a cursor, each with its stream id; None when nothing came for `heartbeat` s.

    It ends after the run's last entry, or when the dispatcher closes.

    Raises:
        UnknownRun, Unavailable: the client may come back with its last cursor.
    """
    async with runs.subscribe(run) as grown:
        closed = asyncio.create_task(closing.wait())
        try:
            while not closing.is_set():
                # Cleared before reading: what is appended while we read wakes us again.
                grown.clear()
                entries = await runs.log(namespace, run, after, _PAGE)
                for cursor, entry in entries:
                    yield cursor, entry
                    if entry["type"] == LAST_ENTRY:
                        return
                    after = cursor
                if len(entries) == _PAGE:
                    continue
                if not entries and await is_over(runs, namespace, run, after):
                    return
                if not await _woken(grown, closed, heartbeat):
                    yield None
        finally:
            # Nothing is awaited here: whoever watches may have been cancelled.
            closed.cancel()


async def is_over(runs: RunService, namespace: str, run: str, after: str) -> bool:
    """Whether a run is terminal and its log holds nothing after a cursor."""
    if after == FIRST:
        return False
    view = await runs.view(namespace, run)
    return view["state"] in TERMINAL_STATES and not await runs.log(namespace, run, after, 1)


async def _woken(grown: asyncio.Event, closed: "asyncio.Task[bool]", heartbeat: float) -> bool:
    """Whether the log grew, or the dispatcher closes, before the heartbeat is due."""
    growing = asyncio.create_task(grown.wait())
    try:
        done, _ = await asyncio.wait(
            {growing, closed}, timeout=heartbeat, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        growing.cancel()
    return bool(done)
