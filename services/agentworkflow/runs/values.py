"""Where the large parts of a run are kept: in a log entry, or beside it as a blob.

A value is stored once. Up to 256 KiB it stands in the log entry that brought it; above, the entry
holds its digest and size.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

INLINE_LIMIT: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Inline:
    """A value that stands in the entry itself."""

    value: Any


@dataclass(frozen=True, slots=True)
class Blob:
    """A value that is kept beside the log.

    Attributes:
        digest: `sha256:<hex>` of its JSON.
        size: of its JSON, in bytes.
    """

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class OutputOf:
    """The output of a step of the same run, so that a run's result is not stored twice."""

    step: str


@dataclass(frozen=True, slots=True)
class EventData:
    """The data of the event that started the run."""


NULL: Final = Inline(None)
Value = Inline | Blob | OutputOf | EventData


def encode_value(value: Value) -> dict[str, Any]:
    """A value as it stands in a log entry."""
    match value:
        case Inline():
            return {"v": value.value}
        case Blob():
            return {"blob": value.digest, "size": value.size}
        case OutputOf():
            return {"of": value.step}
        case EventData():
            return {"event": True}


def decode_value(raw: dict[str, Any]) -> Value:
    """The value that `encode_value` wrote."""
    if "v" in raw:
        return Inline(raw["v"])
    if "blob" in raw:
        return Blob(raw["blob"], raw["size"])
    if "of" in raw:
        return OutputOf(raw["of"])
    return EventData()


def stow(value: Any) -> tuple[Value, dict[str, bytes]]:
    """Decide where a JSON value is kept.

    Returns:
        The value as an entry holds it, and the blobs by digest that have to be stored with it.
    """
    if isinstance(value, (bool, int, float, type(None))):
        return Inline(value), {}
    body = dump(value).encode()
    if len(body) <= INLINE_LIMIT:
        return Inline(value), {}
    digest = digest_of(body)
    return Blob(digest, len(body)), {digest: body}


def dump(value: Any) -> str:
    """A JSON value as one line, short where it can be, and always encodable.

    A string may hold half of a surrogate pair, which JSON can write and UTF-8 cannot.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def digest_of(body: bytes) -> str:
    """The name of a blob."""
    return "sha256:" + hashlib.sha256(body).hexdigest()
