"""The gate before the API: host, origin, key, namespace and rate of every request.

Plain ASGI, so that it covers routes of every kind, WebSockets too, and costs microseconds.
"""

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentworkflow.dispatcher.auth import ANONYMOUS, Keyring, require_namespace
from agentworkflow.dispatcher.keys import is_loopback
from agentworkflow.dispatcher.limits import RateLimit
from agentworkflow.dispatcher.metrics import Metrics
from agentworkflow.dispatcher.ports import Refusal
from agentworkflow.dispatcher.problems import Refused, problem_of, refusal_response
from agentworkflow.dispatcher.settings import Settings

CALLER: Final = "awf.caller"
"""Key of the ASGI scope that holds the caller's ApiKey."""

# Probes have no key, and the API's description is no secret.
_OPEN: Final = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
_OWN: Final = _OPEN | {"/metrics"}
_NAMESPACES: Final = "/v1/namespaces/"


class Gate:
    """Lets a request through to the application, or answers it.

    Args:
        app: what lies behind.
        settings: keys, hosts, rates.
        metrics: where requests are counted.
        is_claimed: whether a workflow's route claims a host name.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: Metrics,
        is_claimed: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._keys = Keyring(settings.api_keys)
        # Without keys the address is loopback, unless told otherwise: then any name may be ours.
        self._checks_host = self._keys.is_empty and is_loopback(settings.host)
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts)
        self._is_claimed = is_claimed
        self._rate = RateLimit(settings.rate_limit, settings.rate_burst, time.monotonic)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Refusal as refusal:
            problem = problem_of(refusal)
            self._metrics.refusals.labels(problem.extensions["reason"]).inc()
            await refuse(refusal, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        path: str = scope["path"]
        if self._keys.is_empty:
            self._check_browser(headers)
        if path in _OPEN:
            scope[CALLER] = ANONYMOUS
            return
        caller = self._keys.identify(headers)
        scope[CALLER] = caller
        self._rate.take(caller.name)
        if path.startswith(_NAMESPACES):
            require_namespace(caller, path[len(_NAMESPACES) :].partition("/")[0])

    def _check_browser(self, headers: Headers) -> None:
        """Where no key is asked for, a web page must not speak for the user who looks at it.

        A foreign `Host` is a page whose name was pointed at this machine (DNS rebinding).
        """
        host = headers.get("host", "")
        name = host_name(host)
        if self._checks_host and not (
            is_loopback(name) or name in self._hosts or self._is_claimed(name)
        ):
            raise Refused(
                403,
                "A foreign host name",
                f"Without keys only this machine's names are served, not {name or 'none'}: "
                "call 127.0.0.1 or localhost, or allow the name with --allowed-host.",
                reason="ForeignHost",
            )
        origin = headers.get("origin")
        crossed = headers.get("sec-fetch-site") == "cross-site"
        if crossed or (origin is not None and urlsplit(origin).netloc.lower() != host.lower()):
            raise Refused(
                403,
                "A foreign origin",
                f"A page of {origin or 'another site'} may not call this API without a key.",
                reason="ForeignOrigin",
            )


def host_name(host: str) -> str:
    """The name in a `Host` header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


class Measured:
    """Counts and times the requests of one port, by route, so that a label stays bounded."""

    def __init__(self, app: ASGIApp, metrics: Metrics, port: str) -> None:
        self._app = app
        self._metrics = metrics
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        streamed = False

        async def watched(message: Message) -> None:
            nonlocal status, streamed
            if message["type"] == "http.response.start":
                status = message["status"]
                streamed = any(
                    name == b"content-type" and value.startswith(b"text/event-stream")
                    for name, value in message["headers"]
                )
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            path = scope["path"] if scope["path"] in _OWN else "other"
            route = getattr(scope.get("route"), "path", None) or path
            method = scope["method"]
            self._metrics.requests.labels(self._port, route, method, str(status)).inc()
            if not streamed:
                elapsed = time.perf_counter() - started
                self._metrics.request_seconds.labels(self._port, route, method).observe(elapsed)


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or the opening of a WebSocket, with a problem."""
    response = refusal_response(refusal)
    if scope["type"] == "websocket":
        extensions = scope.get("extensions") or {}
        if "websocket.http.response" not in extensions:
            await send({"type": "websocket.close", "code": 1008, "reason": str(refusal)[:120]})
            return
        start = {"type": "websocket.http.response.start", "status": response.status_code}
        await send({**start, "headers": response.raw_headers})
        await send({"type": "websocket.http.response.body", "body": response.body})
        return
    await response(scope, receive, send)
