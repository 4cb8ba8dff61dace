"""CEL values as JSON can hold them."""

import base64
import datetime as dt
import math
from typing import Any


def to_json(value: Any) -> Any:
    """A CEL value as JSON: bytes in base64, timestamps in RFC 3339, durations in seconds (`1.5s`).

    Raises:
        ValueError: the value has no JSON form (NaN, infinity, a type, a key that is no string).
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                message = f"the result is {value}, which JSON cannot hold"
                raise ValueError(message)
            return value
        case list():
            return [to_json(member) for member in value]
        case dict():
            return {_key(key): to_json(member) for key, member in value.items()}
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case dt.datetime():
            return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
        case dt.timedelta():
            return _seconds(value)
    message = f"the result is of CEL type {value}, which JSON cannot hold"
    raise ValueError(message)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    message = f"the key {key!r} of a map is no string, so JSON cannot hold it"
    raise ValueError(message)


def _seconds(duration: dt.timedelta) -> str:
    """Seconds in full, as CEL's own `string(duration)` writes them."""
    micros = duration // dt.timedelta(microseconds=1)
    whole, rest = divmod(abs(micros), 1_000_000)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if micros < 0 else ''}{whole}{fraction}s"
