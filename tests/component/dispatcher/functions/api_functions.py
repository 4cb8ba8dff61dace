"""What the functions of these tests do."""

import time
from pathlib import Path
from typing import Any

from agentworkflow import Context, Failure, function


@function
def analyze(order: str, amount: float = 1.0) -> dict[str, Any]:
    return {"order": order, "revenue": amount * 2}


@function
def refuse(**_: Any) -> None:
    raise Failure("https://example.com/no", "Not today", "the shop is closed")


@function
def large(size: int) -> str:
    return "x" * size


@function
def report(mark: str, ctx: Context) -> str:
    """Work until the file `mark` is there: progress that comes after the answer is dropped."""
    ctx.progress(0.5, "half of it")
    end = time.monotonic() + 20
    while not Path(mark).exists() and time.monotonic() < end:
        time.sleep(0.01)
    return "done"
