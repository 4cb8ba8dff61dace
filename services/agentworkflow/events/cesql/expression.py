"""A compiled CESQL expression, and the errors of parsing and evaluating one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from agentworkflow.events.cloudevent import CloudEvent

Value = str | int | bool


class ErrorKind(StrEnum):
    """The error types of CESQL 1.0, section 3.3, that an evaluation can meet."""

    MATH = "MathError"
    CAST = "CastError"
    MISSING_ATTRIBUTE = "MissingAttributeError"
    MISSING_FUNCTION = "MissingFunctionError"
    FUNCTION_EVALUATION = "FunctionEvaluationError"


@dataclass(frozen=True, slots=True)
class EvaluationError:
    """An error that was met while an expression was evaluated on an event."""

    kind: ErrorKind
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class ParseError(ValueError):
    """Text that is no CESQL expression; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.message = message
        self.line = line
        self.column = column

    def __reduce__(self) -> tuple[type["ParseError"], tuple[str, int, int]]:
        return (ParseError, (self.message, self.line, self.column))


class Fault(Exception):  # noqa: N818 - it ends an evaluation and never leaves the package
    """Ends an evaluation at its first error.

    `value` is what the operator or function that met the error results in; `origin` is that
    operator, so that the root of an expression can tell its own error from one below it.
    """

    def __init__(self, error: EvaluationError, value: Value, origin: object) -> None:
        super().__init__(error)
        self.error = error
        self.value = value
        self.origin = origin


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; immutable, and safe to share.

    `unknown_functions` are the calls that no function answers to, as sentences: such a call
    evaluates to a MissingFunctionError, and whoever validates an expression can say so before.
    """

    text: str
    unknown_functions: tuple[str, ...]
    _run: Callable[[CloudEvent], Value] = field(repr=False, compare=False)
    _root: object = field(repr=False, compare=False)
    _zero: Value = field(repr=False, compare=False)

    def evaluate(self, event: CloudEvent) -> tuple[Value, tuple[EvaluationError, ...]]:
        """Return the value and the errors met. With an error, the value is the type's zero."""
        try:
            return self._run(event), ()
        except Fault as fault:
            value = fault.value if fault.origin is self._root else self._zero
            return value, (fault.error,)

    def matches(self, event: CloudEvent) -> bool:
        """Tell whether the event passes a filter: the value is `true`, and no error was met."""
        try:
            return self._run(event) is True
        except Fault:
            return False
