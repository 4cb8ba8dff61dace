import json
from collections import OrderedDict, UserDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from agentworkflow.functions.result import ResultError, encode_result

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(alphabet=st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Row:
    colour: Colour
    at: datetime


class Model(BaseModel):
    price: Decimal
    kind: str = Field(serialization_alias="type")


class Pair(NamedTuple):
    left: int
    right: int


@given(JSON_VALUES)
def test_json_values_come_back_as_they_went(value: Any) -> None:
    assert json.loads(encode_result(value)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Decimal("1.10"), "1.10"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00Z"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=8))), "2026-01-02T00:00:00+08:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(4, 5), "04:05:00"),
        (timedelta(minutes=90), "PT1H30M"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("/a/b"), "/a/b"),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"a"}), ["a"]),
        (Pair(1, 2), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict(a=1), {"a": 1}),
        (
            {1: "a", Colour.RED: "b", date(2026, 1, 2): "c"},
            {"1": "a", "red": "b", "2026-01-02": "c"},
        ),
        (
            Row(Colour.RED, datetime(2026, 1, 2, tzinfo=UTC)),
            {"colour": "red", "at": "2026-01-02T00:00:00Z"},
        ),
        (Model(price=Decimal("2.5"), kind="x"), {"price": "2.5", "type": "x"}),
        (np.float64(1.5), 1.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (pd.Timestamp("2026-01-02", tz="UTC"), "2026-01-02T00:00:00Z"),
        (2**70, 2**70),
    ],
)
def test_values_of_other_kinds_become_json(value: Any, expected: Any) -> None:
    assert json.loads(encode_result({"it": [value]})) == {"it": [expected]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, {"b": object()}]}, "the result['a'][1]['b'] is object"),
        (Row, "is type"),
        ({"x": float("nan")}, "the result['x'] is nan, which JSON cannot hold: return None"),
        ([float("inf")], "the result[0] is inf"),
        (np.array([1.0, np.nan]), "the result[1] is nan"),
        (Decimal("NaN"), "the result is nan"),
        (pd.NaT, "NaT"),
        ({(1, 2): 3}, "has the key (1, 2): the keys of a JSON object are strings"),
        ({None: 3}, "has the key None"),
        (b"\x00", "return text, such as base64"),
        (pd.DataFrame({"a": [1]}), "frame.to_dict('records')"),
        (pd.Series([1]), "series.tolist()"),
        ((n for n in [1]), "a list of what it yields"),
        ("\ud800", "lone surrogate"),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_path_and_a_way_out(value: Any, words: str) -> None:
    with pytest.raises(ResultError) as caught:
        encode_result(value)
    assert words in str(caught.value)


def test_a_result_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ResultError, match="contains itself"):
        encode_result(loop)


def test_a_coroutine_that_was_not_awaited_says_so() -> None:
    async def later() -> int:
        return 1

    forgotten = later()
    with pytest.raises(ResultError, match="await it"):
        encode_result(forgotten)
    forgotten.close()
