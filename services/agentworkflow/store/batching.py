"""Sends what is asked at the same time in one packet.

While one packet is on its way, requests collect; the next packet takes them all.  A server that
fsyncs before it answers then does so once per packet, and a packet of fifty scripts costs a third
of the work of fifty packets.  An idle store adds no wait: a lone request goes out at once.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import Redis

from agentworkflow.store.errors import StoreUnavailable
from agentworkflow.store.tasks import end_tasks

__all__ = ["Batches"]

LANES: Final = 2
"""Packets under way at once: one is being written while another waits for its answers."""

MOST: Final = 64
"""Requests in a packet: those behind a full one wait for it, so it must stay short."""


@dataclass(slots=True, eq=False)
class _Request:
    command: Sequence[str | bytes | int]
    answer: asyncio.Future[Any] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Batches:
    """Requests to one server, in packets, each answered on its own."""

    def __init__(self, client: Redis) -> None:
        self._client: Any = client  # redis-py leaves execute_command without types
        self._waiting: deque[_Request] = deque()
        self._lanes: set[asyncio.Task[None]] = set()
        self._closed = False

    async def aclose(self) -> None:
        """Stop; whoever still waits for an answer is told so."""
        self._closed = True
        await end_tasks(self._lanes)
        self._answer(self._waiting, [_closed()] * len(self._waiting))
        self._waiting.clear()

    async def ask(self, command: Sequence[str | bytes | int]) -> Any:
        """Send a command and return its answer, or raise the error that it is.

        Raises:
            StoreUnavailable: The store was closed.
        """
        if self._closed:
            raise _closed()
        request = _Request(command)
        self._waiting.append(request)
        if len(self._lanes) < LANES:
            self._lanes.add(asyncio.create_task(self._run(), name="store-batches"))
        return await request.answer

    async def _run(self) -> None:
        lane = asyncio.current_task()
        try:
            while packet := self._next_packet():
                try:
                    answers = await self._send(packet)
                except asyncio.CancelledError:
                    self._answer(packet, [_closed()] * len(packet))
                    raise
                except Exception as error:  # noqa: BLE001 - it is raised in whoever asked
                    answers = [error] * len(packet)
                self._answer(packet, answers)
        finally:
            # Here and not in a callback: a request that comes in between must start a lane.
            self._lanes = {other for other in self._lanes if other is not lane}

    def _next_packet(self) -> list[_Request]:
        packet: list[_Request] = []
        while self._waiting and len(packet) < MOST:
            request = self._waiting.popleft()
            if not request.answer.done():  # else whoever asked has gone
                packet.append(request)
        return packet

    async def _send(self, packet: list[_Request]) -> list[Any]:
        if len(packet) == 1:
            return [await self._client.execute_command(*packet[0].command)]
        pipeline = self._client.pipeline(transaction=False)
        for request in packet:
            pipeline.execute_command(*request.command)
        return list(await pipeline.execute(raise_on_error=False))

    def _answer(self, packet: Iterable[_Request], answers: Iterable[Any]) -> None:
        for request, answer in zip(packet, answers, strict=True):
            if request.answer.done():
                continue
            if isinstance(answer, Exception):
                request.answer.set_exception(answer)
            else:
                request.answer.set_result(answer)


def _closed() -> StoreUnavailable:
    return StoreUnavailable("Closed", "this process has closed its connection")
