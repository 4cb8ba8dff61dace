"""The front's side of the zygote: starts it, hears what it loaded, asks it for children.

If the zygote dies it is started again; its children die with it, and their attempts are told.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from agentworkflow.functions import processes
from agentworkflow.functions.catalog import Catalog
from agentworkflow.functions.frames import FrameError, pack, read_frame
from agentworkflow.functions.output import Output
from agentworkflow.functions.table import FunctionTable, dump_table

__all__ = ["ChildEvents", "ZygoteLink", "how_it_ended"]

log = logging.getLogger("agentworkflow.functions")

_LOAD_SECONDS = 300.0
_PAUSE, _LONGEST_PAUSE = 0.02, 5.0
_STOP_SECONDS = 3.0
_NUMERIC_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)


class ChildEvents(Protocol):
    """What the zygote reports of one child."""

    def on_started(self, pid: int) -> None:
        """Hear that the child runs."""

    def on_ended(self, how: str, *, by_zygote: bool) -> None:
        """Hear that the child and all it started are gone, and how it ended, in words."""


def how_it_ended(status: int) -> str:
    """Say in words how a process ended, from its wait status as an exit code."""
    if status >= 0:
        return f"left with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "signal"
    return f"was ended by {name} ({-status})"


class ZygoteLink:
    """One zygote at a time, and the functions it holds."""

    def __init__(self, table: FunctionTable) -> None:
        self._table = table
        self.catalog = Catalog(table)
        self.loaded = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._output: int | None = None
        self._loading: str | None = None
        self._load_timer: asyncio.TimerHandle | None = None
        self._slow = False
        self._children: dict[int, ChildEvents] = {}
        self._sending: deque[tuple[bytes, Sequence[int]]] = deque()
        self._stopping = False
        self._deaths = 0
        self._task: asyncio.Task[None] | None = None
        self.on_loaded: Callable[[], None] = lambda: None

    def launch(self) -> None:
        """Start the process. May be called before there is an event loop."""
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        environment = dict.fromkeys(_NUMERIC_THREADS, "1") | dict(os.environ)
        command = [sys.executable, "-P", "-m", "agentworkflow.functions.zygote"]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        os.close(writing)
        self._socket, self._output = ours, reading

    async def start(self) -> None:
        """Serve the link on the running loop, for as long as the host lives."""
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End the zygote and everything under it."""
        self._stopping = True
        process = self._process
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # tells the zygote to wipe out and leave
        if process is not None:
            if not self.loaded.is_set():
                process.kill()  # it imports, and hears nothing
            end = time.monotonic() + _STOP_SECONDS
            while process.poll() is None:
                await asyncio.sleep(0.005)
                if time.monotonic() > end:
                    process.kill()
        processes.wipe_out_strangers(())
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def start_child(
        self, number: int, function: str, fds: Sequence[int], events: ChildEvents
    ) -> None:
        """Ask for a child. The descriptors are its channel and output; they are closed here."""
        self._children[number] = events
        order = {
            "op": "start",
            "child": number,
            "function": function,
            "apart": function in self.catalog.apart,
        }
        self._send(order, fds)

    def kill_child(self, number: int) -> None:
        """Have a child killed with all it started; `on_ended` follows."""
        self._send({"op": "kill", "child": number})

    async def _keep(self) -> None:
        while True:
            if self._socket is None:
                self.launch()
            await self._serve()
            if self._stopping:
                return
            self._bury()
            await asyncio.sleep(min(_LONGEST_PAUSE, _PAUSE * 2**self._deaths))

    async def _serve(self) -> None:
        assert self._socket is not None  # noqa: S101 - launch() has just made it
        assert self._output is not None  # noqa: S101
        sock, self._sender = self._socket, self._socket.dup()
        self._sender.setblocking(False)
        Output(self._output, lambda _: "import").start()
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        try:
            while (frame := await read_frame(reader)) is not None:
                self._hear(frame[0])
        except FrameError as error:
            log.error("the zygote spoke nonsense, and is replaced: %s", error)  # noqa: TRY400 - no trace helps
        finally:
            self._cancel_load_timer()
            asyncio.get_running_loop().remove_writer(self._sender.fileno())
            self._sender.close()
            writer.close()
            self._socket = self._output = None

    def _hear(self, said: Mapping[str, Any]) -> None:  # noqa: C901 - one row per message
        match said["op"]:
            case "hello":
                self._loading = None
                table, left_out = dump_table(self._table), self.catalog.left_out
                self._send({"op": "load", "table": table, "apart": left_out})
            case "loading":
                self._loading = said["what"]
                self._arm_load_timer()
            case "function":
                self.catalog.describe(said["description"])
            case "unclean":
                self.catalog.set_apart(said["what"], said["left"])
            case "loaded":
                self._loading = None
                self._cancel_load_timer()
                self.loaded.set()
                self.on_loaded()
            case "started":
                if child := self._children.get(said["child"]):
                    self._deaths = 0
                    child.on_started(said["pid"])
            case "refused":
                if child := self._children.pop(said["child"], None):
                    child.on_ended(
                        f"could not be forked ({said['detail']}): the host is out of processes "
                        "or memory",
                        by_zygote=False,
                    )
            case "exited":
                if child := self._children.pop(said["child"], None):
                    code = os.waitstatus_to_exitcode(said["status"])
                    child.on_ended(how_it_ended(code), by_zygote=False)

    def _arm_load_timer(self) -> None:
        self._cancel_load_timer()
        loop = asyncio.get_running_loop()
        self._load_timer = loop.call_later(_LOAD_SECONDS, self._give_up_loading)

    def _cancel_load_timer(self) -> None:
        if self._load_timer is not None:
            self._load_timer.cancel()
            self._load_timer = None

    def _give_up_loading(self) -> None:
        self._slow = True
        if self._process is not None:
            self._process.kill()

    def _bury(self) -> None:
        """Clear away after a zygote that died, and tell whom it concerns."""
        process = self._process
        assert process is not None  # noqa: S101 - it has just been served
        process.kill()
        how = how_it_ended(process.wait())
        self._process = None
        self.loaded.clear()
        self._drop_unsent()
        what, self._loading = self._loading, None
        if what is not None:
            if self._slow:
                how, self._slow = f"took longer than {_LOAD_SECONDS:.0f} s", False
            self.catalog.blame(what, how)
        else:
            self._deaths += 1
            log.error("the zygote %s; it is started again", how)
        # Its children die with it; what those had started has become ours to end.
        processes.wipe_out_strangers(())
        children, self._children = self._children, {}
        for child in children.values():
            child.on_ended(f"died with the host's zygote, which {how}", by_zygote=True)

    def _send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        if self._socket is None:
            for fd in fds:
                os.close(fd)
            return
        self._sending.append((pack(message), fds))
        if len(self._sending) == 1:
            self._flush()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._sending:
            data, fds = self._sending[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
            try:
                sent = self._sender.sendmsg([data], rights)
            except BlockingIOError:
                loop.add_writer(self._sender.fileno(), self._flush)
                return
            except OSError:
                self._drop_unsent()  # it is gone: the reading side sees that too, and acts
                return
            for fd in fds:
                os.close(fd)
            if sent < len(data):
                self._sending[0] = (data[sent:], ())
            else:
                self._sending.popleft()
        loop.remove_writer(self._sender.fileno())

    def _drop_unsent(self) -> None:
        for _, fds in self._sending:
            for fd in fds:
                os.close(fd)
        self._sending.clear()
