"""Turns what a handler returned into JSON, or says which part of it JSON cannot hold."""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

__all__ = ["ResultError", "encode_result", "jsonable"]

_DEEPEST = 200
_PLAIN_TEXT = (UUID, PurePath)


class ResultError(TypeError):
    """A result that JSON cannot hold; the message names its path and what to return instead."""


def encode_result(value: Any) -> bytes:
    """Return the result as compact UTF-8 JSON. Raises ResultError."""
    plain = jsonable(value)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ResultError(
            "the result holds a lone surrogate, which no UTF-8 text can hold: decode the text "
            "with the right encoding"
        ) from error


def jsonable(value: Any, path: str = "the result", depth: int = 0) -> Any:  # noqa: C901, PLR0912 - one row per kind of value
    """Return `value` as JSON's own types. Decimals become strings, so that no digit is lost."""
    if depth > _DEEPEST:
        raise ResultError(f"{path} is nested more than {_DEEPEST} deep, or contains itself")
    if value is None or value is True or value is False or type(value) is str:
        return value
    if isinstance(value, Enum):
        return jsonable(value.value, path, depth + 1)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(float(value), path)
    if isinstance(value, Mapping):
        return {
            _key(name, path): jsonable(each, f"{path}[{name!r}]", depth + 1)
            for name, each in value.items()
        }
    if is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: jsonable(getattr(value, each.name), f"{path}.{each.name}", depth + 1)
            for each in fields(value)
        }
    if hasattr(type(value), "model_dump"):
        return jsonable(value.model_dump(mode="json", by_alias=True), path, depth + 1)
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(each, f"{path}[{i}]", depth + 1) for i, each in enumerate(_ordered(value))]
    if isinstance(value, date | time | timedelta):
        return _moment(value, path)
    if isinstance(value, Decimal):
        _number(float(value), path)
        return str(value)
    if isinstance(value, _PLAIN_TEXT):
        return str(value)
    if type(value).__module__.split(".")[0] == "numpy" and hasattr(value, "tolist"):
        return jsonable(value.tolist(), path, depth + 1)
    raise ResultError(f"{path} is {_described(value)}, which JSON cannot hold: {_advice(value)}")


def _number(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise ResultError(f"{path} is {value}, which JSON cannot hold: return None instead")
    return value


def _key(name: Any, path: str) -> str:
    if isinstance(name, Enum):
        name = name.value
    if isinstance(name, str):
        return str(name)
    if isinstance(name, bool) or name is None:
        raise ResultError(f"{path} has the key {name!r}: the keys of a JSON object are strings")
    if isinstance(name, int | UUID):
        return str(name)
    if isinstance(name, date):
        return name.isoformat()
    raise ResultError(f"{path} has the key {name!r}: the keys of a JSON object are strings")


def _ordered(value: Iterable[Any]) -> Iterable[Any]:
    """Return a set in a stable order where its members can be compared: redelivery is alike."""
    if isinstance(value, set | frozenset):
        try:
            return sorted(value)
        except TypeError:
            return value
    return value


def _moment(value: date | time | timedelta, path: str) -> str:
    if isinstance(value, timedelta):
        from pydantic_core import to_jsonable_python  # noqa: PLC0415 - its ISO 8601 durations

        return str(to_jsonable_python(value))
    text = value.isoformat()
    if text == "NaT":
        raise ResultError(f"{path} is NaT, which JSON cannot hold: return None instead")
    if isinstance(value, datetime) and value.utcoffset() == UTC.utcoffset(None):
        return text.replace("+00:00", "Z")
    return text


def _described(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _advice(value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, bytes | bytearray | memoryview):
        start = base64.b64encode(bytes(value[:6])).decode()
        return f"return text, such as base64 ({start}…)"
    if kind == "DataFrame":
        return "return frame.to_dict('records')"
    if kind == "Series":
        return "return series.to_dict() or series.tolist()"
    if hasattr(value, "__await__"):
        return "await it, or make the handler async"
    if hasattr(value, "__next__") or hasattr(value, "__anext__"):
        return "return a list of what it yields"
    return "return built-ins, a dataclass, an enum or a Pydantic model"
