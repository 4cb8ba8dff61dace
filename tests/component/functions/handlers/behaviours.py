"""Handlers that do to their process what handlers do."""

# ruff: noqa: T201 - handlers print

import asyncio
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from agentworkflow import Context, Event, Retry, function


def where() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "thread": threading.current_thread() is threading.main_thread(),
    }


async def where_async() -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    return {**where(), "loop": id(loop)}


@function(isolation="Thread")
def where_thread() -> dict[str, Any]:
    return where()


@function(isolation="Process")
async def where_async_process() -> dict[str, Any]:
    return where()


def signalled(number: int = signal.SIGSEGV) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def leaves(code: int = 3) -> None:
    os._exit(code)


def exits(code: int = 4) -> None:
    sys.exit(code)


async def exits_async(code: int = 4) -> None:
    sys.exit(code)


def sleeps(seconds: float = 60.0, mark: str | None = None) -> str:
    if mark:
        with Path(mark).open("a") as file:
            file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return "awake"


async def waits(seconds: float = 60.0, mark: str | None = None, *, crash: bool = False) -> str:
    if mark:
        Path(mark).write_text(str(os.getpid()))  # noqa: ASYNC240 - a mark for the test
    await asyncio.sleep(seconds)
    if crash:
        os._exit(9)
    return "awake"


@function(isolation="Thread")
def waits_in_thread(seconds: float = 60.0, mark: str | None = None) -> str:
    if mark:
        Path(mark).write_text(str(os.getpid()))
    time.sleep(seconds)
    return "awake"


def until_file(gate: str, mark: str) -> str:
    """Runs until `gate` exists; each call appends a line to `mark`."""
    with Path(mark).open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not Path(gate).exists():
        time.sleep(0.01)
    return f"by {os.getpid()}"


def ignores_signals(seconds: float = 60.0) -> None:
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    time.sleep(seconds)


def eats(mib: int = 4096) -> int:
    eaten = bytearray()
    for _ in range(mib):
        eaten += b"x" * 1024 * 1024
        time.sleep(0.0005)
    return len(eaten)


def gulps(mib: int = 65536) -> int:
    return len(bytearray(mib * 1024 * 1024))


async def eats_async(mib: int = 4096) -> int:
    eaten = bytearray()
    for _ in range(mib):
        eaten += b"x" * 1024 * 1024
        await asyncio.sleep(0.0005)
    return len(eaten)


def starts_others(folder: str, seconds: float = 60.0) -> None:
    """Starts a subprocess, one in a session of its own, one orphaned, and a fork."""
    first = subprocess.Popen(["sleep", "300"])
    second = subprocess.Popen(["sleep", "300"], start_new_session=True)
    third = subprocess.run(
        ["sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $!"],
        capture_output=True,
        text=True,
        check=True,
    )
    fourth = os.fork()
    if fourth == 0:
        time.sleep(300)
        os._exit(0)
    pids = [first.pid, second.pid, int(third.stdout), fourth, os.getpid()]
    for number, pid in enumerate(pids):
        Path(folder, f"{number}.pid").write_text(str(pid))
    Path(folder, "all").touch()
    time.sleep(seconds)


def forks_and_returns() -> str:
    """Both copies return; one of them must be ignored."""
    return "copy" if os.fork() == 0 else "original"


def dice() -> list[float]:
    return [random.random() for _ in range(4)]


def prints(text: str = "hello", *, ctx: Context) -> None:
    print(text)
    print("no line end", end="", file=sys.stderr)
    ctx.logger.warning("logged %s", text)


async def prints_async(text: str = "hello") -> None:
    print(text)
    await asyncio.sleep(0.01)
    print("after", text)


def floods(mib: int) -> str:
    chunk = b"x" * 1023 + b"\n"
    for _ in range(mib * 1024):
        os.write(1, chunk)
    return "printed"


def reports(times: int, pause: float = 0.0, *, ctx: Context) -> None:
    for number in range(times):
        ctx.progress((number + 1) / times, f"part {number + 1}")
        time.sleep(pause)


def descriptors() -> list[str]:
    """What this process holds open besides its input and output."""
    found = []
    for name in Path("/proc/self/fd").iterdir():
        if int(name.name) > 2:
            try:
                found.append(str(name.readlink()))
            except FileNotFoundError:
                continue
    return found


def inherited_by_subprocess() -> list[str]:
    done = subprocess.run(
        ["sh", "-c", "ls -l /proc/self/fd"],
        capture_output=True,
        text=True,
        check=True,
        close_fds=False,
    )
    return [line for line in done.stdout.splitlines() if "socket:" in line]


def writes_into_every_socket() -> None:
    for name in Path("/proc/self/fd").iterdir():
        try:
            is_socket = "socket:" in str(name.readlink())
        except FileNotFoundError:
            continue
        if is_socket:
            socket.socket(fileno=os.dup(int(name.name))).send(b"\xff" * 64)
    time.sleep(60)


def dies_by_bad_memory() -> None:
    ctypes.string_at(0)


def flaky(event: Event, mark: str) -> str:
    """Asks for another delivery until it was called three times."""
    with Path(mark).open("a") as file:
        file.write(f"{event.id}\n")
    if len(Path(mark).read_text().splitlines()) < 3:
        raise Retry(after=2)
    return "done"


def environment() -> dict[str, str]:
    return dict(os.environ)
