"""Child processes of the engine: they die with it, their end is noticed, their output is kept.

Talks to the operating system only.
"""

import asyncio
import contextlib
import errno
import functools
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

OnLine = Callable[[str], None]

LOG_BYTES: Final = 8 * 1024 * 1024
"""A log that has grown so long is put aside, in place of the one put aside before."""

_CHUNK: Final = 64 * 1024
_POLL: Final = 0.05

_ASK: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run.

    Attributes:
        arguments: the program and its arguments; no shell reads them.
        environment: all of it; nothing is inherited beside it.
        folder: the working directory.
        log: the file that its output is appended to.
        files: descriptors that it inherits under the same numbers.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    files: tuple[int, ...] = ()
    on_line: OnLine = field(default=lambda _: None)


class Child:
    """One running process, the leader of a process group of its own."""

    def __init__(self, command: Command) -> None:
        self.started = time.monotonic()
        program = _find_program(command)
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*_launcher(), str(os.getpid()), program, *command.arguments[1:]],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                env=dict(command.environment),
                cwd=command.folder,
                pass_fds=command.files,
                # Ctrl-C on the terminal is for the engine; it ends its children in order.
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._output = _Output(reading, command.log, command.on_line)
        self._ended = asyncio.create_task(self._wait(), name=f"child {self.pid}")

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self._process.returncode

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started

    async def wait(self) -> int:
        """Wait for its end; it is no zombie then."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process.poll() is None:
            self._process.terminate()

    async def stop(self, grace: float) -> None:
        """Ask it to end, ask again half-way, and kill its group when ``grace`` seconds are over.

        A function host takes the second request as: give up what is in flight.
        """
        for _ in range(2):
            self.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace / 2):
                    await self.wait()
                    break
        # Also after a clean end: a handler may have left processes of its own behind.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.wait()

    async def _wait(self) -> int:
        code = await _wait_for_end(self._process)
        self._output.drain()
        return code


class _Output:
    """Reads a pipe when there is something in it, into a log file and a callback, by lines."""

    def __init__(self, descriptor: int, log: Path, on_line: OnLine) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._on_line = on_line
        self._rest = b""
        log.parent.mkdir(parents=True, exist_ok=True)
        self._path = log
        self._log = log.open("ab", buffering=0)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._read)

    def drain(self) -> None:
        """Take what is there and close; processes that outlive the child get no reader."""
        if self._descriptor < 0:
            return
        while self._read():
            pass
        self._close()

    def _read(self) -> bool:
        """Take one piece; False if there is none now, or none any more."""
        if self._descriptor < 0:
            return False
        try:
            piece = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not piece:
            self._close()
            return False
        self._keep(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > _CHUNK:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._on_line(line.decode(errors="replace"))
        return True

    def _keep(self, piece: bytes) -> None:
        self._log.write(piece)
        if self._log.tell() > LOG_BYTES:
            self._log.close()
            self._path.replace(self._path.with_suffix(".old.log"))
            self._log = self._path.open("ab", buffering=0)

    def _close(self) -> None:
        if self._descriptor < 0:
            return
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        self._log.close()
        if self._rest:
            self._on_line(self._rest.decode(errors="replace"))
            self._rest = b""


async def _wait_for_end(process: "subprocess.Popen[bytes]") -> int:
    """Wait without a thread: on Linux the kernel says when, elsewhere we look."""
    if not hasattr(os, "pidfd_open"):
        while process.poll() is None:  # noqa: ASYNC110 - the portable way is to look
            await asyncio.sleep(_POLL)
        return process.wait()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


def _find_program(command: Command) -> str:
    """The program's path; one with a slash in it is relative to the folder, as in a shell."""
    name = command.arguments[0] if command.arguments else ""
    if os.sep in name:
        name = str(command.folder.absolute() / name)
    found = shutil.which(name, path=command.environment.get("PATH", os.defpath))
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "there is no such program", name)
    return found


@functools.cache
def _launcher() -> tuple[str, ...]:
    """What is put before a command line, so that the child is killed when we die (Linux only).

    Linux tells a child of its parent's end only if the child asks, so it asks in a program that
    then becomes the child: code of ours between fork and exec is not safe where there are threads.
    Then it looks whether its parent, whose id is put behind this, still is.
    A function host asks for itself too, but only once Python is up.
    """
    if sys.platform != "linux":
        return ("/bin/sh", "-c", 'exec "$@"')
    setpriv = shutil.which("setpriv")
    if setpriv is not None and _takes_death_signals(setpriv):
        check = '[ "$PPID" = "$0" ] && exec "$@"'
        return (setpriv, "--pdeathsig", "KILL", "--", "/bin/sh", "-c", check)
    # A Python start dearer, and everywhere.
    return (sys.executable, "-I", "-S", "-c", _ASK)


def _takes_death_signals(setpriv: str) -> bool:
    """Busybox has a `setpriv` that does not."""
    asked = subprocess.run([setpriv, "--help"], capture_output=True, text=True, check=False)
    return "--pdeathsig" in asked.stdout
