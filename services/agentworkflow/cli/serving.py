"""`agentworkflow dev`: an engine that stays up, and follows the files as they change."""

import asyncio
import sys
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from watchfiles import Change, DefaultFilter, awatch

from agentworkflow.cli.checking import LoadedWorkflow, require_handlers, require_valid
from agentworkflow.cli.embedded import Embedded, EngineOptions
from agentworkflow.cli.errors import CommandError, Outcome
from agentworkflow.cli.inputs import parse_pairs
from agentworkflow.cli.interrupts import run_until_interrupted

_BROKERS: Final = ("durable", "lossy")


@dataclass(frozen=True, slots=True)
class Stay:
    """The command line of `dev`."""

    files: tuple[Path, ...]
    data_dir: Path | None = None
    port: int = 8080
    event_port: int = 0
    broker: str = "durable"
    redis_url: str | None = None
    secrets: Path | None = None
    commands: tuple[str, ...] = ()
    webhook_hosts: tuple[str, ...] = ()


def load(files: Sequence[Path]) -> tuple[LoadedWorkflow, ...]:
    """The workflows of the files, with handlers that can be had.

    Raises:
        CommandError: anything is wrong.
    """
    workflows = require_valid(files)
    require_handlers(workflows)
    return workflows


def serve(stay: Stay) -> int:
    """Run the engine until it is interrupted.

    Raises:
        CommandError: an option or a file is wrong, a port or the data directory is in use.
    """
    if stay.broker not in _BROKERS:
        raise CommandError(f"--broker {stay.broker} is unknown; write durable or lossy.")
    options = EngineOptions(
        data_dir=stay.data_dir,
        port=stay.port,
        event_port=stay.event_port,
        lossy=stay.broker == "lossy",
        redis_url=stay.redis_url,
        secrets=stay.secrets,
        commands=parse_pairs(stay.commands, "--command"),
        webhook_hosts=stay.webhook_hosts,
    )
    workflows = load(stay.files)
    run_until_interrupted(_serve(stay, options, workflows))
    return Outcome.DONE


async def _serve(stay: Stay, options: EngineOptions, workflows: Sequence[LoadedWorkflow]) -> None:
    async with Embedded(options, on_output=_say) as engine:
        await engine.apply(workflows)
        for line in engine.describe():
            _say(line)
        await _first_to_end(engine.wait_failed(), _follow_changes(stay, engine, workflows))


async def _first_to_end(*works: Coroutine[Any, Any, None]) -> None:
    """Wait for the first of several to end, and raise as it does; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow_changes(
    stay: Stay, engine: Embedded, workflows: Sequence[LoadedWorkflow]
) -> None:
    """Apply the files again whenever they or the code beside them change."""
    current = tuple(workflows)
    folders = watched_folders(stay.files)
    async for changes in awatch(*folders, watch_filter=CodeFilter(stay.files), recursive=True):
        names = ", ".join(sorted({Path(path).name for _, path in changes})[:5])
        try:
            # Imports user code in a process of its own and waits for it: not on this loop.
            changed = await asyncio.to_thread(load, stay.files)
            await engine.reload(current, changed)
        except CommandError as error:
            _say(f"{names} changed, and is not taken:\n{error}")
            continue
        current = changed
        _say(f"{names} changed: reloaded")


def watched_folders(files: Iterable[Path]) -> list[Path]:
    """The folders of workflow files, without those that lie in another of them."""
    folders = sorted({file.resolve().parent for file in files})
    return [
        folder
        for folder in folders
        if not any(other != folder and folder.is_relative_to(other) for other in folders)
    ]


class CodeFilter(DefaultFilter):
    """Passes changes of the workflow files and of Python modules, whatever else is written."""

    def __init__(self, files: Iterable[Path]) -> None:
        super().__init__()
        self._files = {str(file.resolve()) for file in files}

    def __call__(self, change: Change, path: str) -> bool:
        """Whether this change is one."""
        is_code = path.endswith(".py") or path in self._files
        return is_code and super().__call__(change, path)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
