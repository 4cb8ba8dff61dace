"""CESQL's type casts (section 3.7). An impossible one raises CastError with its sentence."""

import re

from agentworkflow.events.attributes import INT32_MAX, INT32_MIN, canonical
from agentworkflow.events.cesql.expression import Value

_INTEGER = re.compile("[+-]?[0-9]+")
_MAX_DIGITS = 4300
"""Python reads no longer integer; leading zeros aside, ten digits are enough."""


class CastError(ValueError):
    """A value that has no counterpart in the type asked for."""


def to_integer(value: Value) -> int:
    """Cast to Integer."""
    if isinstance(value, int):
        return int(value)
    if _INTEGER.fullmatch(value) and len(value) <= _MAX_DIGITS:
        number = int(value)
        if INT32_MIN <= number <= INT32_MAX:
            return number
    raise CastError(f"{_shown(value)} is no 32-bit integer")


def to_boolean(value: Value) -> bool:
    """Cast to Boolean."""
    if isinstance(value, int):
        return value != 0
    lower = value.lower()
    if lower == "true":
        return True
    if lower == "false":
        return False
    raise CastError(f"{_shown(value)} is neither 'true' nor 'false'")


def to_string(value: Value) -> str:
    """Cast to String; always possible."""
    return canonical(value)


def to_type_of(value: Value, target: Value) -> Value:
    """Cast `value` to the type of `target`."""
    if isinstance(target, str):
        return to_string(value)
    if isinstance(target, bool):
        return to_boolean(value)
    return to_integer(value)


def _shown(value: str) -> str:
    longest = 40
    return repr(value if len(value) <= longest else value[:longest] + "…")
