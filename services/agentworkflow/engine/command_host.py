"""A function that exists only as an image, run here by a command of the user's (``--command``).

Any server will do that answers CloudEvents at ``POST /`` on ``$PORT``.
It knows nothing of inherited sockets, so the engine listens in its place, starts it at the first
request, passes requests on, and ends it when it was idle for long enough.
"""

import asyncio
import contextlib
import logging
import shlex
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentworkflow.engine.processes import Child, Command
from agentworkflow.engine.servers import Server, bind
from agentworkflow.events.problem import MEDIA_TYPE, Problem
from agentworkflow.store.tasks import end_tasks

_log = logging.getLogger(__name__)

_METHODS: Final = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
_STOP_GRACE: Final = 3.0
_LOOK: Final = 0.02

# Between two hops only (RFC 9110, 7.6.1); the rest is the two ends' business.
_HOP: Final = frozenset({
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
})  # fmt: skip


class CommandNotReady(Exception):  # noqa: N818 - a state, answered with 503
    """The command ended, or did not listen on its port in time."""


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One function that a command serves.

    Attributes:
        key: ``<namespace>/<workflow>/<function>``.
        command: as written in a shell, but no shell reads it.
        idle_exit: seconds without a request after which the command is ended.
        warm: start it now, and keep it.
        start_timeout: seconds until it must listen.
        concurrency: requests that it gets at once; others wait their turn.
    """

    key: str
    command: str
    idle_exit: float
    warm: bool
    start_timeout: float
    concurrency: int
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    log: Path


class CommandHost:
    """The engine's end of one command."""

    def __init__(
        self, spec: CommandSpec, *, on_line: Callable[[str, str], None] = lambda _key, _line: None
    ) -> None:
        self.spec = spec
        self._on_line = on_line
        routes = [
            Route("/", self._pass_on, methods=_METHODS),
            Route("/{rest:path}", self._pass_on, methods=_METHODS),
        ]
        listener = bind("127.0.0.1", 0, f"the function {spec.key}")
        self._server = Server(Starlette(routes=routes), listener, f"the function {spec.key}")
        limits = httpx2.Limits(max_connections=None, keepalive_expiry=2.0)
        self._client = httpx2.AsyncClient(timeout=None, trust_env=False, limits=limits)
        self._places = asyncio.Semaphore(spec.concurrency)
        self._starting = asyncio.Lock()
        self._child: Child | None = None
        self._port = 0
        self._in_flight = 0
        self._idle_since = 0.0
        self._watch: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where the function is called."""
        return self._server.url

    @property
    def pid(self) -> int | None:
        """The command's process, while it runs."""
        return self._child.pid if self._child and self._child.returncode is None else None

    async def start(self) -> None:
        """Listen; the command itself is started by the first request, or now if it is warm."""
        await self._server.start()
        self._watch = asyncio.create_task(self._keep(), name=f"keep {self.spec.key}")

    async def stop(self) -> None:
        """End the command and stop listening."""
        if self._watch is not None:
            await end_tasks([self._watch])
        await self._end_child()
        await self._server.stop()
        await self._client.aclose()

    async def _pass_on(self, request: Request) -> Response:
        self._in_flight += 1
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._leave)
            await stack.enter_async_context(self._places)
            try:
                await self._ensure_started()
                headers = [(k, v) for k, v in request.headers.items() if k not in _HOP]
                outgoing = self._client.build_request(
                    request.method,
                    f"http://127.0.0.1:{self._port}{request.url.path}",
                    params=request.query_params,
                    headers=headers,
                    content=await request.body(),
                )
                answer = await self._client.send(outgoing, stream=True)
            except CommandNotReady as error:
                return _unavailable(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            except httpx2.HTTPError as error:
                what = f"the command of {self.spec.key} broke the connection: {error!r}"
                return _unavailable(HTTPStatus.BAD_GATEWAY, what)
            kept = stack.pop_all()
        headers_back = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
        return StreamingResponse(
            _relay(answer, kept), status_code=answer.status_code, headers=headers_back
        )

    def _leave(self) -> None:
        self._in_flight -= 1
        self._idle_since = asyncio.get_running_loop().time()

    async def _ensure_started(self) -> None:
        async with self._starting:
            if self.pid is not None:
                return
            await self._end_child()
            self._port = _free_port()
            try:
                self._child = Child(
                    Command(
                        arguments=shlex.split(self.spec.command),
                        environment={**self.spec.environment, "PORT": str(self._port)},
                        folder=self.spec.folder,
                        log=self.spec.log,
                        on_line=lambda line: self._on_line(self.spec.key, line),
                    )
                )
            except (OSError, ValueError) as error:
                raise CommandNotReady(
                    f"the command of {self.spec.key} cannot be started: {error}"
                ) from error
            await self._wait_listening(self._child)

    async def _wait_listening(self, child: Child) -> None:
        try:
            async with asyncio.timeout(self.spec.start_timeout):
                while True:
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                        writer.close()
                        return
                    if child.returncode is not None:
                        raise CommandNotReady(
                            f"the command of {self.spec.key} ended with exit code "
                            f"{child.returncode}; its output is in {self.spec.log}"
                        )
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            await self._end_child()
            raise CommandNotReady(
                f"the command of {self.spec.key} did not listen on $PORT within "
                f"{self.spec.start_timeout:g} s; its output is in {self.spec.log}"
            ) from None

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.stop(_STOP_GRACE)

    async def _keep(self) -> None:
        """Keep a warm command running, and end an idle one."""
        loop = asyncio.get_running_loop()
        while True:
            if self.spec.warm:
                try:
                    await self._ensure_started()
                except CommandNotReady as error:
                    _log.warning("%s", error)
                await asyncio.sleep(1.0)
                continue
            idle = loop.time() - self._idle_since
            if self.pid is not None and not self._in_flight and idle >= self.spec.idle_exit:
                async with self._starting:
                    # A request that came meanwhile waits for the lock, and starts it again.
                    await self._end_child()
            await asyncio.sleep(max(0.05, min(self.spec.idle_exit, 5.0)))


async def _relay(answer: httpx2.Response, kept: contextlib.AsyncExitStack) -> AsyncIterator[bytes]:
    async with kept:
        try:
            async for piece in answer.aiter_raw():
                yield piece
        finally:
            await answer.aclose()


def _unavailable(status: HTTPStatus, detail: str) -> Response:
    problem = Problem(title=status.phrase, status=status, detail=detail)
    return JSONResponse(problem.to_json(), status_code=status, media_type=MEDIA_TYPE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
