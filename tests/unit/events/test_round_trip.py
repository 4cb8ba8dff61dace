"""What is written is read back, in every mode; what is read never breaks the reader."""

import string
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentworkflow.events import CloudEvent, MalformedEvent
from agentworkflow.events.attributes import canonical, string_fault
from agentworkflow.events.http import (
    decode,
    decode_any,
    encode_batch,
    encode_binary,
    encode_structured,
    from_json,
    to_json,
)

# A busy machine is slow to make the tables of characters: that is no fault of the code.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

text = st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(
    lambda value: string_fault(value) is None
)
filled = text.filter(bool)
names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20).filter(
    lambda name: name not in CloudEvent.__slots__
)
values = text | st.booleans() | st.integers(-(2**31), 2**31 - 1)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(string.printable), inner),
    max_leaves=10,
)
payloads = st.one_of(
    st.tuples(st.sampled_from([None, "application/json", "a/b+json; x=y"]), json_values),
    st.tuples(st.just("text/plain"), st.text(st.characters(exclude_categories=["Cs"]))),
    st.tuples(st.sampled_from([None, "application/octet-stream"]), st.binary()),
)


@st.composite
def events(draw: st.DrawFn) -> CloudEvent:
    datacontenttype, data = draw(payloads)
    return CloudEvent(
        id=draw(filled),
        source=draw(st.sampled_from(["/a", "urn:x:y", "https://h/p%20q?a=b#c", "1-2"])),
        type=draw(filled),
        subject=draw(st.none() | filled),
        time=draw(st.none() | st.just("2026-01-31T08:30:00.5+08:00")),
        dataschema=draw(st.none() | st.just("https://example.com/s#x")),
        datacontenttype=datacontenttype,
        extensions=draw(st.dictionaries(names, values, max_size=4)),
        data=data,
    )


def without_bom(event: CloudEvent) -> CloudEvent:
    # A byte order mark before a text is a mark of its encoding, and not read as text.
    if isinstance(event.data, str) and event.datacontenttype == "text/plain":
        return event.replace(data=event.data.removeprefix("\ufeff"))
    return event


def through_headers(event: CloudEvent) -> CloudEvent:
    """Return what binary mode keeps of an event: no types of extensions, no empty payload."""
    event = without_bom(event)
    data = event.data if event.data not in ("", b"") or _is_json(event) else None
    datacontenttype = event.datacontenttype
    if datacontenttype is None and event.data is not None and not isinstance(event.data, bytes):
        datacontenttype = "application/json"
    return event.replace(
        data=data,
        datacontenttype=datacontenttype,
        extensions={name: canonical(value) for name, value in event.extensions.items()},
    )


def _is_json(event: CloudEvent) -> bool:
    return event.datacontenttype != "text/plain" and not isinstance(event.data, bytes)


@patient
@given(events())
def test_binary_mode_keeps_the_event(event: CloudEvent) -> None:
    headers, body = encode_binary(event)
    assert decode(headers, body) == through_headers(event)
    assert all(value.isascii() and " " not in value for value in headers.values()) or (
        " " in headers["content-type"]
    )


@patient
@given(events())
def test_structured_mode_keeps_the_event(event: CloudEvent) -> None:
    expected = event.replace(data=None) if event.data == b"" else event
    assert decode(*encode_structured(event)) == expected
    assert from_json(to_json(event)) == expected


@patient
@given(st.lists(events(), max_size=3))
def test_batch_mode_keeps_the_events(batch: list[CloudEvent]) -> None:
    expected = [event.replace(data=None) if event.data == b"" else event for event in batch]
    assert decode_any(*encode_batch(batch)) == expected


@patient
@given(
    st.dictionaries(
        st.sampled_from(
            ["ce-id", "ce-type", "ce-source", "ce-specversion", "ce-x", "content-type"]
        ),
        st.text()
        | st.sampled_from(["1.0", "/a", "application/json", "application/cloudevents+json"]),
    ),
    st.binary(),
)
def test_whatever_comes_is_an_event_or_a_refusal(headers: dict[str, str], body: bytes) -> None:
    assert all(isinstance(each, CloudEvent | MalformedEvent) for each in decode_any(headers, body))


@patient
@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(["id", "type", "data"]), json_values))
def test_whatever_object_comes_is_an_event_or_a_refusal(members: dict[str, Any]) -> None:
    base = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"}
    try:
        made = from_json(base | members)
    except MalformedEvent:
        return
    assert from_json(to_json(made)) == made
