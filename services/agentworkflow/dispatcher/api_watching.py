"""Watching a run: its log as server-sent events and over a WebSocket."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, WebSocket
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.responses import Response
from starlette.types import Send
from starlette.websockets import WebSocketDisconnect

from agentworkflow.dispatcher.bodies import bad_parameter
from agentworkflow.dispatcher.following import FIRST, Entry, follow, is_over
from agentworkflow.dispatcher.openapi import PREFIX, problems
from agentworkflow.dispatcher.ports import Refusal
from agentworkflow.dispatcher.problems import problem_of, refusal_response
from agentworkflow.dispatcher.services import Services
from agentworkflow.dispatcher.settings import Settings

_STREAM_ID: Final = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")
_TOO_LARGE: Final = 2**64
_GOING_AWAY = 1001
_TRY_AGAIN = 1013


class NothingLeft(Exception):  # noqa: N818 - an outcome
    """A watcher has seen all of a finished run. A browser that is told 204 comes back no more."""


async def on_nothing_left(_request: Any, _error: Exception) -> Response:
    """Answer 204."""
    return Response(status_code=204)


class LogStream(EventSourceResponse):
    """The log of a run as server-sent events.

    It closes what it follows when the client has gone. FastAPI's own streaming of a generator
    leaves that to the garbage collector, which ends nested generators in any order.
    """

    def __init__(
        self, services: Services, settings: Settings, watched: tuple[str, str, str]
    ) -> None:
        super().__init__(iter(()), headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._services = services
        self._settings = settings
        self._watched = watched

    async def stream_response(self, send: Send) -> None:
        """Send the log until it ends."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})

        async def write(text: bytes) -> None:
            await send({"type": "http.response.body", "body": text, "more_body": True})

        gauge = self._services.metrics.watchers.labels("sse")
        with gauge.track_inprogress():
            # At once, so that a client knows that it watches.
            await write(b": watching\nretry: 1000\n\n")
            try:
                async with aclosing(
                    _entries(self._services, self._settings, self._watched)
                ) as found:
                    async for each in found:
                        await write(_written(each))
            except Refusal as refusal:
                # The client comes back with its last id and then gets the answer as a status.
                await write(format_sse_event(comment=str(refusal)))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _written(found: Entry | None) -> bytes:
    if found is None:
        return format_sse_event(comment="still watching")
    identifier, entry = found
    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    return format_sse_event(data_str=text, event=entry["type"], id=identifier)


def _entries(
    services: Services, settings: Settings, watched: tuple[str, str, str]
) -> AsyncGenerator[Entry | None, None]:
    namespace, run, cursor = watched
    return follow(
        services.runs,
        namespace,
        run,
        cursor,
        heartbeat=settings.heartbeat,
        closing=services.closing,
    )


def build_watching(services: Services, settings: Settings) -> APIRouter:
    """The routes under `/runs/{run}/events` and `/runs/{run}/ws`."""
    router = APIRouter(prefix=PREFIX, tags=["runs"])
    runs = services.runs

    async def cursor_of_known_run(
        ns: str,
        run: str,
        last_event_id: Annotated[
            str | None, Header(description="Stream id of the last entry that was seen.")
        ] = None,
        after: Annotated[
            str | None, Query(description="The same as a parameter; the header wins.")
        ] = None,
    ) -> str:
        # Asked before the stream begins: a refusal cannot be told once it has begun.
        cursor = check_cursor(last_event_id or after)
        await runs.view(ns, run)
        if await is_over(runs, ns, run, cursor):
            raise NothingLeft
        return cursor

    @router.get(
        "/runs/{run}/events",
        operation_id="watchRun",
        summary="The run's log as server-sent events",
        description="One event per entry of the run's log, as it comes: `event` is the entry's "
        "type, `id` its stream id, with which `Last-Event-ID` resumes. A comment is sent when "
        "nothing else is. The stream ends after the entry `run.finished`; 204 tells a client "
        "that has seen that one.",
        response_class=Response,
        responses={
            200: {
                "description": "The log.",
                "content": {
                    "text/event-stream": {
                        "itemSchema": {
                            "type": "object",
                            "properties": {
                                "data": {
                                    "type": "string",
                                    "contentMediaType": "application/json",
                                    "contentSchema": {"$ref": "#/components/schemas/LogEntry"},
                                },
                                "event": {"type": "string"},
                                "id": {"type": "string"},
                            },
                            "required": ["data", "event", "id"],
                        }
                    }
                },
            },
            204: {"description": "The run is finished and nothing is left to see."},
            **problems(400, 401, 403, 404, 503),
        },
    )
    async def watch_run(
        ns: str, run: str, cursor: Annotated[str, Depends(cursor_of_known_run)]
    ) -> Response:
        return LogStream(services, settings, (ns, run, cursor))

    @router.websocket("/runs/{run}/ws")
    async def watch_run_by_websocket(
        websocket: WebSocket, ns: str, run: str, after: str | None = None
    ) -> None:
        try:
            cursor = check_cursor(after)
            await runs.view(ns, run)
        except Refusal as refusal:
            await websocket.send_denial_response(refusal_response(refusal))
            return
        await websocket.accept()
        with services.metrics.watchers.labels("websocket").track_inprogress():
            await _serve(websocket, services, settings, (ns, run, cursor))

    return router


async def _serve(
    websocket: WebSocket, services: Services, settings: Settings, watched: tuple[str, str, str]
) -> None:
    """Send the log until it ends or the client has gone, whichever is first."""
    sending = asyncio.create_task(_send(websocket, services, settings, watched))
    leaving = asyncio.create_task(_left(websocket))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await task


async def _send(
    websocket: WebSocket, services: Services, settings: Settings, watched: tuple[str, str, str]
) -> None:
    code, reason = 1000, ""
    try:
        # Silence is covered by the protocol's own pings, which the server sends.
        async with aclosing(_entries(services, settings, watched)) as entries:
            async for found in entries:
                if found is not None:
                    await websocket.send_json({"id": found[0], **found[1]})
    except Refusal as refusal:
        code, reason = _TRY_AGAIN, problem_of(refusal).detail
    if services.closing.is_set():
        code = _GOING_AWAY
    # A reason has at most 123 bytes.
    await websocket.close(code, reason.encode()[:120].decode(errors="ignore"))


async def _left(websocket: WebSocket) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return


def check_cursor(text: str | None) -> str:
    """A stream id, or the one before all. Raises: Refused."""
    if text is None or not text:
        return FIRST
    if not (_STREAM_ID.fullmatch(text) and all(int(n) < _TOO_LARGE for n in text.split("-"))):
        raise bad_parameter("Last-Event-ID", f"{text[:40]!r} is no id of a log entry")
    return text
