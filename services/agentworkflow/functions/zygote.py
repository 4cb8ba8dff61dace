"""The zygote: imports the handlers once, then forks a child for whoever the front asks.

A fresh interpreter with one thread. Between forks it only waits, so a fork copies nothing that
runs: no loop, no thread, no socket but the one to the front. It talks to the front alone.
"""

import gc
import importlib
import logging
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from agentworkflow.functions import labels, processes
from agentworkflow.functions.child import enter, flush, leave, limit_memory, live
from agentworkflow.functions.frames import Channel
from agentworkflow.functions.loading import (
    Leftovers,
    Loaded,
    LoadError,
    describe,
    load,
    look_for_leftovers,
    sockets,
)
from agentworkflow.functions.table import FunctionEntry, FunctionTable, parse_table
from agentworkflow.functions.worker import work

__all__ = ["main"]

_BROKEN = 70  # EX_SOFTWARE: a child that failed before it could say why


def main(arguments: Sequence[str]) -> NoReturn:
    """Serve the front behind the socket whose descriptor is the first argument."""
    fd, parent = int(arguments[0]), int(arguments[1])
    processes.die_with_parent(parent)
    processes.adopt_orphans()
    # Ctrl-C and a group's SIGTERM are the front's to handle: it finishes what is in flight.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout, sys.stderr = labels.install()
    zygote = _Zygote(Channel(socket.socket(fileno=fd)))
    zygote.load_all()
    zygote.serve()


class _Zygote:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._loaded: dict[str, Loaded] = {}
        self._children: dict[int, int] = {}  # process id → the front's number for it
        self._sockets: set[str] = set()
        self._wakeup = (-1, -1)

    def load_all(self) -> None:
        """Import preload and handlers, and tell the front about each."""
        self._channel.send({"op": "hello"})
        frame = self._channel.receive()
        if frame is None:
            leave(0)
        table = parse_table(frame[0]["table"])
        apart = set(frame[0]["apart"])  # what must not be imported here
        prepare_imports(table)
        self._sockets = sockets()
        gc.disable()  # imports make objects that live: collecting between them finds nothing
        for module in table.preload:
            if f"preload:{module}" not in apart:
                self._preload(module)
        for entry in table.functions:
            if entry.name not in apart:
                self._load(entry, table.path)
        _configure_logging()
        processes.load()
        flush()
        gc.collect()
        gc.freeze()
        self._channel.send({"op": "loaded"})

    def _preload(self, module: str) -> None:
        self._channel.send({"op": "loading", "what": f"preload:{module}"})
        try:
            importlib.import_module(module)
        except BaseException as error:  # noqa: BLE001 - an import may raise anything
            sys.stderr.write(f"preload {module}: {type(error).__name__}: {error}\n")
        self._start_over_if_unclean(f"preload:{module}")

    def _load(self, entry: FunctionEntry, path: Sequence[str]) -> None:
        self._channel.send({"op": "loading", "what": entry.name})
        try:
            loaded = load(entry, path)
        except LoadError as error:
            self._channel.send(
                {
                    "op": "function",
                    "description": {"name": entry.name, "error": error.to_json()},
                }
            )
        else:
            self._loaded[entry.name] = loaded
            self._channel.send({"op": "function", "description": describe(loaded)})
        self._start_over_if_unclean(entry.name)

    def _start_over_if_unclean(self, what: str) -> None:
        """Become a new zygote without `what` if its import left something that forks badly."""
        gc.collect()
        left = look_for_leftovers(self._sockets)
        if not left:
            return
        self._channel.send({"op": "unclean", "what": what, "left": str(left)})
        flush()
        self._restart(left)

    def _restart(self, left: Leftovers) -> NoReturn:
        if left.processes:
            processes.wipe_out_strangers(())
        fd = self._channel.sock.fileno()
        os.set_inheritable(fd, True)
        os.closerange(3, fd)
        os.closerange(fd + 1, os.sysconf("SC_OPEN_MAX"))
        os.execv(sys.executable, [*sys.orig_argv])  # noqa: S606 - ourselves, anew

    def serve(self) -> NoReturn:
        """Fork, kill and reap as the front asks, until it is gone."""
        try:
            self._serve()
        except BrokenPipeError:
            pass  # the front went away while something was told to it
        except Exception:  # noqa: BLE001 - said here, for leaving says nothing
            traceback.print_exc()
        finally:
            # Children die by themselves; what they started needs us.
            processes.wipe_out_strangers(())
            leave(0)

    def _serve(self) -> None:
        # From here on the socket's end says that the front is gone, and it is always heard.
        processes.outlive_parent()
        reading, writing = self._wakeup = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._channel.sock, select.POLLIN)
        poll.register(reading, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == reading:
                    os.read(reading, 4096)
                    self._reap()
                elif not self._obey():
                    return

    def _obey(self) -> bool:
        """Do what the front asks next; False when it is gone."""
        found = self._channel.receive_with_fds()
        if found is None:
            return False
        (order, _), fds = found
        if order["op"] == "start":
            self._start(order, fds)
        elif order["op"] == "kill":
            for pid, number in self._children.items():
                if number == order["child"]:
                    os.kill(pid, signal.SIGKILL)
        return True

    def _start(self, order: dict[str, Any], fds: Sequence[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._channel.send({"op": "refused", "child": order["child"], "detail": str(error)})
            pid = -1
        if pid == 0:
            try:
                self._be_child(order, *fds)
            except Exception:  # noqa: BLE001 - said here, for leaving says nothing
                traceback.print_exc()
            finally:
                leave(_BROKEN)
        for fd in fds:
            os.close(fd)
        if pid > 0:
            self._children[pid] = order["child"]
            self._channel.send({"op": "started", "child": order["child"], "pid": pid})

    def _be_child(self, order: dict[str, Any], channel_fd: int, output: int) -> NoReturn:
        self._channel.sock.close()
        enter(self._pid, output)
        for fd in self._wakeup:
            os.close(fd)
        if order["apart"]:
            os.set_inheritable(channel_fd, True)
            command = [sys.executable, "-P", "-m", "agentworkflow.functions.spawned"]
            os.execv(sys.executable, [*command, str(channel_fd), str(self._pid)])  # noqa: S606
        channel = Channel(socket.socket(fileno=channel_fd))
        loaded = self._loaded[order["function"]]
        limit_memory(loaded.entry.memory)
        run(channel, loaded)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._children.pop(pid, None)
            if number is not None:
                # What it started and did not wait for is ours now, and nobody else's.
                processes.wipe_out_strangers(self._children)
                self._channel.send({"op": "exited", "child": number, "status": status})


def prepare_imports(table: FunctionTable) -> None:
    """Put the table's folders first on the path, in their order."""
    sys.path[:0] = [folder for folder in table.path if folder not in sys.path]


def run(channel: Channel, loaded: Loaded) -> NoReturn:
    """Live as the kind of child that the function's handler needs."""
    if loaded.signature.in_worker:
        work(channel, loaded)
    live(channel, loaded)


def _configure_logging() -> None:
    """Let `logging` speak unless the user's own import has set it up."""
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
