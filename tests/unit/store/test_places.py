"""Cursors of lists."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentworkflow.store.places import BadCursor, Place, read_cursor, write_cursor


@given(st.integers(0, 2**53), st.text())
def test_a_cursor_is_read_as_it_was_written(at_ms: int, member: str) -> None:
    cursor = write_cursor(Place(at_ms, member))

    assert read_cursor(cursor) == Place(at_ms, member)
    assert cursor.isascii()
    assert not set(cursor) & set("=/+&?#%")


@given(st.text())
def test_anything_else_is_refused_or_happens_to_be_one(text: str) -> None:
    with contextlib.suppress(BadCursor):
        assert write_cursor(read_cursor(text)).rstrip("=")


def test_a_place_without_a_time_is_no_cursor() -> None:
    with pytest.raises(BadCursor):
        read_cursor("YWJj")
