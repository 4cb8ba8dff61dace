"""What children print: read from their pipe, bounded, and written to the host's log line by line.

A handler that prints gigabytes is slowed down by its own full pipe; the front drops what is over
the budget and says how much it was.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable

from agentworkflow.functions.labels import END, START

__all__ = ["Budget", "Output"]

_CHUNK = 65536
_LONGEST_LINE = 8192
_BURST = 256 * 1024
_PER_SECOND = 32 * 1024
_DRAIN_PAUSE = 0.005
_DRAIN_CHUNKS = 16


class Budget:
    """Bytes of log that one child may write: a burst, and so many a second after it."""

    def __init__(self, now: float) -> None:
        self._left = float(_BURST)
        self._at = now

    def take(self, size: int, now: float) -> bool:
        """Take `size` bytes if they are there."""
        self._left = min(_BURST, self._left + (now - self._at) * _PER_SECOND)
        self._at = now
        if self._left < size:
            return False
        self._left -= size
        return True


class Output:
    """The reading end of a child's output. It closes itself when the last writer is gone.

    `label_of` names the attempt for a job's number, or the child itself for None.
    """

    def __init__(self, fd: int, label_of: Callable[[int | None], str]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._label_of = label_of
        self._rest = b""
        self._dropped = 0
        self._budget = Budget(time.monotonic())

    def start(self) -> None:
        """Read on the running loop from now on."""
        asyncio.get_running_loop().add_reader(self._fd, self._on_readable)

    def _on_readable(self) -> None:
        chunks = 1 if not self._dropped else _DRAIN_CHUNKS
        for _ in range(chunks):
            try:
                chunk = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                self._end()
                return
            self._take(chunk)
        if self._dropped:
            # Too much: let the pipe fill, so that the writer waits instead of the front working.
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._fd)
            loop.call_later(_DRAIN_PAUSE, self.start)

    def _take(self, chunk: bytes) -> None:
        if not self._budget.take(len(chunk), time.monotonic()):
            self._dropped += len(chunk)
            self._rest = b""
            return
        if self._dropped:
            self._say_dropped()
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        self._write(lines)

    def _write(self, lines: list[bytes]) -> None:
        text = []
        for line in lines:
            shown = line[:_LONGEST_LINE].decode("utf-8", "replace")
            job = None
            if shown.startswith(START):
                number, _, shown = shown[1:].partition(END)
                job = int(number) if number.isdecimal() else None
            text.append(f"[{self._label_of(job)}] {shown}\n")
        sys.stderr.write("".join(text))
        sys.stderr.flush()

    def _say_dropped(self) -> None:
        text = f"… {self._dropped} bytes of output are not shown: a child prints too much"
        self._write([text.encode()])
        self._dropped = 0

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        if self._dropped:
            self._say_dropped()
        if self._rest:
            self._write([self._rest])
