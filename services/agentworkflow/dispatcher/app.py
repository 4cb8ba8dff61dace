"""Runs one dispatcher as a process: bind, answer probes, load the rest, serve, end gracefully."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from agentworkflow.dispatcher.doorway import Doorway
from agentworkflow.dispatcher.keys import require_safe_address
from agentworkflow.dispatcher.request_heads import BoundedHeads
from agentworkflow.dispatcher.settings import Settings

if TYPE_CHECKING:
    from agentworkflow.dispatcher.core import Core
    from agentworkflow.dispatcher.doors import Doors
    from agentworkflow.store import Store

_BACKLOG: Final = 2048
_RETRY: Final = 1.0


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError, which names the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {reason}") from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """A uvicorn that leaves the process's signals to the dispatcher."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Process:
    """One dispatcher in this process, with its sockets bound.

    Raises:
        UnsafeAddressError: others could reach the API without a key.
        OSError: an address cannot be bound.
    """

    def __init__(self, settings: Settings, log_level: str = "INFO") -> None:
        require_safe_address(settings)
        self._settings = settings
        self._log_level = log_level
        self._sockets = (
            bind(settings.host, settings.port),
            bind(settings.event_host, settings.event_port),
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, stopping.set)
        doorways = (Doorway(), Doorway())
        servers = [self._server(doorway) for doorway in doorways]
        serving = [
            asyncio.create_task(server.serve(sockets=[listener]))
            for server, listener in zip(servers, self._sockets, strict=True)
        ]
        self._announce()
        opening = asyncio.create_task(self._open(doorways))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({opening, stopped, *serving}, return_when=asyncio.FIRST_COMPLETED)
        failed = opening.done() and opening.exception() is not None
        if failed:
            for doorway in doorways:
                doorway.close("The dispatcher cannot start; its log says why.")
        else:
            await asyncio.wait({stopped, *serving}, return_when=asyncio.FIRST_COMPLETED)
        await self._close(opening, servers, serving)
        stopped.cancel()
        if failed:
            opening.result()

    def _server(self, doorway: Doorway) -> _Server:
        return _Server(
            uvicorn.Config(
                doorway,
                http=BoundedHeads,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(self._settings.shutdown_grace),
            )
        )

    def _announce(self) -> None:
        api, events = (url_of(listener) for listener in self._sockets)
        line = {"event": "listening", "api": api, "events": events}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    async def _open(self, doorways: tuple[Doorway, Doorway]) -> "tuple[Store, Core, Doors]":
        """Load what is heavy, connect, and open both doors."""
        # In a thread, so that probes are answered meanwhile.
        loaded = await asyncio.to_thread(_load)
        loaded.configure_logs(self._log_level)
        store, core = await self._connect(loaded, doorways)
        doors: Doors = loaded.Doors.build(core, self._settings)
        doorways[0].open(doors.api)
        doorways[1].open(doors.event_port)
        return store, core, doors

    async def _connect(
        self, loaded: Any, doorways: tuple[Doorway, Doorway]
    ) -> "tuple[Store, Core]":
        """Connect to the store, however long that takes to come up."""
        log = loaded.structlog.get_logger(__name__)
        while True:
            try:
                store = await loaded.Store.connect(
                    self._settings.redis_url, shards=self._settings.shards
                )
            except loaded.StoreUnavailable as error:
                for doorway in doorways:
                    doorway.trouble = str(error)
                log.warning("store.unavailable", error=str(error))
                await asyncio.sleep(_RETRY)
                continue
            core = loaded.Core.build(store, broker_url=self._settings.broker_url)
            try:
                await core.start()
                durability = await store.durability()
            except loaded.StoreUnavailable as error:
                log.warning("store.unavailable", error=str(error))
                await core.aclose()
                await store.aclose()
                await asyncio.sleep(_RETRY)
                continue
            for doorway in doorways:
                doorway.trouble = None
            core.metrics.observe_loss_window(durability.window)
            log.info("store.connected", durability=durability.message)
            return store, core

    async def _close(
        self,
        opening: "asyncio.Task[tuple[Store, Core, Doors]]",
        servers: list[_Server],
        serving: "list[asyncio.Task[None]]",
    ) -> None:
        opened = None
        if opening.done() and opening.exception() is None:
            opened = opening.result()
            opened[2].close()
        else:
            opening.cancel()
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*serving)
        if opened is not None:
            store, core, doors = opened
            await core.aclose()
            await doors.aclose()
            await store.aclose()


def _load() -> Any:
    """The heavy part of the package, in one namespace."""
    from agentworkflow.dispatcher import loading  # noqa: PLC0415 - half a second, after binding

    return loading
