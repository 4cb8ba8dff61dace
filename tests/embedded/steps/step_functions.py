"""The functions of the step tests: each does one thing that a handler can do."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from agentworkflow import Context, Event, Failure, Retry


def echo(**fields: Any) -> dict[str, Any]:
    """What came in."""
    return fields


def about(ctx: Context, **fields: Any) -> dict[str, Any]:
    """What came in, and what the handler knows of its call."""
    return {
        "fields": fields,
        "run": ctx.run,
        "step": ctx.step,
        "item": ctx.item,
        "attempt": ctx.attempt,
        "session": ctx.session,
        "key": ctx.idempotency_key,
        "remaining": ctx.remaining(),
    }


def see(event: Event | None = None) -> Any:
    """The event that came with the call."""
    return None if event is None else event.type


def refuse(kind: str = "about:blank", title: str = "", detail: str = "") -> None:
    """End the step with a problem."""
    raise Failure(kind, title, detail)


def blunder() -> None:
    """Raise what no author expects."""
    raise LookupError("no such order")


def flaky(ctx: Context, until: int = 99, after: float | None = None, trail: str = "") -> int:
    """Ask for another attempt until the given one, which is returned."""
    if trail:
        with Path(trail).open("a", encoding="utf-8") as file:
            file.write(f"{time.time()}\n")
    if ctx.attempt < until:
        raise Retry(f"attempt {ctx.attempt} of {until}", after=after)
    return ctx.attempt


def crash(ctx: Context, until: int = 99) -> int:
    """Kill the process that the handler runs in, until the given attempt."""
    if ctx.attempt < until:
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt


def grow(ctx: Context, mebibytes: int, until: int = 99) -> int:
    """Take this much memory and keep it, until the given attempt."""
    if ctx.attempt < until:
        kept = bytearray(os.urandom(1024)) * (mebibytes * 1024)
        time.sleep(10)
        return len(kept)
    return ctx.attempt


def slow(seconds: float, trail: str = "", name: str = "") -> str:
    """Take this long, and leave a line in the trail at both ends."""
    _leave(trail, f"start {name}")
    time.sleep(seconds)
    _leave(trail, f"end {name}")
    return name


def hold(until: str, trail: str = "", name: str = "") -> str:
    """Be at work until a file is there, and leave a line in the trail at both ends."""
    _leave(trail, f"start {name}")
    while not Path(until).exists():
        time.sleep(0.02)
    _leave(trail, f"end {name}")
    return name


def _leave(trail: str, line: str) -> None:
    if trail:
        with Path(trail).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
