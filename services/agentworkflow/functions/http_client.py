"""One HTTP request at a time to the event port: all that the front needs of a client.

A client library would cost the light front process more at start than all of its own code.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

__all__ = ["HttpAnswer", "HttpClientError", "request"]

_SECONDS = 30.0
_LARGEST_ANSWER = 64 * 1024 * 1024


class HttpClientError(OSError):
    """No answer: not connected, cut off, too slow, or not HTTP."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A status and a whole body."""

    status: int
    body: bytes


class _Receiver:
    """What the parser calls."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


async def request(
    method: str, url: str, headers: Mapping[str, str], body: bytes = b"", seconds: float = _SECONDS
) -> HttpAnswer:
    """Send one request and read its answer. Raises HttpClientError."""
    try:
        async with asyncio.timeout(seconds):
            return await _request(method, url, headers, body)
    except HttpClientError:
        raise
    except TimeoutError as error:
        raise HttpClientError(f"{method} {url}: no answer within {seconds:g} s") from error
    except (OSError, ValueError, httptools.HttpParserError) as error:
        raise HttpClientError(f"{method} {url}: {error}") from error


async def _request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(
        parts.hostname, port, ssl=ssl.create_default_context() if secure else None
    )
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"content-length: {len(body)}", "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        writer.write(body)
        await writer.drain()
        return await _answer(reader, f"{method} {url}")
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, what: str) -> HttpAnswer:
    receiver = _Receiver()
    parser = httptools.HttpResponseParser(receiver)
    while not receiver.complete:
        data = await reader.read(256 * 1024)
        if not data:
            # Without a length, the end of the connection is the end of the body.
            if parser.get_http_version() and not parser.should_keep_alive() and receiver.body:
                break
            raise HttpClientError(f"{what}: the connection ended before the answer did")
        parser.feed_data(data)
        if len(receiver.body) > _LARGEST_ANSWER:
            raise HttpClientError(f"{what}: the answer is larger than {_LARGEST_ANSWER} bytes")
    return HttpAnswer(parser.get_status_code(), bytes(receiver.body))
