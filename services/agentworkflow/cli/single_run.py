"""`agentworkflow run`: an engine for one run, from an event or an input to the result."""

import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from agentworkflow.cli import rendering
from agentworkflow.cli.client import ApiClient
from agentworkflow.cli.embedded import Embedded, EngineOptions
from agentworkflow.cli.errors import CommandError, Outcome
from agentworkflow.cli.events import STRUCTURED
from agentworkflow.cli.interrupts import run_until_interrupted
from agentworkflow.cli.orders import Order
from agentworkflow.cli.starts import EventStart, RequestStart
from agentworkflow.cli.watching import Watcher

_STEP_FIELDS: Final = (
    "name",
    "state",
    "reason",
    "attempts",
    "startType",
    "durationMs",
    "output",
)
_PAUSE: Final = 0.05
_EVENT_SECONDS: Final = 30.0


def run_once(order: Order) -> int:
    """Carry out one run and print its result; 0 only if it succeeded.

    Raises:
        CommandError: the engine cannot serve the workflow, or failed.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="agentworkflow-run-", ignore_cleanup_errors=True)
        )
        options = EngineOptions(
            data_dir=Path(folder), secrets=order.line.secrets, commands=order.commands
        )
        view = run_until_interrupted(_run(order, options))
    return _report(order, view)


async def _run(order: Order, options: EngineOptions) -> dict[str, Any]:
    start = order.start
    console = rendering.build_console()
    with Watcher(console, silent=order.line.as_json) as watcher:
        async with Embedded(options, on_output=_printer(order, console)) as engine:
            await engine.apply([start.workflow])
            async with engine.connect(start.workflow.resource.metadata.namespace) as api:
                run = await _start(api, start)
                try:
                    view = await asyncio.wait_for(watcher.follow(api, run), order.patience)
                except TimeoutError:
                    view = await _give_up(api, run, order)
                if view["state"] == "Succeeded" and view["output"] is None:
                    view["output"] = await api.get(f"/runs/{run}/result")
                return view


async def _start(api: ApiClient, start: RequestStart | EventStart) -> str:
    name = start.workflow.resource.metadata.name
    if isinstance(start, RequestStart):
        ticket = await api.post(f"/workflows/{name}/runs", start.input, session=start.session)
        return str(ticket["run"])
    await api.post_bytes("/events", start.body, STRUCTURED, broker=start.broker)
    async with asyncio.timeout(_EVENT_SECONDS):
        while True:
            found = (await api.get("/runs", workflow=name, limit=1))["items"]
            if found:
                return str(found[0]["run"])
            refused = (await api.get("/dead-letters", limit=1))["items"]
            if refused:
                raise CommandError(
                    f"the event was not taken ({refused[0]['reason']}): {refused[0]['detail']}"
                )
            await asyncio.sleep(_PAUSE)


async def _give_up(api: ApiClient, run: str, order: Order) -> dict[str, Any]:
    sys.stderr.write(f"the run did not end within {order.line.timeout}: it is cancelled\n")
    await api.post(f"/runs/{run}/cancel")
    view: dict[str, Any] = await api.get(f"/runs/{run}")
    return view


def _printer(order: Order, console: Console) -> Any:
    """Where the functions' own lines go: above the live table, or to standard error."""

    def on_output(line: str) -> None:
        if console.is_terminal and not order.line.as_json:
            console.print(line, markup=False, style="dim", soft_wrap=True)
        else:
            sys.stderr.write(f"{line}\n")

    return on_output


def _report(order: Order, view: dict[str, Any]) -> int:
    if order.line.as_json:
        sys.stdout.write(json.dumps(build_result(view), indent=2, ensure_ascii=False) + "\n")
    else:
        console = rendering.build_console()
        if not console.is_terminal:
            console.print()
            console.print(rendering.build_live(view))
        console.print(rendering.build_ending(view), soft_wrap=True)
    return Outcome.DONE if view["state"] == "Succeeded" else Outcome.FAILED


def build_result(view: dict[str, Any]) -> dict[str, Any]:
    """The object that `run --json` prints."""
    return {
        "run": view["run"],
        "state": view["state"],
        "reason": view["reason"],
        "problem": view["problem"],
        "output": view["output"],
        "steps": [{name: step.get(name) for name in _STEP_FIELDS} for step in view["steps"]],
        "durationMs": view["durationMs"],
    }
