"""Compiles a CESQL syntax tree into nested functions: no tree is walked for an event."""

import difflib
from collections.abc import Callable
from operator import ge, gt, le, lt
from typing import assert_never

from agentworkflow.events.attributes import INT32_MAX, INT32_MIN, REQUIRED
from agentworkflow.events.cesql import nodes
from agentworkflow.events.cesql.casts import (
    CastError,
    to_boolean,
    to_integer,
    to_string,
    to_type_of,
)
from agentworkflow.events.cesql.expression import (
    ErrorKind,
    EvaluationError,
    Expression,
    Fault,
    Value,
)
from agentworkflow.events.cesql.functions import FUNCTIONS, FunctionError, find_function
from agentworkflow.events.cesql.nodes import Node
from agentworkflow.events.cesql.patterns import compile_pattern
from agentworkflow.events.cloudevent import CloudEvent

Run = Callable[[CloudEvent], Value]


def build(text: str, root: Node) -> Expression:
    """Return the compiled expression of a syntax tree."""
    unknown: list[str] = []
    run = _compile(root, unknown)
    return Expression(text, tuple(unknown), run, root, _zero(root))


def _zero(node: Node) -> Value:
    """Return the zero of what a node results in; an attribute alone counts as Boolean (3.2)."""
    match node:
        case nodes.Arithmetic() | nodes.Negate():
            return 0
        case nodes.Call(name, arguments):
            function = find_function(name, len(arguments))
            return function.zero if function is not None else False
    return False


def _compile(node: Node, unknown: list[str]) -> Run:  # noqa: C901, PLR0912 - one case per kind
    match node:
        case nodes.Literal(value):
            return lambda _event: value
        case nodes.Attribute(name):
            return _attribute(node, name)
        case nodes.Exists(name):
            return _exists(name)
        case nodes.Not(operand):
            return _not(node, _compile(operand, unknown))
        case nodes.Negate(operand):
            return _negate(node, _compile(operand, unknown))
        case nodes.Like(operand, pattern):
            return _like(_compile(operand, unknown), pattern)
        case nodes.In(operand, members):
            compiled = tuple(_compile(member, unknown) for member in members)
            return _in(node, _compile(operand, unknown), compiled)
        case nodes.Arithmetic(operator, left, right):
            return _arithmetic(node, _compile(left, unknown), _compile(right, unknown), operator)
        case nodes.Order(operator, left, right):
            return _order(node, _compile(left, unknown), _compile(right, unknown), operator)
        case nodes.Equal(left, right, negated):
            return _equal(node, _compile(left, unknown), _compile(right, unknown), negated=negated)
        case nodes.Logic(operator, operands):
            return _logic(node, tuple(_compile(each, unknown) for each in operands), operator)
        case nodes.Call(_, arguments):
            return _call(node, tuple(_compile(each, unknown) for each in arguments), unknown)
        case _:  # pragma: no cover - mypy proves that every node has its case
            assert_never(node)


def _fault(node: Node, kind: ErrorKind, message: object, value: Value) -> Fault:
    return Fault(EvaluationError(kind, str(message)), value, node)


def _attribute(node: Node, name: str) -> Run:
    def run(event: CloudEvent) -> Value:
        value = event.get(name)
        if value is None:
            message = f"the event has no attribute {name}"
            raise _fault(node, ErrorKind.MISSING_ATTRIBUTE, message, value=False)
        return value

    return run


def _exists(name: str) -> Run:
    if name in REQUIRED:
        return lambda _event: True
    return lambda event: event.get(name) is not None


def _not(node: Node, operand: Run) -> Run:
    def run(event: CloudEvent) -> Value:
        value = operand(event)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int) and value not in (0, 1):
            # Where the test kit and the text's table disagree: see the package's docstring.
            raise _fault(node, ErrorKind.CAST, f"{value} is no boolean", value=True)
        try:
            return not to_boolean(value)
        except CastError as fault:
            raise _fault(node, ErrorKind.CAST, fault, value=True) from None

    return run


def _negate(node: Node, operand: Run) -> Run:
    def run(event: CloudEvent) -> Value:
        value = operand(event)
        try:
            return _in_range(node, -to_integer(value))
        except CastError as fault:
            raise _fault(node, ErrorKind.CAST, fault, 0) from None

    return run


def _like(operand: Run, pattern: str) -> Run:
    matches = compile_pattern(pattern)
    return lambda event: matches(to_string(operand(event)))


