import asyncio
import os
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentworkflow.functions.frames import Channel, FrameError, pack, read_frame

META = st.dictionaries(st.text(), st.text() | st.integers(), max_size=4)


@settings(max_examples=30)
@given(st.lists(st.tuples(META, st.binary(max_size=2000)), max_size=5))
def test_frames_come_out_as_they_went_in(frames: list[tuple[dict[str, object], bytes]]) -> None:
    async def read_all(data: bytes) -> list[object]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        found: list[object] = []
        while (frame := await read_frame(reader)) is not None:
            found.append(frame)
        return found

    data = b"".join(pack(meta, body) + body for meta, body in frames)
    assert asyncio.run(read_all(data)) == frames


def test_a_large_frame_crosses_a_socket_whole() -> None:
    ours, theirs = socket.socketpair()
    body = os.urandom(5 * 1024 * 1024)
    with ours, theirs:
        sender = threading.Thread(target=Channel(ours).send, args=({"op": "x"}, body))
        sender.start()
        assert Channel(theirs).receive() == ({"op": "x"}, body)
        sender.join()


def test_descriptors_travel_with_their_frame_and_close_on_exec() -> None:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    with ours, theirs:
        socket.send_fds(ours, [pack({"op": "start"})], [reading])
        found = Channel(theirs).receive_with_fds()
        assert found is not None
        (meta, body), fds = found
        assert (meta, body, len(fds)) == ({"op": "start"}, b"", 1)
        os.write(writing, b"through")
        assert os.read(fds[0], 10) == b"through"
        assert os.get_inheritable(fds[0]) is False
        for fd in (reading, writing, *fds):
            os.close(fd)


def test_the_other_sides_end_is_no_frame() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.send(b"\0\0")
        ours.close()
        assert Channel(theirs).receive() is None


@pytest.mark.parametrize("data", [b"\xff" * 16, b"\0\0\0\2\0\0\0\0[]", b"\0\0\0\2\0\0\0\0{]"])
def test_bytes_that_are_no_frame_are_refused(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(data)
        with pytest.raises(FrameError):
            Channel(theirs).receive()
