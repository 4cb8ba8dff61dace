"""Frames on the host's own sockets: a small JSON object and a body of bytes, with their lengths.

The front reads and writes them on its event loop; zygote and children do it blocking.
File descriptors travel beside a frame (SCM_RIGHTS).
"""

import asyncio
import json
import socket
import struct
import threading
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["LARGEST_BODY", "Channel", "FrameError", "pack", "read_frame"]

LARGEST_BODY = 64 * 1024 * 1024
_LARGEST_META = 4 * 1024 * 1024
_HEAD = struct.Struct("!II")
_MOST_FDS = 8
# Without close-on-exec a handler's subprocess would hold the channels of its neighbours open.
_FLAGS = socket.MSG_WAITALL | getattr(socket, "MSG_CMSG_CLOEXEC", 0)

Frame = tuple[dict[str, Any], bytes]


class FrameError(ValueError):
    """Bytes that are no frame: the other side is broken, or user code wrote into its socket."""


def pack(meta: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Return the frame's head and members; the body follows as it is."""
    # Words of user code may hold halves of characters, which UTF-8 cannot.
    text = json.dumps(meta, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return _HEAD.pack(len(text), len(body)) + text


def _sizes(head: bytes) -> tuple[int, int]:
    meta, body = _HEAD.unpack(head)
    if meta > _LARGEST_META or body > LARGEST_BODY:
        raise FrameError(f"a frame of {meta} + {body} bytes is larger than any of ours")
    return meta, body


def _members(text: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(text)
    except ValueError as error:
        raise FrameError(f"a frame's members are not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise FrameError("a frame's members are no object")
    return meta


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """Read one frame; None at the end of the stream. Raises FrameError."""
    try:
        meta_size, body_size = _sizes(await reader.readexactly(_HEAD.size))
        meta = _members(await reader.readexactly(meta_size))
        return meta, await reader.readexactly(body_size) if body_size else b""
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class Channel:
    """The blocking end of a socket, in the zygote and in children. Sending is thread-safe."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lock = threading.Lock()

    def send(self, meta: Mapping[str, Any], body: bytes = b"") -> None:
        """Send one frame; blocks while the other side is busy."""
        with self._lock:
            self.sock.sendall(pack(meta, body))
            if body:
                self.sock.sendall(body)

    def receive(self) -> Frame | None:
        """Wait for one frame; None when the other side is gone."""
        found = self.receive_with_fds()
        return None if found is None else found[0]

    def receive_with_fds(self) -> tuple[Frame, Sequence[int]] | None:
        """Wait for one frame and the file descriptors beside it; None when the other is gone."""
        fds = array("i")
        try:
            head, ancillary, _, _ = self.sock.recvmsg(
                _HEAD.size, socket.CMSG_SPACE(_MOST_FDS * fds.itemsize), _FLAGS
            )
        except ConnectionError:
            return None
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if len(head) < _HEAD.size:
            return None
        meta_size, body_size = _sizes(head)
        text, body = self._exactly(meta_size), self._exactly(body_size)
        if text is None or body is None:
            return None
        return (_members(text), body), tuple(fds)

    def _exactly(self, size: int) -> bytes | None:
        buffer = bytearray(size)
        view, got = memoryview(buffer), 0
        while got < size:
            try:
                count = self.sock.recv_into(view[got:])
            except ConnectionError:
                return None
            if count == 0:
                return None
            got += count
        return bytes(buffer)
