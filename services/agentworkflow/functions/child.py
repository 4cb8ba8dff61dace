"""The life of a child: from the fork to `os._exit`, with one event (a worker has many).

Runs in the process that user code runs in, so it holds nothing but its own channel.
"""

import asyncio
import contextlib
import gc
import inspect
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

from agentworkflow.functions import labels
from agentworkflow.functions.calling import Job, call, finish, outcome_of_error, prepare
from agentworkflow.functions.frames import Channel
from agentworkflow.functions.loading import Loaded
from agentworkflow.functions.outcomes import Outcome, to_frame
from agentworkflow.functions.processes import adopt_orphans, die_with_parent

__all__ = ["Reporter", "enter", "flush", "leave", "limit_memory", "live"]

# Stacks of threads are counted as data before they are used: room for 64 of them.
_DATA_SLACK = 512 * 1024 * 1024
_REPORT_SECONDS = 0.1


def enter(zygote: int, output: int) -> None:
    """Become a process of one's own: session, death with the zygote, output, signals."""
    os.setsid()
    die_with_parent(zygote)
    adopt_orphans()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    signal.set_wakeup_fd(-1)
    for each in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    gc.enable()
    reseed()


def reseed() -> None:
    """Give this process random numbers of its own, as `random` does for itself at a fork."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def limit_memory(memory: int | None) -> None:
    """Make allocations far beyond `memory` fail at once; the front watches the rest."""
    if memory is None or sys.platform != "linux":
        return
    held = 0
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            held = int(line.split()[1]) * 1024
    soft = held + memory + _DATA_SLACK
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard == resource.RLIM_INFINITY or hard > soft:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, soft))


class Sender(Protocol):
    """What takes a child's frames to the front."""

    def send(self, meta: Mapping[str, Any], body: bytes = b"") -> None:
        """Send one frame."""


class Reporter:
    """Sends a job's progress to the front, at most ten times a second."""

    def __init__(self, channel: Sender, job: int) -> None:
        self._channel = channel
        self._job = job
        self._last = 0.0

    def __call__(self, fraction: float, message: str) -> None:
        """Send this report if the last one was long enough ago."""
        now = time.monotonic()
        if now - self._last < _REPORT_SECONDS and fraction < 1:
            return
        self._last = now
        self._channel.send(
            {"op": "progress", "job": self._job, "fraction": fraction, "message": message[:1000]}
        )


def live(channel: Channel, loaded: Loaded) -> NoReturn:
    """Run one event and leave."""
    me = os.getpid()
    frame = channel.receive()
    if frame is None:
        leave(0)
    job = Job.from_frame(*frame)
    channel.send({"op": "running", "job": job.number})
    outcome = _run(loaded, job, Reporter(channel, job.number))
    flush()
    if os.getpid() != me:
        leave(0)  # the handler forked, and its copy came back: the original answers
    members, body = to_frame(outcome)
    channel.send({"op": "outcome", "job": job.number, **members}, body)
    leave(0)


def _run(loaded: Loaded, job: Job, report: Reporter) -> Outcome:
    if not loaded.signature.is_async:
        return call(loaded, job, report)
    try:
        return finish(loaded, asyncio.run(_awaited(loaded, job, report)))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its attempt only
        return outcome_of_error(error)


async def _awaited(loaded: Loaded, job: Job, report: Reporter) -> object:
    value = prepare(loaded, job, report)()
    return await value if inspect.isawaitable(value) else value


def flush() -> None:
    """Write out what Python still buffers: `os._exit` does not."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            if isinstance(stream, labels.LabelledOutput):
                job = labels.current_job.get()
                if job is not None:
                    stream.end_of(job)
            stream.flush()


def leave(code: int) -> NoReturn:
    """End the process without the zygote's atexit hooks and finalizers."""
    os._exit(code)
