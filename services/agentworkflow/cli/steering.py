"""Commands that change something in a running engine: send, signal, cancel, redrive, drop."""

import asyncio
from typing import Any
from urllib.parse import quote

import typer

from agentworkflow.cli.address import EngineAddress
from agentworkflow.cli.client import problem_text
from agentworkflow.cli.errors import CommandError, Outcome
from agentworkflow.cli.events import EventBody
from agentworkflow.cli.inputs import parse_lenient_value
from agentworkflow.cli.inspecting import full_run_id


def send_events(engine: EngineAddress, events: EventBody, broker: str) -> int:
    """Post events to a broker. Returns 2 if some of a batch were refused; the others are in."""

    async def post() -> Any:
        async with engine.connect() as api:
            return await api.post_bytes("/events", events.body, events.content_type, broker=broker)

    answer = asyncio.run(post())
    refused, accepted = answer["refused"], answer["accepted"]
    typer.echo(f"accepted {accepted} event{'' if accepted == 1 else 's'}")
    for problem in refused:
        text = problem_text(problem.get("status", 400), problem)
        typer.echo(f"Error: event {problem['index'] + 1} is refused: {text}", err=True)
    return Outcome.USAGE if refused else Outcome.DONE


def send_signal(engine: EngineAddress, run: str, name: str, value: str) -> None:
    """Send a signal with a JSON value to a run."""
    body = parse_lenient_value(value, "VALUE")
    if not name:
        raise CommandError("a signal needs a name.")

    async def post() -> str:
        async with engine.connect() as api:
            identifier = await full_run_id(api, run)
            await api.post(f"/runs/{identifier}/signals/{quote(name, safe='')}", body)
            return identifier

    typer.echo(f"{asyncio.run(post())} got the signal {name}")


def cancel_run(engine: EngineAddress, run: str) -> None:
    """Cancel a run; it ends with reason `CancelRequested`."""

    async def post() -> str:
        async with engine.connect() as api:
            identifier = await full_run_id(api, run)
            await api.post(f"/runs/{identifier}/cancel")
            return identifier

    typer.echo(f"{asyncio.run(post())} is cancelled")


def redrive_dead_letter(engine: EngineAddress, letter: str) -> None:
    """Send a dead letter again."""

    async def post() -> Any:
        async with engine.connect() as api:
            return await api.post(f"/dead-letters/{quote(letter, safe='')}/redrive")

    run = (asyncio.run(post()) or {}).get("run")
    typer.echo(f"{letter} has arrived{f' and started {run}' if run else ''}")


def drop_dead_letter(engine: EngineAddress, letter: str) -> None:
    """Drop a dead letter."""

    async def delete() -> None:
        async with engine.connect() as api:
            await api.delete(f"/dead-letters/{quote(letter, safe='')}")

    asyncio.run(delete())
    typer.echo(f"{letter} is dropped")
