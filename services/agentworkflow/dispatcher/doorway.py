"""Stands at a port until its application is loaded: the socket answers before the imports are done.

Plain ASGI without a framework, so that a probe is answered in a tenth of a second.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

_PATIENCE: Final = 5.0
"""Seconds that a request waits for the application before it is sent away."""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_Application = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class Doorway:
    """The application of a port, as soon as there is one.

    Attributes:
        trouble: why there is none yet, if that is more than that it is loading.
    """

    def __init__(self) -> None:
        self._application: _Application | None = None
        self._open = asyncio.Event()
        self.trouble: str | None = None

    def open(self, application: _Application) -> None:
        """Let everyone through from now on."""
        self._application = application
        self._open.set()

    def close(self, trouble: str) -> None:
        """Send everyone away: there will be no application."""
        self.trouble = trouble
        self._open.set()

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """ASGI."""
        if self._application is None and scope["type"] == "http":
            if scope["path"] == "/healthz":
                await _answer(send, 200, "application/json", {"status": "ok"})
                return
            if not await self._opens():
                await self._send_away(send)
                return
        elif self._application is None and not await self._opens():
            await send({"type": "websocket.close", "code": 1013, "reason": "not ready"})
            return
        if self._application is not None:
            await self._application(scope, receive, send)

    async def _opens(self) -> bool:
        if self.trouble is not None:
            return False
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._open.wait()
        except TimeoutError:
            return False
        return self._application is not None

    async def _send_away(self, send: _Send) -> None:
        problem = {
            "type": "about:blank",
            "title": "The dispatcher is not ready",
            "status": 503,
            "detail": self.trouble or "It is starting: send this again.",
            "reason": "Unavailable",
        }
        await _answer(send, 503, "application/problem+json", problem, (b"retry-after", b"1"))


async def _answer(
    send: _Send, status: int, media: str, content: Any, *headers: tuple[bytes, bytes]
) -> None:
    body = json.dumps(content).encode()
    sent = [(b"content-type", media.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*sent, *headers]})
    await send({"type": "http.response.body", "body": body})
