"""Commands that read from a running engine: workflows, runs, show, logs, dead-letters."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import typer

from agentworkflow.cli import rendering
from agentworkflow.cli.address import EngineAddress
from agentworkflow.cli.client import ApiClient
from agentworkflow.cli.errors import CommandError

_RUN_ID_LENGTH = 39  # a UUID, a hyphen, and two digits of the shard
_PAGE = 100


def list_workflows(engine: EngineAddress, *, as_json: bool) -> None:
    """Print what is published."""
    found = asyncio.run(_collect(engine, "/workflows", limit=None))
    if as_json:
        _print_json(found)
        return
    rendering.print_list(rendering.build_console(), rendering.build_workflows_table(found))


def list_runs(
    engine: EngineAddress,
    *,
    state: str | None,
    workflow: str | None,
    session: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Print runs, the newest first."""
    filters = {"state": state, "workflow": workflow, "session": session}
    found = asyncio.run(_collect(engine, "/runs", limit=limit, **filters))
    if as_json:
        _print_json(found)
    elif found:
        rendering.print_list(rendering.build_console(), rendering.build_runs_table(found))
    else:
        typer.echo("no runs")


def show_run(engine: EngineAddress, run: str, *, as_json: bool) -> None:
    """Print one run with its steps."""

    async def fetch() -> Any:
        async with engine.connect() as api:
            path = f"/runs/{await full_run_id(api, run)}"
            found = await api.get(path)
            if found["state"] == "Succeeded" and found["output"] is None:
                # A large output is not part of the view.
                found["output"] = await api.get(f"{path}/result")
            return found

    view = asyncio.run(fetch())
    if as_json:
        _print_json(view)
    else:
        console = rendering.build_console()
        console.print(rendering.build_run(view))
        console.print(rendering.build_ending(view), soft_wrap=True)


def print_log(engine: EngineAddress, run: str, *, follow: bool, as_json: bool) -> None:
    """Print the run's log; with `follow` until the run has ended."""

    async def stream() -> None:
        async with engine.connect() as api:
            identifier = await full_run_id(api, run)
            async for entry in api.entries(identifier, follow=follow):
                line = (
                    json.dumps({"id": entry.id, **entry.data}, ensure_ascii=False)
                    if as_json
                    else rendering.entry_line(entry.data)
                )
                typer.echo(line)

    asyncio.run(stream())


def list_dead_letters(engine: EngineAddress, *, limit: int, as_json: bool) -> None:
    """Print the dead letters."""
    found = asyncio.run(_collect(engine, "/dead-letters", limit=limit))
    if as_json:
        _print_json(found)
    elif found:
        rendering.print_list(rendering.build_console(), rendering.build_dead_letters_table(found))
    else:
        typer.echo("no dead letters")


def show_dead_letter(engine: EngineAddress, letter: str) -> None:
    """Print one dead letter as JSON: the event, its address, and why it did not arrive."""

    async def fetch() -> Any:
        async with engine.connect() as api:
            return await api.get(f"/dead-letters/{quote(letter, safe='')}")

    _print_json(asyncio.run(fetch()))


async def full_run_id(api: ApiClient, run: str) -> str:
    """The id of the one run that begins with `run`, as git does with commits.

    Raises:
        CommandError: no run or several runs begin so.
    """
    if len(run) >= _RUN_ID_LENGTH:
        return quote(run, safe="")
    found = [view["run"] for view in await _pages(api, "/runs", 10 * _PAGE)]
    matching = [identifier for identifier in found if identifier.startswith(run)]
    if len(matching) == 1:
        return str(matching[0])
    if matching:
        raise CommandError(f"{len(matching)} runs begin with {run}; write more of the id.")
    raise CommandError(f"no run begins with {run}; `agentworkflow runs` lists them.")


async def _collect(
    engine: EngineAddress, path: str, limit: int | None, **filters: Any
) -> list[Any]:
    async with engine.connect() as api:
        return await _pages(api, path, limit, **filters)


async def _pages(api: ApiClient, path: str, limit: int | None, **filters: Any) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while limit is None or len(found) < limit:
        size = _PAGE if limit is None else min(_PAGE, limit - len(found))
        page = await api.get(path, limit=size, cursor=cursor, **filters)
        found += page["items"]
        cursor = page.get("cursor")
        if not cursor:
            break
    return found


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
