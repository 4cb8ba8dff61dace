"""The front process: HTTP, probes, and the processes below it. It never imports user code.

The zygote is started before the server's modules are imported, so both load at the same time.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

from agentworkflow.functions.app import App, describe_host
from agentworkflow.functions.processes import adopt_orphans, die_with_parent
from agentworkflow.functions.service import Service
from agentworkflow.functions.table import FunctionTable
from agentworkflow.functions.zygote_link import ZygoteLink

__all__ = ["describe", "serve"]

log = logging.getLogger("agentworkflow.functions")

_GRACE_SECONDS = 0.1  # for requests on connections that were accepted just before the end
_KEEP_ALIVE_SECONDS = 3600


def serve(table: FunctionTable, listener: socket.socket, idle_exit: float | None) -> int:
    """Serve until told to stop, or until idle for `idle_exit` seconds. Returns the exit code."""
    _configure_logging()
    parent = os.getppid()
    if parent > 1:
        die_with_parent(parent)
    adopt_orphans()
    zygote = ZygoteLink(table)
    zygote.launch()
    import uvicorn  # noqa: PLC0415 - while the zygote imports the handlers on another core

    class Server(uvicorn.Server):
        """Uvicorn without its own signals and without its ten ticks a second."""

        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            self.stopped = asyncio.Event()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def main_loop(self) -> None:
            await self.stopped.wait()

    service = Service(table, zygote)
    app = App(service)
    server = Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=5,
        )
    )

    async def main() -> None:
        loop = asyncio.get_running_loop()
        leave = asyncio.Event()

        def on_signal() -> None:
            if leave.is_set():
                log.warning("told to stop twice: what is in flight is given up")
                server.force_exit = True
                server.stopped.set()
            leave.set()

        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, on_signal)
        await zygote.start()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        idle = asyncio.create_task(_watch_idle(service, idle_exit, leave))
        stop = asyncio.create_task(leave.wait())
        await asyncio.wait([serving, stop], return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        app.is_leaving = True
        for each_server in server.servers:
            each_server.close()
        await asyncio.sleep(_GRACE_SECONDS)
        drained = asyncio.create_task(service.joins.drained())
        given_up = asyncio.create_task(server.stopped.wait())
        await asyncio.wait([drained, given_up], return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        server.stopped.set()
        await serving
        given_up.cancel()
        await zygote.stop()

    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(main())
    return 0


def describe(table: FunctionTable) -> dict[str, object]:
    """Import the handlers in a zygote and return what they are, errors included."""
    _configure_logging()
    adopt_orphans()

    async def main() -> dict[str, object]:
        zygote = ZygoteLink(table)
        zygote.launch()
        await zygote.start()
        await zygote.loaded.wait()
        shown = describe_host(Service(table, zygote))
        await zygote.stop()
        return shown

    return asyncio.run(main())


async def _watch_idle(service: Service, idle_exit: float | None, leave: asyncio.Event) -> None:
    if idle_exit is None:
        return
    while (idle := service.idle_seconds) < idle_exit:  # noqa: ASYNC110 - looks at a clock
        # Busy counts as just begun, so that the next look is never far too late.
        await asyncio.sleep(max(0.02, min(idle_exit - idle, 1.0)))
    log.info("idle for %g s: leaving", idle_exit)
    leave.set()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _configure_logging() -> None:
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
