"""The JSON event format: a CloudEvent as one JSON object, and a batch as an array of them."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from agentworkflow.events.attributes import CORE
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.payload import (
    BYTES,
    decode_payload,
    encode_text,
    media_type_of,
    require_text,
)
from agentworkflow.events.problem import (
    FieldError,
    MalformedEvent,
    malformed,
    malformed_message,
)

_PAYLOAD = frozenset({"data", "data_base64"})


def to_json(event: CloudEvent) -> dict[str, Any]:
    """Return the structured JSON object. Bytes go into `data_base64`, all else into `data`."""
    members: dict[str, Any] = event.attributes()
    data = event.data
    if isinstance(data, BYTES):
        members["data_base64"] = base64.b64encode(data).decode("ascii")
    elif data is not None:
        media = media_type_of(event.datacontenttype)
        members["data"] = data if media.is_json else require_text(data, media)
    return members


def from_json(members: Any) -> CloudEvent:
    """Make the event of a structured JSON object; a null attribute is an absent one.

    Raises MalformedEvent, which names every attribute that is wrong.
    """
    if not isinstance(members, Mapping):
        kind = "an array" if isinstance(members, list) else type(members).__name__
        raise malformed_message(f"a structured CloudEvent is a JSON object, not {kind}")
    attributes = {n: v for n, v in members.items() if n not in _PAYLOAD and v is not None}
    return make_event(attributes, lambda datacontenttype: _payload(members, datacontenttype))


def make_event(attributes: Mapping[str, Any], payload: Callable[[str | None], Any]) -> CloudEvent:
    """Make an event of attributes as received, then read its payload by its datacontenttype.

    Attributes are checked first, all of them: the payload's meaning depends on them.
    """
    core = {name: attributes.get(name) for name in CORE}
    extensions = {name: value for name, value in attributes.items() if name not in CORE}
    event = CloudEvent(**core, extensions=extensions)  # type: ignore[arg-type]
    data = payload(event.datacontenttype)
    # Set before anyone has seen the event: replace() would check every attribute again.
    object.__setattr__(event, "data", data)
    return event


def at_index(error: MalformedEvent, index: int) -> MalformedEvent:
    """Return the error of a batch's member, with its place in the batch before each path."""
    problem = error.problem
    if not problem.errors:
        return malformed(FieldError(f"[{index}]", problem.detail))
    return malformed(*(FieldError(f"[{index}].{e.path}", e.message) for e in problem.errors))


def _payload(members: Mapping[str, Any], datacontenttype: str | None) -> Any:
    data, encoded = members.get("data"), members.get("data_base64")
    if encoded is None:
        return _plain(data, datacontenttype)
    if "data" in members:
        raise malformed(FieldError("data", "and data_base64 exclude each other: send one of them"))
    if not isinstance(encoded, str):
        raise malformed(FieldError("data_base64", "must be a string of base64"))
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(FieldError("data_base64", f"is no base64: {error}")) from error
    return decode_payload(raw, datacontenttype)


def _plain(data: Any, datacontenttype: str | None) -> Any:
    if data is None:
        return None
    media = media_type_of(datacontenttype)
    if media.is_json:
        return data
    text = require_text(data, media)
    return text if media.is_text else encode_text(text, media)
