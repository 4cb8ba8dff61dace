"""Shows a run while it goes on: a live table on a terminal, one line per log entry elsewhere."""

import asyncio
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from agentworkflow.cli import rendering
from agentworkflow.cli.client import ApiClient, LogEntry

_REFRESH_SECONDS: Final = 0.1


class Watcher:
    """Follows one run and shows what happens to it.

    Args:
        console: where to; a terminal gets a live table, anything else plain lines.
        silent: show nothing, as for `--json`.
    """

    def __init__(self, console: Console, *, silent: bool = False) -> None:
        self._console = console
        self._silent = silent
        self._live: Live | None = None
        self._notes: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._silent:
            self._live = self._stack.enter_context(
                Live(
                    Text("starting the engine", style="dim"),
                    console=self._console,
                    auto_refresh=False,
                )
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    async def follow(self, api: ApiClient, run: str) -> dict[str, Any]:
        """Show the run until it has ended; its view then."""
        refreshing = asyncio.create_task(self._keep_fresh(api, run))
        try:
            async for entry in api.entries(run, follow=True):
                self._take(api, run, entry)
        finally:
            refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await refreshing
        view: dict[str, Any] = await api.get(f"/runs/{run}")
        self._show(view)
        return view

    async def _keep_fresh(self, api: ApiClient, run: str) -> None:
        """Show the table again after something happened, at most ten times a second."""
        while self._live is not None:
            await self._changed.wait()
            self._changed.clear()
            self._show(await api.get(f"/runs/{run}"))
            await asyncio.sleep(_REFRESH_SECONDS)

    def _take(self, api: ApiClient, run: str, entry: LogEntry) -> None:
        self._changed.set()
        step = entry.data.get("step")
        if entry.type == "step.progressed" and step is not None:
            self._notes[step] = rendering.progress_text(entry.data)
        if entry.type == "step.waiting" and entry.data.get("signal"):
            self._hint(api, run, entry)
        if self._live is None:
            self._print(entry)

    def _print(self, entry: LogEntry) -> None:
        if not self._silent:
            line = rendering.entry_line(entry.data)
            self._console.print(line, markup=False, soft_wrap=True)

    def _hint(self, api: ApiClient, run: str, entry: LogEntry) -> None:
        """Say how a person lets a waiting run go on, as nobody else can."""
        signal = entry.data["signal"]
        line = (
            f"{entry.data['step']} waits for a signal: "
            f"agentworkflow signal {run} {signal} VALUE --url {api.url}"
        )
        console = self._console if self._live is not None else rendering.build_console(stderr=True)
        console.print(line, markup=False, soft_wrap=True)

    def _show(self, view: dict[str, Any]) -> None:
        if self._live is not None:
            self._live.update(rendering.build_live(view, self._notes), refresh=True)
