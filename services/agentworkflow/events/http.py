"""CloudEvents 1.0 over HTTP: binary, structured and batch messages, read strictly and written.

The only module that touches raw `ce-*` headers.
It does without the `cloudevents` SDK: that invents missing attributes, turns malformed JSON into
a string, and loads dateutil, which costs the light front process more than all of this package.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from agentworkflow.events.attributes import canonical
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.json_format import at_index, from_json, make_event, to_json
from agentworkflow.events.media import JSON, MediaType, parse_media_type
from agentworkflow.events.payload import (
    BYTES,
    JsonError,
    RepeatedKeys,
    decode_payload,
    decode_text,
    dump_json,
    encode_payload,
    encode_text,
    parse_json,
)
from agentworkflow.events.problem import (
    FieldError,
    MalformedEvent,
    malformed,
    malformed_message,
)

__all__ = [
    "BATCH_TYPE",
    "STRUCTURED_TYPE",
    "MalformedEvent",
    "decode",
    "decode_any",
    "encode_batch",
    "encode_binary",
    "encode_structured",
    "from_json",
    "to_json",
]

STRUCTURED_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_EVENT_TYPES = "application/cloudevents"
_PREFIX = "ce-"
# Everything printable but space, double quote and percent (HTTP binding, 3.1.3.2).
_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_PERCENT = re.compile(r"((?:%[0-9A-Fa-f]{2})+)")


def decode(headers: Headers, body: bytes) -> CloudEvent:
    """Read one event in binary or structured mode. Raises MalformedEvent."""
    content_type, attributes, errors = _split(headers)
    if not content_type.lower().lstrip().startswith(_EVENT_TYPES):
        return _decode_binary(content_type, attributes, errors, body)
    media = _event_format(content_type)
    if media.essence == BATCH_TYPE:
        raise malformed_message(f"{BATCH_TYPE} holds many events: send one here", 415)
    members, repeated = _parse(body, media)
    return _member(members, repeated)


def decode_any(headers: Headers, body: bytes) -> list[CloudEvent | MalformedEvent]:
    """Read events in any mode. Never raises: what is malformed stands in its place in the list.

    A batch that cannot be read at all gives one MalformedEvent.
    """
    pairs = _pairs(headers)
    try:
        content_type = _split(pairs)[0]
        media = parse_media_type(content_type)
        if media is None or media.essence != BATCH_TYPE:
            return [decode(pairs, body)]
        members, repeated = _parse(body, media)
        if not isinstance(members, list):
            raise malformed_message("a batch is a JSON array of CloudEvents, not one object")
    except MalformedEvent as error:
        return [error]
    events: list[CloudEvent | MalformedEvent] = []
    for index, each in enumerate(members):
        try:
            events.append(_member(each, repeated))
        except MalformedEvent as error:
            events.append(at_index(error, index))
    return events


def encode_binary(event: CloudEvent) -> tuple[dict[str, str], bytes]:
    """Write an event in binary mode: attributes as headers, data as the body.

    Data without a `datacontenttype` is JSON unless it is bytes, and the header says so.
    """
    content_type = event.datacontenttype
    data = event.data
    if content_type is None and data is not None and not isinstance(data, BYTES):
        content_type = "application/json"
    if content_type is not None and content_type.lower().lstrip().startswith(_EVENT_TYPES):
        raise malformed(
            FieldError(
                "datacontenttype",
                f"{content_type} in binary mode would be read as the event itself: "
                "send this event in structured mode",
            )
        )
    headers = {
        _PREFIX + name: quote(canonical(value), safe=_SAFE)
        for name, value in event.attributes().items()
        if name != "datacontenttype"
    }
    if content_type is not None:
        headers["content-type"] = content_type
    return headers, encode_payload(data, content_type)


def encode_structured(event: CloudEvent) -> tuple[dict[str, str], bytes]:
    """Write an event in structured mode: all of it in one JSON object."""
    return {"content-type": STRUCTURED_TYPE}, _dump(to_json(event))


def encode_batch(events: Sequence[CloudEvent]) -> tuple[dict[str, str], bytes]:
    """Write events as one batch: a JSON array of structured events."""
    return {"content-type": BATCH_TYPE}, _dump([to_json(event) for event in events])


def _dump(value: Any) -> bytes:
    return encode_text(dump_json(value), JSON)


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    # A multi-dict's items() gives a repeated header as often as it came.
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def _split(headers: Headers) -> tuple[str, dict[str, str], list[FieldError]]:
    """Return the Content-Type, the raw `ce-*` values by attribute name, and what is repeated."""
    content_type: str | None = None
    attributes: dict[str, str] = {}
    errors: list[FieldError] = []
    for raw_name, value in _pairs(headers):
        name = raw_name.lower()
        if name.startswith(_PREFIX):
            attribute = name.removeprefix(_PREFIX)
            if attribute in attributes:
                errors.append(FieldError(attribute, f"header {name} is given more than once"))
            attributes[attribute] = value
        elif name == "content-type":
            if content_type is not None:
                raise malformed_message("header content-type is given more than once")
            if not value.strip():
                raise malformed(
                    FieldError("datacontenttype", "header content-type is empty: leave it out")
                )
            content_type = value
    return content_type or "", attributes, errors


def _decode_binary(
    content_type: str, attributes: dict[str, str], errors: list[FieldError], body: bytes
) -> CloudEvent:
    if not attributes:
        raise malformed_message(
            "not a CloudEvent: there are no ce-* headers (binary mode), and the content type is "
            f"{content_type or 'absent'}, not {STRUCTURED_TYPE} (structured mode)"
        )
    values: dict[str, str] = {}
    for name, raw in attributes.items():
        if name == "datacontenttype":
            message = "header ce-datacontenttype is not allowed: send content-type"
            errors.append(FieldError(name, message))
            continue
        try:
            values[name] = _decode_value(raw)
        except ValueError as error:
            errors.append(FieldError(name, f"header {_PREFIX}{name} {error}"))
    if errors:
        raise malformed(*errors)
    if content_type:
        values["datacontenttype"] = content_type.strip(" \t")
    return make_event(values, lambda datacontenttype: decode_payload(body, datacontenttype))


def _decode_value(raw: str) -> str:
    """Undo quoting, then one round of percent-encoding (HTTP binding, 3.1.3.2)."""
    if not raw.isascii():
        raise ValueError("holds characters that are not ASCII: percent-encode their UTF-8 bytes")
    value = raw.strip(" \t")
    if '"' in value:
        value = _QUOTED.sub(lambda found: _ESCAPED.sub(r"\1", found[1]), _balanced(value))
    if "%" not in value:
        return value
    # Odd parts are runs of %xy: a character's bytes stand side by side.
    parts = _PERCENT.split(value)
    for index, part in enumerate(parts):
        if index % 2 == 0:
            if "%" in part:
                raise ValueError("has a % that two hexadecimal digits do not follow: send %25")
            continue
        try:
            parts[index] = bytes.fromhex(part.replace("%", "")).decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"percent-encodes bytes that are not UTF-8: {part}") from error
    return "".join(parts)


def _balanced(value: str) -> str:
    if '"' in _QUOTED.sub("", value):
        raise ValueError("has a double quote that is not closed: send %22")
    return value


def _event_format(content_type: str) -> MediaType:
    media = parse_media_type(content_type)
    if media is None or media.essence not in (STRUCTURED_TYPE, BATCH_TYPE):
        raise malformed_message(
            f"the event format {content_type} is not supported: send {STRUCTURED_TYPE}", 415
        )
    return media


def _parse(body: bytes, media: MediaType) -> tuple[Any, RepeatedKeys]:
    repeated = RepeatedKeys()
    try:
        text = decode_text(body, media)
        return parse_json(text, "the body", repeated), repeated
    except JsonError as error:
        raise malformed_message(str(error)) from error
    except MalformedEvent as error:
        raise malformed_message(f"the body cannot be read: {error}") from error


def _member(members: Any, repeated: RepeatedKeys) -> CloudEvent:
    if keys := repeated.of(members):
        raise malformed(*(FieldError(key, "is given more than once") for key in keys))
    return from_json(members)
