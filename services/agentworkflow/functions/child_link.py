"""The front's side of one child: its jobs, their deadlines, and what its end means for them."""

import asyncio
import itertools
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentworkflow.functions import processes
from agentworkflow.functions.frames import FrameError, pack, read_frame
from agentworkflow.functions.outcomes import Failed, Outcome, Ran, from_frame
from agentworkflow.functions.output import Output
from agentworkflow.functions.table import FunctionEntry, FunctionTable, dump_table
from agentworkflow.functions.zygote_link import ZygoteLink

__all__ = ["Assignment", "ChildLink"]

_START_SECONDS = 60.0
_START_APART_SECONDS = 300.0
_LINGER_SECONDS = 2.0
# A finished job's last lines may still be on their way through the pipe.
_KEPT_LABELS = 256
_READ_AHEAD = 4 * 1024 * 1024
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One event for a child. `label` names it in the log; `ends_at` is its deadline (epoch s)."""

    label: str
    meta: Mapping[str, Any]
    body: bytes
    timeout: float
    ends_at: float | None
    on_progress: Callable[[float, str], None]


@dataclass(slots=True)
class _Running:
    assignment: Assignment
    future: asyncio.Future[Ran]
    timer: asyncio.TimerHandle
    since: float
    verdict: Failed | None = None


class ChildLink:
    """A child that was asked for. Jobs may be given at once; it takes them when it is there."""

    def __init__(self, zygote: ZygoteLink, table: FunctionTable, entry: FunctionEntry) -> None:
        self.entry = entry
        self.pid: int | None = None
        self.base_bytes = 0  # what an interpreter of its own held before its first event
        self.is_open = True
        self.on_gone: Callable[[], None] = lambda: None
        self._zygote = zygote
        self._apart = entry.name in zygote.catalog.apart
        self._number = next(_numbers)
        self._jobs: dict[int, _Running] = {}
        self._labels: dict[int, str] = {}
        self._last_label = entry.name
        self._served = 0
        self._broken: Failed | None = None
        self._how: str | None = None
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        ours.setblocking(False)
        zygote.start_child(self._number, entry.name, [theirs.detach(), writing], self)
        Output(reading, self._label).start()
        self._unsent: list[bytes] | None = []
        self._writer: asyncio.StreamWriter | None = None
        if self._apart:
            alone = FunctionTable((entry,), path=table.path)
            self._write(pack({"table": dump_table(alone), "function": entry.name}), b"")
        self._task = asyncio.create_task(self._serve(ours))

    @property
    def busy(self) -> int:
        """How many jobs it has."""
        return len(self._jobs)

    def submit(self, assignment: Assignment) -> asyncio.Future[Ran]:
        """Give it a job; the future always gets an outcome, never an exception."""
        loop = asyncio.get_running_loop()
        number = self._served = self._served + 1
        patience = _START_APART_SECONDS if self._apart else _START_SECONDS
        timer = loop.call_later(patience, self._on_no_start, number, patience)
        running = _Running(assignment, loop.create_future(), timer, time.monotonic())
        self._jobs[number] = running
        self._labels[number] = self._last_label = assignment.label
        self._labels.pop(number - _KEPT_LABELS, None)
        self._write(pack({"job": number, **assignment.meta}, assignment.body), assignment.body)
        return running.future

    def close(self) -> None:
        """Let it leave when its jobs are done: no more will come."""
        self.is_open = False
        if not self._jobs:
            self.kill()

    def kill(self) -> None:
        """Kill it and all it started."""
        self.is_open = False
        self._zygote.kill_child(self._number)

    def condemn(self, verdict: Callable[[Assignment], Failed]) -> None:
        """Kill it; each of its jobs gets the verdict when it is gone."""
        for running in self._jobs.values():
            if running.verdict is None:
                running.verdict = verdict(running.assignment)
        self.kill()

    def on_started(self, pid: int) -> None:
        """Hear from the zygote that it runs."""
        self.pid = pid

    def on_ended(self, how: str, *, by_zygote: bool) -> None:
        """Hear from the zygote that it is gone."""
        del by_zygote
        self.is_open = False
        self._how = how
        self.pid = None
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._task.cancel)

    def _label(self, job: int | None) -> str:
        if job is not None and job in self._labels:
            return self._labels[job]
        return self._last_label if self._served <= 1 else self.entry.name

    def _write(self, head: bytes, body: bytes) -> None:
        if self._writer is None:
            assert self._unsent is not None  # noqa: S101 - until there is a writer
            self._unsent += [head, body]
        else:
            self._writer.write(head)
            if body:
                self._writer.write(body)

    async def _serve(self, sock: socket.socket) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=sock, limit=_READ_AHEAD)
        for data in self._unsent or ():
            if data:
                self._writer.write(data)
        self._unsent = None
        try:
            while (frame := await read_frame(reader)) is not None:
                self._hear(*frame)
        except (FrameError, KeyError, TypeError, ValueError) as error:
            self._broken = self._broken or Failed(
                reason="Crash",
                title="The handler's process broke its own channel",
                detail=f"it wrote something else than answers into the host's socket: {error}",
            )
            self.kill()
        except asyncio.CancelledError:
            pass  # gone, but something it started holds the channel open
        finally:
            self._writer.close()
            await self._ending()

    async def _ending(self) -> None:
        """Wait until the zygote has cleared the child away, then tell who still waits."""
        self.is_open = False
        end = time.monotonic() + _LINGER_SECONDS
        killed = False
        while self._how is None:
            await asyncio.sleep(0.002)
            if not killed and time.monotonic() > end:
                self.kill()
                killed = True
            if time.monotonic() > end + 2 * _LINGER_SECONDS:
                self._how = "could not be ended by the host"
        for number in list(self._jobs):
            self._finish(number, self._jobs[number].verdict or self._broken or self._crash())
        self.on_gone()

    def _crash(self) -> Failed:
        return Failed(
            reason="Crash",
            title="The handler's process ended before it answered",
            detail=f"the process of function {self.entry.name} {self._how}",
        )

    def _hear(self, said: Mapping[str, Any], body: bytes) -> None:
        if said["op"] == "ready":
            if self.pid is not None:
                self.base_bytes = processes.own_bytes(self.pid, 0)
            return
        if said["op"] == "broken":
            outcome = from_frame(said, body)
            self._broken = outcome if isinstance(outcome, Failed) else None
            return
        running = self._jobs.get(said["job"])
        if running is None:
            return
        match said["op"]:
            case "running":
                self._on_running(said["job"], running)
            case "progress":
                running.assignment.on_progress(said["fraction"], said["message"])
            case "outcome":
                self._finish(said["job"], running.verdict or from_frame(said, body))

    def _on_running(self, number: int, running: _Running) -> None:
        running.timer.cancel()
        running.since = time.monotonic()
        timeout = running.assignment.timeout
        if running.assignment.ends_at is not None:
            timeout = max(0.0, min(timeout, running.assignment.ends_at - time.time()))
        loop = asyncio.get_running_loop()
        running.timer = loop.call_later(timeout, self._on_overrun, number, timeout)

    def _finish(self, number: int, outcome: Outcome) -> None:
        running = self._jobs.pop(number)
        running.timer.cancel()
        if not running.future.done():
            took = round((time.monotonic() - running.since) * 1000)
            running.future.set_result(Ran(outcome, took))

    def _on_overrun(self, number: int, timeout: float) -> None:
        running = self._jobs.get(number)
        if running is None:
            return
        running.verdict = Failed(
            reason="DeadlineExceeded",
            title="The handler ran longer than it may",
            detail=f"function {self.entry.name} was ended after {timeout:g} s: raise its timeout, "
            "or do less in one step",
        )
        self.condemn(
            lambda _: Failed(
                reason="Crash",
                title="The handler's worker was replaced",
                detail=f"another event of function {self.entry.name} in the same process ran "
                "longer than it may",
            )
        )

    def _on_no_start(self, number: int, patience: float) -> None:
        running = self._jobs.get(number)
        if running is None:
            return
        self.condemn(
            lambda _: Failed(
                reason="Crash",
                title="The handler's process did not start",
                detail=f"function {self.entry.name} took no event within {patience:g} s",
            )
        )
