"""Supervises the embedded Valkey: one that dies is started again on the same data.

Everything else of the engine lives in its own process, or is supervised by the activator.
"""

import asyncio
import logging
from typing import Final

from agentworkflow.engine.valkey import EmbeddedValkey, EmbeddedValkeyError
from agentworkflow.store.tasks import end_tasks

_log = logging.getLogger(__name__)

_PAUSE: Final = 0.1
_PAUSE_MAX: Final = 5.0
_STEADY: Final = 10.0
_GIVE_UP: Final = 10


class StoreLost(Exception):  # noqa: N818 - what happened to the engine, not a caller's mistake
    """The embedded Valkey died again and again; the engine cannot go on."""


class ValkeySupervisor:
    """Keeps one Valkey alive until it is stopped."""

    def __init__(self, valkey: EmbeddedValkey) -> None:
        self._valkey = valkey
        self._task: asyncio.Task[None] | None = None
        self.lost: asyncio.Future[StoreLost] | None = None

    async def start(self) -> str:
        """Start the server; returns its URL, which stays the same."""
        url = await self._valkey.start()
        self.lost = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep(), name="keep the store")
        return url

    async def stop(self) -> None:
        """Stop supervising, and end the server in order."""
        if self._task is not None:
            await end_tasks([self._task])
        await self._valkey.stop()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while failures < _GIVE_UP:
            begun = loop.time()
            code = await self._valkey.wait_ended()
            failures = 1 if loop.time() - begun > _STEADY else failures + 1
            _log.warning("the store ended with exit code %d; it is started again", code)
            await asyncio.sleep(min(_PAUSE * 2 ** (failures - 1), _PAUSE_MAX))
            try:
                await self._valkey.start()
            except EmbeddedValkeyError as error:
                _log.error("the store does not start: %s", error)
                if self.lost is not None:
                    self.lost.set_result(StoreLost(str(error)))
                return
            _log.info("the store is up again")
        if self.lost is not None:
            self.lost.set_result(StoreLost(f"the store died {failures} times in a row"))
