"""Ends a command in order when the user or the system asks it to: Ctrl-C, SIGTERM, SIGHUP."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import typer

Result = TypeVar("Result")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHELL_OFFSET: Final = 128


def run_until_interrupted(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine; a signal cancels it, so that it can put everything away, and then exits.

    The exit code is the shell's: 130 for Ctrl-C, 143 for SIGTERM. A second signal is not
    waited for: it ends the process at once, and the children die with it.
    """
    received: list[signal.Signals] = []

    async def guarded() -> Result:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        def on_signal(number: signal.Signals) -> None:
            received.append(number)
            for each in _SIGNALS:
                loop.remove_signal_handler(each)
                signal.signal(each, signal.SIG_DFL)
            if task is not None:
                task.cancel()

        for each in _SIGNALS:
            loop.add_signal_handler(each, on_signal, each)
        return await work

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if not received:
            raise
        raise typer.Exit(_SHELL_OFFSET + received[0]) from None
