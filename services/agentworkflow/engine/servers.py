"""HTTP servers inside the engine's process: a socket bound first, uvicorn on it, no signals taken.

The socket is bound before anything else starts, so that a port in use is the first thing said and
nothing has to be undone.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

import uvicorn

from agentworkflow.dispatcher.request_heads import BoundedHeads

_BACKLOG: Final = 1024

Application = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]


class PortInUse(OSError):  # noqa: N818 - the state that the message is about
    """Another process listens where a server of the engine should."""


def bind(host: str, port: int, what: str) -> socket.socket:
    """Bind and listen; port 0 takes a free one.

    Raises:
        PortInUse: with what wanted the port and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                error.errno,
                f"port {port} on {host}, wanted for {what}, is in use by another process: "
                "choose another port, 0 for any that is free, or stop that process",
            ) from error
        if error.errno in (errno.EACCES, errno.EADDRNOTAVAIL):
            raise PortInUse(
                error.errno,
                f"{what} cannot listen on {host} port {port} ({error.strerror}): "
                "choose an address of this machine and a port above 1023",
            ) from error
        raise
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """The URL of a bound socket, without a path."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Quiet(uvicorn.Server):
    """A uvicorn that leaves the process's signals alone and sleeps while there is nothing to do."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leave = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM belong to whoever runs the engine."""
        yield

    async def main_loop(self) -> None:
        """Wait to be told; uvicorn itself would look ten times a second."""
        await self.on_tick(0)
        await self._leave.wait()

    def leave(self) -> None:
        """End the main loop."""
        self.should_exit = True
        self._leave.set()


class Server:
    """One application on one bound socket, served from this process's event loop."""

    def __init__(self, application: Application, listener: socket.socket, what: str) -> None:
        self._what = what
        self._listener = listener
        self._server = _Quiet(
            uvicorn.Config(
                application,
                loop="none",
                http=BoundedHeads,
                lifespan="on",
                log_config=None,
                access_log=False,
                # Watchers of a run keep connections open for good.
                timeout_graceful_shutdown=2,
                server_header=False,
                date_header=False,
            )
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return address_of(self._listener)

    async def start(self) -> None:
        """Serve; returns when requests are answered."""
        self._task = asyncio.create_task(self._serve(), name=f"serve {self._what}")
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop accepting, give what is under way two seconds, and close."""
        if self._task is None:
            self._listener.close()
            return
        self._server.leave()
        await self._task
        self._task = None
        self._listener.close()

    async def _serve(self) -> None:
        try:
            await self._server.serve(sockets=[self._listener])
        except SystemExit as error:
            # uvicorn ends the process when an application's start fails.
            raise RuntimeError(f"{self._what} did not start; its log says why") from error
        if not self._server.started:
            raise RuntimeError(f"{self._what} did not start; its log says why")
