"""Decides whether a request runs, waits, is turned away, or joins one that is already here."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

__all__ = ["Answer", "Joins", "Slots"]

_KEPT_SECONDS = 600.0
_KEPT_ANSWERS = 1000
_KEPT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `is_final` says that whoever asks the same again may be given it again."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_final: bool = True


class Slots:
    """So many events at one time; who waits is served in the order of coming."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take_now(self) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def take(self) -> None:
        """Wait for a slot and take it."""
        if self.take_now():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn  # the slot is handed over, never put back in between

    def give_back(self) -> None:
        """Give a slot back, to the next in line if there is one."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Joins:
    """Requests in flight and answers just given, by what makes two requests the same."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._running: dict[Hashable, asyncio.Task[Answer]] = {}
        self._finished: OrderedDict[Hashable, tuple[float, Answer]] = OrderedDict()
        self._bytes = 0

    @property
    def in_flight(self) -> int:
        """How many requests run or wait for their turn."""
        return len(self._running)

    def existing(self, key: Hashable) -> Awaitable[Answer] | None:
        """Return the answer, or the promise of one, of an equal request; None for a new one."""
        running = self._running.get(key)
        if running is not None:
            # A caller that goes away must not take the attempt with it.
            return asyncio.shield(running)
        self._forget_old()
        if key in self._finished:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            answer.set_result(self._finished[key][1])
            return answer
        return None

    def begin(self, key: Hashable, work: Awaitable[Answer]) -> Awaitable[Answer]:
        """Start the work of a new request."""
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)  # noqa: S101 - callers give coroutines
        self._running[key] = task
        task.add_done_callback(lambda done: self._end(key, done))
        return asyncio.shield(task)

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    def _end(self, key: Hashable, task: asyncio.Task[Answer]) -> None:
        self._running.pop(key, None)
        if task.cancelled() or task.exception() is not None:
            return
        answer = task.result()
        if answer.is_final:
            self._finished[key] = (self._clock() + _KEPT_SECONDS, answer)
            self._bytes += len(answer.body)
            self._forget_old()

    def _forget_old(self) -> None:
        now = self._clock()
        while self._finished:
            until, answer = next(iter(self._finished.values()))
            over = len(self._finished) > _KEPT_ANSWERS or self._bytes > _KEPT_BYTES
            if until > now and not over:
                return
            self._finished.popitem(last=False)
            self._bytes -= len(answer.body)
