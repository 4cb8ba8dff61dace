"""The names on the wire."""

import pytest

from agentworkflow.events import CloudEvent, types
from agentworkflow.events.http import decode, encode_binary

TYPES = {
    name: value
    for name, value in vars(types).items()
    if name.startswith(("STEP_", "RUN_")) and isinstance(value, str)
}
EXTENSIONS = {
    name: value
    for name, value in vars(types).items()
    if name.isupper() and name not in TYPES and not name.endswith("_PREFIX")
}


def test_every_event_type_of_ours_is_below_our_prefix() -> None:
    assert {v for v in TYPES.values() if not v.startswith(types.OWN_PREFIX)} == set()
    assert len(set(TYPES.values())) == len(TYPES) == 9


def test_our_extensions_are_those_that_are_dropped_from_outside() -> None:
    own = {name for name in EXTENSIONS if name.startswith("AWF_")}
    assert own == {n for n, v in EXTENSIONS.items() if v.startswith(types.AWF_PREFIX)}


@pytest.mark.parametrize("name", EXTENSIONS.values())
def test_every_extension_travels_in_headers(name: str) -> None:
    event = CloudEvent(id="1", source="/a", type=types.STEP_REQUESTED, extensions={name: "x"})
    assert decode(*encode_binary(event)) == event
    assert len(name) <= 20
