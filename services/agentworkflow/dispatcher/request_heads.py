"""HTTP/1.1 as uvicorn speaks it, with a bound on a request's head, which its parser lacks.

A head that never ends would be kept in memory whole, before any application sees the request.
"""

import json
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES: Final = 64 * 1024
"""Of a head, beyond the first piece that the socket gave; a piece has at most 256 KiB."""

_LINGER_SECONDS: Final = 1.0


class BoundedHeads(HttpToolsProtocol):
    """Refuses a head that goes on and on, and says what is wrong as problem+json."""

    _refused = False
    _in_head = False
    _began_in_piece = False
    _taken = 0

    def data_received(self, data: bytes) -> None:
        """Parse a piece; then see whether it was all head."""
        if self._refused:
            return
        self._began_in_piece = False
        super().data_received(data)
        if not self._in_head or self._began_in_piece:
            self._taken = 0
            return
        self._taken += len(data)
        if self._taken > MOST_BYTES:
            self._refuse(
                "431 Request Header Fields Too Large",
                "The head of the request is too large",
                f"Path and headers together may have {MOST_BYTES} bytes: send data in the body.",
            )

    def on_message_begin(self) -> None:
        """Say that a head begins (called by the parser)."""
        self._in_head = self._began_in_piece = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Say that the head has ended (called by the parser)."""
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse("400 Bad Request", "Not HTTP", msg)

    def _refuse(self, status: str, title: str, detail: str) -> None:
        problem = {"type": "about:blank", "title": title, "status": int(status[:3])}
        body = json.dumps(problem | {"detail": detail}).encode()
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self._refused = True
        self.transport.write(head.encode() + body)
        # A client that is still sending would not see the answer if the connection were cut.
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)
        if self.transport.can_write_eof():
            self.transport.write_eof()
