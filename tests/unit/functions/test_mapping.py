from typing import Any

import pytest

from agentworkflow import Event
from agentworkflow.functions.mapping import MappingError, resolve

EVENT = Event(
    id="e1",
    source="/shop",
    type="t",
    extensions={"region": "eu"},
    data={"id": 7, "rows": [[1, 2], [3]], "a b": {"c-d": "x"}},
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${event.data}", EVENT.data),
        ("${event.data.rows[1]}", [3]),
        ("${ event.data.rows[0][1] }", 2),
        ("${event.data['a b'][\"c-d\"]}", "x"),
        ("${event.region}", "eu"),
        ("${event.id}", "e1"),
        ("no ${event.data.id} from ${event.source}", "no 7 from /shop"),
        ("all: ${event.data.rows}", "all: [[1, 2], [3]]"),
        ({"deep": [{"id": "${event.data.id}"}], "same": 5}, {"deep": [{"id": 7}], "same": 5}),
        ("plain", "plain"),
    ],
)
def test_paths_are_followed_into_the_event(template: Any, expected: Any) -> None:
    assert resolve(template, EVENT) == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("${event.data.missing}", "the event has no event.data.missing"),
        ("${event.subject}", "the event has no event.subject"),
        ("${event.data.rows[9]}", "the event has no event.data.rows[9]"),
        ("${event.data.id.deeper}", "the event has no event.data.id.deeper"),
        ("${input.x}", "only paths into event"),
        ("${event.data.id + 1}", "cannot be read from character 14 on"),
    ],
)
def test_what_is_no_path_of_this_event_is_named(template: str, words: str) -> None:
    with pytest.raises(MappingError) as caught:
        resolve(template, EVENT)
    assert words in str(caught.value)
