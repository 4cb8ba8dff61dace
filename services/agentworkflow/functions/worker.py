"""A worker: one process of a function that runs many of its events at once.

Async handlers run on its event loop, `Thread` handlers in its threads.
"""

import asyncio
import contextvars
import functools
import inspect
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from agentworkflow.functions import labels
from agentworkflow.functions.calling import Job, call, finish, outcome_of_error, prepare
from agentworkflow.functions.child import Reporter, flush, leave
from agentworkflow.functions.frames import Channel, pack, read_frame
from agentworkflow.functions.loading import Loaded
from agentworkflow.functions.outcomes import Outcome, to_frame

__all__ = ["work"]


def work(channel: Channel, loaded: Loaded) -> NoReturn:
    """Serve events until the front goes away."""
    try:
        asyncio.run(_serve(channel, loaded))
    finally:
        flush()
        leave(0)


class _LoopSender:
    """Writes frames on the worker's loop, from whatever thread asks for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: asyncio.StreamWriter) -> None:
        self._loop = loop
        self._writer = writer
        self._pid = os.getpid()

    def send(self, meta: Mapping[str, Any], body: bytes = b"") -> None:
        if os.getpid() != self._pid:
            leave(0)  # a handler forked, and its copy came back: the original answers
        self._loop.call_soon_threadsafe(self._writer.write, pack(meta, body) + body)


async def _serve(channel: Channel, loaded: Loaded) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=channel.sock)
    sender = _LoopSender(asyncio.get_running_loop(), writer)
    threads = ThreadPoolExecutor(loaded.entry.concurrency, thread_name_prefix=loaded.entry.name)
    running: set[asyncio.Task[None]] = set()
    while (frame := await read_frame(reader)) is not None:
        job = Job.from_frame(*frame)
        sender.send({"op": "running", "job": job.number})
        task = asyncio.create_task(_attempt(sender, loaded, job, threads))
        running.add(task)
        task.add_done_callback(running.discard)


async def _attempt(
    sender: _LoopSender, loaded: Loaded, job: Job, threads: ThreadPoolExecutor
) -> None:
    labels.current_job.set(job.number)
    report = Reporter(sender, job.number)
    if loaded.signature.is_async:
        outcome = await _on_loop(loaded, job, report)
    else:
        ready = functools.partial(contextvars.copy_context().run, call, loaded, job, report)
        outcome = await asyncio.get_running_loop().run_in_executor(threads, ready)
    flush()
    members, body = to_frame(outcome)
    sender.send({"op": "outcome", "job": job.number, **members}, body)


async def _on_loop(loaded: Loaded, job: Job, report: Reporter) -> Outcome:
    try:
        value = prepare(loaded, job, report)()
        return finish(loaded, await value if inspect.isawaitable(value) else value)
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its attempt only
        return outcome_of_error(error)