def _in(node: Node, operand: Run, members: tuple[Run, ...]) -> Run:
    def run(event: CloudEvent) -> Value:
        value = operand(event)
        for member in members:
            try:
                if to_type_of(member(event), value) == value:
                    return True
            except CastError as fault:
                raise _fault(node, ErrorKind.CAST, fault, value=False) from None
        return False

    return run


def _in_range(node: Node, number: int) -> int:
    if INT32_MIN <= number <= INT32_MAX:
        return number
    message = f"{number} is outside the 32-bit range of integers"
    raise _fault(node, ErrorKind.MATH, message, 0)


def _divide(x: int, y: int) -> int:
    # Rounded towards 0, where Python's // rounds down.
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


_ARITHMETIC: dict[nodes.ArithmeticOperator, Callable[[int, int], int]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": _divide,
    "%": lambda x, y: x - y * _divide(x, y),
}


def _arithmetic(node: Node, left: Run, right: Run, operator: nodes.ArithmeticOperator) -> Run:
    compute = _ARITHMETIC[operator]

    def run(event: CloudEvent) -> Value:
        x, y = left(event), right(event)
        try:
            return _in_range(node, compute(to_integer(x), to_integer(y)))
        except CastError as fault:
            raise _fault(node, ErrorKind.CAST, fault, 0) from None
        except ZeroDivisionError:
            raise _fault(node, ErrorKind.MATH, f"{x} {operator} 0: division by zero", 0) from None

    return run


_ORDER: dict[nodes.OrderOperator, Callable[[int, int], bool]] = {
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}


def _order(node: Node, left: Run, right: Run, operator: nodes.OrderOperator) -> Run:
    compare = _ORDER[operator]

    def run(event: CloudEvent) -> Value:
        x, y = left(event), right(event)
        try:
            return compare(to_integer(x), to_integer(y))
        except CastError as fault:
            raise _fault(node, ErrorKind.CAST, fault, value=False) from None

    return run


def _equal(node: Node, left: Run, right: Run, *, negated: bool) -> Run:
    def run(event: CloudEvent) -> Value:
        x, y = left(event), right(event)
        try:
            return (to_type_of(x, y) == y) is not negated
        except CastError as fault:
            raise _fault(node, ErrorKind.CAST, fault, value=False) from None

    return run


def _logic(node: Node, operands: tuple[Run, ...], operator: nodes.LogicOperator) -> Run:
    def truth(operand: Run, event: CloudEvent) -> bool:
        try:
            return to_boolean(operand(event))
        except CastError as fault:
            raise _fault(node, ErrorKind.CAST, fault, value=False) from None

    def every(event: CloudEvent) -> bool:
        for operand in operands:  # noqa: SIM110 - all() would make a generator for each event
            if not truth(operand, event):
                return False
        return True

    def some(event: CloudEvent) -> bool:
        for operand in operands:  # noqa: SIM110
            if truth(operand, event):
                return True
        return False

    def odd(event: CloudEvent) -> bool:
        return sum([truth(operand, event) for operand in operands]) % 2 == 1

    choices: dict[nodes.LogicOperator, Run] = {"AND": every, "OR": some, "XOR": odd}
    return choices[operator]


def _call(node: nodes.Call, arguments: tuple[Run, ...], unknown: list[str]) -> Run:
    function = find_function(node.name, len(arguments))
    if function is None:
        message = _unknown(node)
        unknown.append(f"line {node.line}, column {node.column}: {message}")

        def missing(_event: CloudEvent) -> Value:
            raise _fault(node, ErrorKind.MISSING_FUNCTION, message, value=False)

        return missing

    compute, zero = function.run, function.zero
    pairs = tuple(zip(function.casts_for(len(arguments)), arguments, strict=True))

    def run(event: CloudEvent) -> Value:
        values = [(cast, argument(event)) for cast, argument in pairs]
        try:
            return compute(*[cast(value) for cast, value in values])
        except CastError as fault:
            raise _fault(node, ErrorKind.CAST, fault, zero) from None
        except FunctionError as fault:
            raise _fault(node, fault.kind, fault, fault.value) from None

    return run


def _unknown(node: nodes.Call) -> str:
    if node.name in FUNCTIONS:
        return f"{node.name} does not take {len(node.arguments)} arguments"
    near = difflib.get_close_matches(node.name, FUNCTIONS, 1)
    hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(sorted(FUNCTIONS))
    return f"there is no function {node.name}: {hint}"
