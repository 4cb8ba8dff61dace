"""Durations as the resource writes them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentworkflow.workflow.durations import DURATION_PATTERN, parse_duration, parse_duration_ms


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m10s", 5410.0),
        ("500ms", 0.5),
        ("0s", 0.0),
        ("10m", 600.0),
        ("10m5ms", 600.005),
        ("999999h", 3_599_996_400.0),
    ],
)
def test_a_duration_is_the_sum_of_its_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "1d", "10s1h", "1h1h", "-1s", "1.5h", "1s\n", " 1s"])
def test_anything_else_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_duration(text)

    assert str(refused.value) == (
        f'"{text}" is no duration: write hours, minutes and seconds, as 1h30m10s'
    )


@given(st.text("0123456789hms", min_size=1, max_size=12))
def test_the_pattern_of_the_crd_and_the_parser_agree(text: str) -> None:
    matches = re.search(DURATION_PATTERN, text) is not None
    try:
        parse_duration_ms(text)
    except ValueError:
        assert not matches
    else:
        assert matches
