"""The front's HTTP door, as a bare ASGI application: which request goes where.

No framework: five routes do not pay for the import of one.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from agentworkflow.events import types
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import MalformedEvent, decode
from agentworkflow.events.problem import FieldError, Problem, malformed
from agentworkflow.functions.admission import Answer
from agentworkflow.functions.answers import answer_problem, json_bytes
from agentworkflow.functions.requests import loop_problem, read_step_request
from agentworkflow.functions.service import Service
from agentworkflow.functions.table import FunctionEntry, Trigger

__all__ = ["App"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LARGEST_BODY = 16 * 1024 * 1024
_TRIGGER = re.compile(r"/functions/([^/]+)/triggers/([^/]+)")
_JSON = {"content-type": "application/json"}
# What concerns the connection or proves the attempt, not the event: user code gets none of it.
_DROPPED = frozenset(
    {
        *("host", "connection", "content-length", "transfer-encoding", "authorization"),
        f"ce-{types.AWF_TOKEN}",
    }
)


class App:
    """The ASGI application of one host."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.is_leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
        except asyncio.CancelledError:
            if not self.is_leaving:
                raise
            # Told to stop twice. It is no fault of this host: a traceback would look like one.
            answer = _problem(503, "Stopped", "this host was told to stop before the answer came")
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.headers.items()
        ]
        if answer.status != 204:  # noqa: PLR2004 - No Content has no length
            headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        trigger = _TRIGGER.fullmatch(path)
        allowed = "POST" if path == "/" or trigger else "GET"
        if not trigger and path not in ("/", "/healthz", "/readyz", "/functions"):
            return _problem(404, "Not found", f"this host has nothing at {path}")
        if method not in (allowed, "HEAD" if allowed == "GET" else allowed):
            return answer_problem(
                Problem(title="Wrong method", status=405, detail=f"{path} takes {allowed} only"),
                {"allow": allowed},
            )
        if allowed == "GET":
            return self._look(path)
        body = await _read(receive)
        if body is None:
            detail = f"an event has at most {_LARGEST_BODY} bytes: send larger data by reference"
            return _problem(413, "Event too large", detail)
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ]
        try:
            event = decode(headers, body)
            kept = [(name, value) for name, value in headers if name not in _DROPPED]
            if trigger:
                return await self._on_trigger(trigger[1], trigger[2], event, kept, body)
            return await self._on_event(event, kept, body)
        except MalformedEvent as error:
            return answer_problem(error.problem)

    def _look(self, path: str) -> Answer:
        if path == "/healthz":
            return Answer(200, _JSON, b'{"status":"alive"}')
        zygote = self._service.zygote
        if path == "/readyz":
            if self.is_leaving:
                return _problem(503, "Leaving", "this host finishes what it has and then stops")
            if not zygote.loaded.is_set():
                return _problem(503, "Not ready", "the handlers are still being imported")
            return Answer(200, _JSON, b'{"status":"ready"}')
        return Answer(200, _JSON, json_bytes(describe_host(self._service)))

    async def _on_event(
        self, event: CloudEvent, headers: list[tuple[str, str]], body: bytes
    ) -> Answer:
        table = self._service.table
        if event.type == types.STEP_REQUESTED:
            request = read_step_request(event)
            entry = table.by_name.get(request.function)
            if entry is None:
                return self._unknown(request.function)
            return await self._service.step(entry, request, headers, body)
        if len(table.functions) == 1:
            return await self._user_event(table.functions[0], None, event, headers, body)
        raise malformed(
            FieldError(
                "type",
                f"is {event.type}: this host has {len(table.functions)} functions, so it takes "
                f"{types.STEP_REQUESTED} here, others at /functions/<name>/triggers/<trigger>",
            )
        )

    async def _on_trigger(
        self,
        function: str,
        name: str,
        event: CloudEvent,
        headers: list[tuple[str, str]],
        body: bytes,
    ) -> Answer:
        entry = self._service.table.by_name.get(function)
        if entry is None:
            return self._unknown(function)
        trigger = entry.trigger(name)
        if trigger is None:
            known = ", ".join(each.name for each in entry.triggers) or "none"
            detail = f"function {function} has no trigger {name}; it has {known}"
            return _problem(404, "Unknown trigger", detail)
        return await self._user_event(entry, trigger, event, headers, body)

    async def _user_event(
        self,
        entry: FunctionEntry,
        trigger: Trigger | None,
        event: CloudEvent,
        headers: list[tuple[str, str]],
        body: bytes,
    ) -> Answer:
        loop = loop_problem(event)
        if loop is not None:
            return answer_problem(loop)
        return await self._service.user_event(entry, trigger, event, headers, body)

    def _unknown(self, function: str) -> Answer:
        names = ", ".join(self._service.table.by_name)
        return _problem(404, "Unknown function", f"this host has no {function}; it has {names}")


def describe_host(service: Service) -> dict[str, Any]:
    """Return what `GET /functions` and `--describe` show."""
    table, catalog = service.table, service.zygote.catalog
    functions = []
    for entry in table.functions:
        found = catalog.descriptions.get(entry.name)
        members = dict(found.members) if found else {"name": entry.name, "error": None}
        functions.append(
            {
                "name": entry.name,
                "handler": entry.handler,
                "description": members.get("description", ""),
                "inputSchema": members.get("inputSchema", entry.input_schema),
                "outputSchema": members.get("outputSchema", entry.output_schema),
                "runsIn": _runs_in(members, apart=entry.name in catalog.apart),
                "error": members["error"],
            }
        )
    return {
        "namespace": table.namespace,
        "workflow": table.workflow,
        "role": table.role,
        "functions": functions,
    }


def _runs_in(members: dict[str, Any], *, apart: bool) -> str | None:
    if "worker" not in members:
        return None
    kind = "worker" if members["worker"] else "child"
    return f"spawned {kind}" if apart else f"forked {kind}"


def _problem(status: int, title: str, detail: str) -> Answer:
    return answer_problem(Problem(title=title, status=status, detail=detail))


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body; None if it is too large."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        part = message.get("body", b"")
        size += len(part)
        if size > _LARGEST_BODY:
            return None
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)
