"""Turns the bytes of an event's payload into `data` and back, as its media type says."""

import json
from typing import Any, NoReturn

from agentworkflow.events.media import JSON, MediaType, is_charset, parse_media_type
from agentworkflow.events.problem import FieldError, MalformedEvent, malformed

BYTES = (bytes, bytearray, memoryview)


def media_type_of(datacontenttype: str | None) -> MediaType:
    """Return the parsed type of a checked `datacontenttype`; JSON where it is absent."""
    return (parse_media_type(datacontenttype) if datacontenttype is not None else None) or JSON


def decode_payload(body: bytes, datacontenttype: str | None) -> Any:
    """Return `data` for a payload of raw bytes. Empty is no data; untyped stays bytes.

    Raises MalformedEvent for JSON that is none and for text that its charset cannot read.
    """
    if not body:
        return None
    if datacontenttype is None:
        return body
    media = media_type_of(datacontenttype)
    if media.is_json:
        try:
            return parse_json(decode_text(body, media), "data")
        except JsonError as error:
            raise _data_error(str(error)) from error
    if media.is_text:
        return decode_text(body, media)
    return body


def encode_payload(data: Any, datacontenttype: str | None) -> bytes:
    """Return the payload's bytes for `data`. Bytes are taken as they are."""
    if data is None:
        return b""
    if isinstance(data, BYTES):
        return bytes(data)
    media = media_type_of(datacontenttype)
    if media.is_json:
        return encode_text(dump_json(data), media)
    return encode_text(require_text(data, media), media)


def require_text(data: Any, media: MediaType) -> str:
    """Return `data` if it is the string that a type other than JSON asks for."""
    if isinstance(data, str):
        return data
    raise _data_error(
        f"{media.essence} is carried as a string or bytes, not as {type(data).__name__}: "
        "use datacontenttype application/json for structured data"
    )


def decode_text(body: bytes, media: MediaType) -> str:
    """Decode bytes by the media type's charset; a UTF-8 byte order mark is dropped."""
    try:
        return body.decode(_charset(media)).removeprefix("\ufeff")
    except UnicodeError as error:
        raise _data_error(f"the bytes are not {media.charset} text ({error})") from error


def encode_text(text: str, media: MediaType) -> bytes:
    """Encode text by the media type's charset."""
    try:
        return text.encode(_charset(media))
    except UnicodeError as error:
        raise _data_error(f"the text cannot be written as {media.charset} ({error})") from error


def dump_json(value: Any) -> str:
    """Serialize a JSON value compactly. Raises MalformedEvent for what JSON cannot hold."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise _data_error(f"cannot be written as JSON: {error}") from error


class JsonError(ValueError):
    """Text that is no JSON, or JSON that no other party could read back."""


def parse_json(text: str, what: str, repeated: "RepeatedKeys | None" = None) -> Any:
    """Parse JSON strictly: no NaN or Infinity, no number that overflows, no lone surrogate.

    `what` names the text in the error's sentence. `repeated` collects objects with a repeated key.
    """
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=repeated.note if repeated is not None else None,
        )
        # Python's parser lets an escaped half of a surrogate pair through; UTF-8 cannot hold it.
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise JsonError(f"{what} holds a lone surrogate, which no text can hold") from error
    except RecursionError as error:
        raise JsonError(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise JsonError(f"{what} is not valid JSON: {error}") from error
    return value


class RepeatedKeys:
    """The objects of one JSON text that name a key more than once."""

    def __init__(self) -> None:
        # The object is kept beside its keys so that its id stays its own.
        self._found: dict[int, tuple[dict[str, Any], tuple[str, ...]]] = {}

    def note(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Make the object; the last of equal keys wins, as in Python's parser."""
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [name for name, _ in pairs]
            keys = tuple(name for name in made if names.count(name) > 1)
            self._found[id(made)] = (made, keys)
        return made

    def of(self, value: Any) -> tuple[str, ...]:
        """Return the repeated keys of one parsed object."""
        return self._found[id(value)][1] if id(value) in self._found else ()


def _charset(media: MediaType) -> str:
    name = media.charset
    if not is_charset(name):
        raise malformed(
            FieldError("datacontenttype", f"charset {name!r} is not known: send the data as utf-8")
        )
    return name


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{digits} is too large for a number")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _data_error(message: str) -> MalformedEvent:
    return malformed(FieldError("data", message))
