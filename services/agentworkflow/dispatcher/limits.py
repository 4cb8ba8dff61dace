"""What bounds the load on one dispatcher: bytes of a body, accepts at once, requests per second."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from typing import Final

from starlette.requests import Request

from agentworkflow.dispatcher.ports import Overloaded
from agentworkflow.dispatcher.problems import Refused

_PACES: Final = 4096
_DISCARDED: Final = 16
"""Times the limit that is read and thrown away before the connection is cut."""
_DISCARD_SECONDS: Final = 5.0


async def read_body(request: Request, limit: int) -> bytes:
    """The body, counted while it streams, so that no length header has to be believed.

    Raises:
        Refused: 413, before more than the limit is held.
    """
    announced = request.headers.get("content-length", "")
    too_large = announced.isdecimal() and int(announced) > limit
    pieces: list[bytes] = []
    size = 0
    stream = request.stream()
    if not too_large:
        async for piece in stream:
            size += len(piece)
            if size > limit:
                too_large = True
                break
            pieces.append(piece)
    if too_large:
        pieces.clear()
        await _discard(stream, _DISCARDED * limit)
        raise _too_large(limit)
    return b"".join(pieces)


async def _discard(stream: AsyncIterator[bytes], most: int) -> None:
    """Read on for a while: a client that is still sending would not see the answer otherwise."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            async for piece in stream:
                most -= len(piece)
                if most < 0:
                    return


def _too_large(limit: int) -> Refused:
    return Refused(
        413,
        "The body is too large",
        f"The body is larger than {limit} bytes: keep the data elsewhere and send a reference.",
        reason="BodyTooLarge",
        # What is left of the body may be without end, so the connection is not used again.
        headers={"connection": "close"},
    )


class Admission:
    """Lets so many requests commit at one time; the next is told to come back."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.inside = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take a place while something is committed. Raises: Overloaded."""
        if self.inside >= self._limit:
            raise Overloaded(
                f"{self.inside} requests are being stored at this moment: send it again."
            )
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class RateLimit:
    """A token bucket per caller.

    Args:
        rate: tokens per second; 0 takes everything.
        burst: size of a bucket.
        clock: seconds, monotonic.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = max(burst, 1)
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, caller: str) -> None:
        """Take one token. Raises: Overloaded, with the seconds until there is one."""
        if not self._rate:
            return
        now = self._clock()
        bucket = self._buckets.setdefault(caller, _Bucket(float(self._burst), now))
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled) * self._rate)
        bucket.filled = now
        if bucket.tokens < 1:
            wait = ceil((1 - bucket.tokens) / self._rate)
            raise Overloaded(f"More than {self._rate:g} requests per second for this key.", wait)
        bucket.tokens -= 1


class Pace:
    """Lets each key through at most once per interval; remembers the latest keys only."""

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._clock = clock
        self._last: OrderedDict[object, float] = OrderedDict()

    def take(self, key: object) -> bool:
        """Whether the key may pass now."""
        now = self._clock()
        last = self._last.get(key)
        if last is not None and now - last < self._interval:
            return False
        self._last[key] = now
        self._last.move_to_end(key)
        if len(self._last) > _PACES:
            self._last.popitem(last=False)
        return True
