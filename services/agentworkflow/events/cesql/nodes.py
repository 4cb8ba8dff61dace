"""The syntax tree of a CESQL expression: one node per rule of the grammar, each with its place."""

from dataclasses import dataclass
from typing import Literal as OneOf

from agentworkflow.events.cesql.expression import Value

LogicOperator = OneOf["AND", "OR", "XOR"]
ArithmeticOperator = OneOf["+", "-", "*", "/", "%"]
OrderOperator = OneOf["<", "<=", ">", ">="]


# Nodes are compared by identity: two equal-looking calls at two places are two nodes.
@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A string, integer or boolean that is written in the expression."""

    value: Value


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """A context attribute of the event."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Exists:
    """`EXISTS name`."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Not:
    """`NOT operand`."""

    operand: "Node"


@dataclass(frozen=True, slots=True, eq=False)
class Negate:
    """`-operand`."""

    operand: "Node"


@dataclass(frozen=True, slots=True, eq=False)
class Like:
    """`operand LIKE 'pattern'`."""

    operand: "Node"
    pattern: str


@dataclass(frozen=True, slots=True, eq=False)
class In:
    """`operand IN (members)`."""

    operand: "Node"
    members: tuple["Node", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Arithmetic:
    """`left operator right` over integers."""

    operator: ArithmeticOperator
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """`left operator right`: which integer is less."""

    operator: OrderOperator
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True, eq=False)
class Equal:
    """`left = right`, or `!=` and `<>` if `negated`."""

    left: "Node"
    right: "Node"
    negated: bool


@dataclass(frozen=True, slots=True, eq=False)
class Logic:
    """`a operator b operator c …` over booleans."""

    operator: LogicOperator
    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`NAME(arguments)`; the name is upper case."""

    name: str
    arguments: tuple["Node", ...]
    line: int
    column: int


Node = (
    Literal
    | Attribute
    | Exists
    | Not
    | Negate
    | Like
    | In
    | Arithmetic
    | Order
    | Equal
    | Logic
    | Call
)
