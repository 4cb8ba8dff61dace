"""Talks HTTP to a running engine or dispatcher: the API of protocol.md, and nothing else.

Whatever the API refuses comes out as a `RefusedError` with the sentences of its problem+json.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx2

from agentworkflow.cli.errors import CommandError, Outcome

_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
_SERVER_ERROR = 500
_BAD_REQUEST = 400
_NO_CONTENT = 204
_LAST_ENTRY = "run.finished"
# A log that is not followed ends when it is silent for so long: it comes from this machine's
# memory, or over a network whose answer has begun.
_LOG_PAUSE = 0.5
# An engine that is started again is back within seconds.
_RECONNECTS = 20
_RECONNECT_PAUSE = 0.5


class RefusedError(CommandError):
    """The API answered with a problem. The request was wrong (4xx) or the engine failed (5xx)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(
            problem_text(status, problem),
            Outcome.FAILED if status >= _SERVER_ERROR else Outcome.USAGE,
        )
        self.status = status
        self.problem = problem


class UnreachableError(CommandError):
    """Nothing answers at the address."""

    def __init__(self, url: str, error: Exception) -> None:
        super().__init__(
            f"no engine answers at {url} ({str(error) or type(error).__name__}); "
            "start one with `agentworkflow dev FILE`, or name another with --url.",
            Outcome.USAGE,
        )


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a run's log as clients see it; `id` resumes a stream after it."""

    id: str
    type: str
    data: Mapping[str, Any]


def problem_text(status: int, problem: Mapping[str, Any]) -> str:
    """A problem+json as sentences: title and detail, then a line for each field's error."""
    title = str(problem.get("title") or f"HTTP status {status}").rstrip(".")
    detail = str(problem.get("detail") or "").strip()
    lines = [f"{title}: {detail}" if detail and detail != title else title]
    lines += [
        f"  {error.get('path') or 'the input'}: {error.get('message')}"
        for error in problem.get("errors") or ()
        if isinstance(error, Mapping)
    ]
    return "\n".join(lines)


class ApiClient:
    """The API of one engine for one namespace. Use it as an async context manager."""

    def __init__(self, url: str, *, key: str | None = None, namespace: str = "default") -> None:
        self.url = url.rstrip("/")
        self.namespace = namespace
        headers = {"user-agent": "agentworkflow-cli"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        # The engine is on this machine: a proxy of the environment is not asked.
        self._http = httpx2.AsyncClient(
            base_url=self.url, headers=headers, timeout=_TIMEOUT, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, path: str, **params: Any) -> Any:
        """The JSON under `/v1/namespaces/{ns}` + path; parameters that are None are left out."""
        response = await self._request("GET", path, params=params)
        return response.json()

    async def post(
        self,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Any:
        """POST a JSON body (none if it is None) and return the JSON of the answer, if any."""
        content = None if body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", **(headers or {})} if content else headers
        response = await self._request("POST", path, params=params, content=content, headers=sent)
        return response.json() if response.content else None

    async def delete(self, path: str) -> None:
        """DELETE one object."""
        await self._request("DELETE", path)

    async def post_bytes(self, path: str, body: bytes, content_type: str, **params: Any) -> Any:
        """POST a body as it is: events in the form in which they came."""
        response = await self._request(
            "POST", path, params=params, content=body, headers={"content-type": content_type}
        )
        return response.json() if response.content else None

    async def entries(self, run: str, *, follow: bool) -> AsyncIterator[LogEntry]:
        """The run's log: with `follow` until the run has ended, else what is there by now.

        The stream is resumed where it was if the connection breaks.
        """
        last: str | None = None
        broken = 0
        while True:
            try:
                async with self._open_log(run, last) as entries:
                    if entries is None:
                        return
                    pause = None if follow else _LOG_PAUSE
                    while (entry := await _next(entries, pause)) is not None:
                        last, broken = entry.id, 0
                        yield entry
                        if entry.type == _LAST_ENTRY:
                            return
            except UnreachableError as error:
                broken += 1
                if last is None:
                    raise
                if broken > _RECONNECTS:
                    raise CommandError(f"the engine stopped: {error}", Outcome.FAILED) from error
            if not follow:
                return
            await asyncio.sleep(_RECONNECT_PAUSE)

    @asynccontextmanager
    async def _open_log(
        self, run: str, after: str | None
    ) -> AsyncIterator[AsyncIterator[LogEntry] | None]:
        headers = {"accept": "text/event-stream"}
        if after is not None:
            headers["last-event-id"] = after
        # Heartbeats come more often than this; silence means that the engine is gone.
        timeout = httpx2.Timeout(60.0, connect=5.0)
        try:
            async with self._http.stream(
                "GET", self._path(f"/runs/{run}/events"), headers=headers, timeout=timeout
            ) as response:
                if response.status_code >= _BAD_REQUEST:
                    await response.aread()
                    raise _refused(response)
                # 204: the run is finished, and nothing of it is left to see.
                is_over = response.status_code == _NO_CONTENT
                yield None if is_over else parse_event_stream(response.aiter_lines())
        except httpx2.TransportError as error:
            raise UnreachableError(self.url, error) from error

    def _path(self, path: str) -> str:
        return f"/v1/namespaces/{self.namespace}{path}"

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        query = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            response = await self._http.request(
                method, self._path(path), params=query, content=content, headers=headers
            )
        except httpx2.TransportError as error:
            raise UnreachableError(self.url, error) from error
        if response.status_code >= _BAD_REQUEST:
            raise _refused(response)
        return response


async def _next(entries: AsyncIterator[LogEntry], pause: float | None) -> LogEntry | None:
    try:
        return await asyncio.wait_for(anext(entries, None), pause)
    except TimeoutError:
        return None


async def parse_event_stream(lines: AsyncIterator[str]) -> AsyncIterator[LogEntry]:
    """Server-sent events as log entries; comments (heartbeats) are left out."""
    identifier, kind = "", "message"
    data: list[str] = []
    async for line in lines:
        if not line:
            if data:
                yield LogEntry(identifier, kind, json.loads("\n".join(data)))
            kind, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            identifier = value
        elif field == "event":
            kind = value
        elif field == "data":
            data.append(value)


def _refused(response: httpx2.Response) -> RefusedError:
    try:
        problem = response.json()
    except ValueError:
        problem = {"detail": response.text[:500]}
    if not isinstance(problem, Mapping):
        problem = {"detail": str(problem)[:500]}
    return RefusedError(response.status_code, problem)
