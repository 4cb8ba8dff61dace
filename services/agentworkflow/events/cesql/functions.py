"""The functions that CESQL 1.0 builds in (section 3.5), by name and number of arguments.

IS_INT and IS_BOOL are not in the specification; the engine that Knative runs has them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentworkflow.events.attributes import INT32_MAX, INT32_MIN
from agentworkflow.events.cesql.casts import CastError, to_boolean, to_integer, to_string
from agentworkflow.events.cesql.expression import ErrorKind, Value

# Unicode's White_Space property. str.strip() alone would take U+001C to U+001F too.
_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


class FunctionError(ValueError):
    """A function met an error and results in `value` all the same."""

    def __init__(self, kind: ErrorKind, message: str, value: Value) -> None:
        super().__init__(message)
        self.kind = kind
        self.value = value


@dataclass(frozen=True, slots=True)
class Function:
    """A built-in function: the casts of its arguments, its zero, and whether the last repeats."""

    run: Callable[..., Value]
    casts: tuple[Callable[[Value], Any], ...]
    zero: Value
    variadic: bool = False

    def takes(self, count: int) -> bool:
        """Tell whether it can be called with so many arguments; a variadic tail may be empty."""
        if self.variadic:
            return count >= len(self.casts) - 1
        return count == len(self.casts)

    def casts_for(self, count: int) -> tuple[Callable[[Value], Any], ...]:
        """Return one cast per argument."""
        return self.casts[:count] + self.casts[-1:] * (count - len(self.casts))


def find_function(name: str, count: int) -> Function | None:
    """Return the function of that (upper case) name that takes so many arguments."""
    return next((f for f in FUNCTIONS.get(name, ()) if f.takes(count)), None)


def _any(value: Value) -> Value:
    return value


def _abs(x: int) -> int:
    if x == INT32_MIN:
        raise FunctionError(ErrorKind.MATH, f"ABS({x}) is outside the 32-bit range", INT32_MAX)
    return abs(x)


def _left(x: str, y: int) -> str:
    if y < 0:
        message = f"LEFT takes a length of at least 0, not {y}"
        raise FunctionError(ErrorKind.FUNCTION_EVALUATION, message, x)
    return x[:y]


def _right(x: str, y: int) -> str:
    if y < 0:
        message = f"RIGHT takes a length of at least 0, not {y}"
        raise FunctionError(ErrorKind.FUNCTION_EVALUATION, message, x)
    return x[max(0, len(x) - y) :]


def _substring(x: str, position: int, length: int = INT32_MAX) -> str:
    if abs(position) > len(x):
        message = f"SUBSTRING starts at {position}, but the string has {len(x)} characters"
        raise FunctionError(ErrorKind.FUNCTION_EVALUATION, message, "")
    if length < 0:
        message = f"SUBSTRING takes a length of at least 0, not {length}"
        raise FunctionError(ErrorKind.FUNCTION_EVALUATION, message, "")
    if position == 0:
        return ""
    start = position - 1 if position > 0 else len(x) + position
    return x[start : start + length]


def _castable(cast: Callable[[Value], Any]) -> Callable[[Value], bool]:
    def check(value: Value) -> bool:
        try:
            cast(value)
        except CastError:
            return False
        return True

    return check


FUNCTIONS: dict[str, tuple[Function, ...]] = {
    "INT": (Function(to_integer, (_any,), 0),),
    "BOOL": (Function(to_boolean, (_any,), False),),
    "STRING": (Function(to_string, (_any,), ""),),
    "IS_INT": (Function(_castable(to_integer), (_any,), False),),
    "IS_BOOL": (Function(_castable(to_boolean), (_any,), False),),
    "ABS": (Function(_abs, (to_integer,), 0),),
    "LENGTH": (Function(len, (to_string,), 0),),
    "CONCAT": (Function(lambda *parts: "".join(parts), (to_string,), "", variadic=True),),
    "CONCAT_WS": (
        Function(
            lambda delimiter, *parts: delimiter.join(parts),
            (to_string, to_string),
            "",
            variadic=True,
        ),
    ),
    "LOWER": (Function(str.lower, (to_string,), ""),),
    "UPPER": (Function(str.upper, (to_string,), ""),),
    "TRIM": (Function(lambda x: x.strip(_WHITE_SPACE), (to_string,), ""),),
    "LEFT": (Function(_left, (to_string, to_integer), ""),),
    "RIGHT": (Function(_right, (to_string, to_integer), ""),),
    "SUBSTRING": (
        Function(_substring, (to_string, to_integer), ""),
        Function(_substring, (to_string, to_integer, to_integer), ""),
    ),
}
