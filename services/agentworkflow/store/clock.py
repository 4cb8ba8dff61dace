"""The store's clock: the server's TIME, followed between answers by the monotonic clock.

Every dispatcher must agree on what is due, so the wall clock of a machine of ours is never asked.
"""

import time
from collections.abc import Callable
from typing import Final

__all__ = ["StoreClock"]

_TRUSTED_FOR: Final = 30.0
"""Seconds after which any sample replaces the current one: two quartzes drift ~1 ms a minute."""

_JUMP: Final = 1000
"""Milliseconds: a smaller step backwards is an error of measurement and is not shown."""


class StoreClock:
    """Estimates the server's time from its answers.

    An answer tells the time at some moment between question and answer, so the sample with the
    shortest round trip is the best.  Answers to writes wait for an fsync and are poor samples.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self._offset_ms: float | None = None
        self._round_trip = 0.0
        self._sampled_at = 0.0
        self._shown = 0

    def observe(self, asked: float, answered: float, server_ms: int) -> None:
        """Take a sample: the server said `server_ms` between two readings of `monotonic`."""
        round_trip = answered - asked
        stale = answered - self._sampled_at > _TRUSTED_FOR
        # The server's milliseconds are cut off, not rounded.
        offset_ms = server_ms + 0.5 - (asked + answered) * 500
        # A time outside what the current estimate allows means that the server's clock was set.
        moved = (
            self._offset_ms is not None
            and abs(offset_ms - self._offset_ms) > (round_trip + self._round_trip) * 500 + _JUMP
        )
        if self._offset_ms is None or stale or moved or round_trip <= self._round_trip:
            self._offset_ms = offset_ms
            self._round_trip = round_trip
            self._sampled_at = answered
        # Never behind what the server has said: what it calls due must look due here as well.
        self._shown = server_ms if moved else max(self._shown, server_ms)

    def now_ms(self) -> int:
        """The server's time in milliseconds since the epoch.

        Raises:
            RuntimeError: If no answer was observed yet.
        """
        if self._offset_ms is None:
            raise RuntimeError("the store's clock is not set; connect the store first")
        now = int(self._offset_ms + self.monotonic() * 1000)
        if self._shown - _JUMP < now < self._shown:
            return self._shown
        self._shown = now
        return now
