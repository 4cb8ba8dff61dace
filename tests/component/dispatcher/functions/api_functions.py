"""What the functions of these tests do."""

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
def report(ctx: Context) -> str:
    ctx.progress(0.5, "half of it")
    return "done"
