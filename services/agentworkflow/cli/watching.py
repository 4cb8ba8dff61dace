"""Shows a run while it goes on: a live table on a terminal, one line per log entry elsewhere."""

import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.live import Live

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
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._silent:
            self._live = self._stack.enter_context(
                Live(console=self._console, auto_refresh=False, transient=False)
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
        shown = 0.0
        async for entry in api.entries(run, follow=True):
            if entry.type == "step.waiting" and entry.data.get("signal"):
                self._hint(api, run, entry)
            if self._live is None:
                self._print(entry)
            elif time.monotonic() - shown >= _REFRESH_SECONDS:
                self._show(await api.get(f"/runs/{run}"))
                shown = time.monotonic()
        view: dict[str, Any] = await api.get(f"/runs/{run}")
        self._show(view)
        return view

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
            self._live.update(rendering.build_live(view), refresh=True)
