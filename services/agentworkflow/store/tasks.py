"""How tasks that speak to the store end: cancelled until they are really done."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

_AGAIN: Final = 0.2


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end, whatever they end with.

    Cancelling once is not enough: before Python 3.12, `asyncio.wait_for`, through which redis-py
    writes, swallows a cancellation that comes in the moment in which it is done.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN)
