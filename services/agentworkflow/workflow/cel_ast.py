"""The syntax tree of a compiled CEL expression, read from its serialized form.

The compiler hands out no tree, only the protobuf encoding of `cel.expr.ParsedExpr`
(google/cel-spec, `proto/cel/expr/syntax.proto`). What we need of it is small: names,
field selections, literals and their positions. So the wire format is read here directly,
by field number, without a protobuf runtime.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5

# Field numbers: google.protobuf.Any, cel.expr.ParsedExpr, cel.expr.SourceInfo, cel.expr.Expr.
_ANY_VALUE: Final = 2
_PARSED_EXPR: Final = 2
_PARSED_SOURCE_INFO: Final = 3
_SOURCE_POSITIONS: Final = 4
_ID, _CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 2, 3, 4, 5, 6, 7, 8, 9


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the tree.

    Attributes:
        kind: `const`, `ident`, `select`, `call`, `list`, `struct` or `comprehension`.
        offset: position in the source, in code points from 0; -1 where the compiler gives none.
        name: the identifier, the selected field, or the function called.
        text: the value of a string literal, None for any other literal.
        test_only: the selection stands in `has(…)`.
        children: operand and arguments, in order. A comprehension has range, start value,
            condition, step and result.
        bound: names that a comprehension introduces in its last three children.
    """

    kind: str
    offset: int
    name: str = ""
    text: str | None = None
    is_null: bool = False
    test_only: bool = False
    children: tuple["Node", ...] = ()
    bound: frozenset[str] = field(default_factory=frozenset)


def parse(serialized: bytes) -> Node:
    """Read the tree of a serialized `google.protobuf.Any` that holds a `ParsedExpr`."""
    parsed = _messages(serialized, _ANY_VALUE)[0]
    positions: dict[int, int] = {}
    for source_info in _messages(parsed, _PARSED_SOURCE_INFO):
        positions = _positions(source_info)
    return _node(_messages(parsed, _PARSED_EXPR)[0], positions)


def _positions(source_info: bytes) -> dict[int, int]:
    found: dict[int, int] = {}
    for message in _messages(source_info, _SOURCE_POSITIONS):
        entry = dict(_fields(message))
        key, offset = entry.get(1, 0), entry.get(2, 0)
        if isinstance(key, int) and isinstance(offset, int):
            found[key] = offset
    return found


def _node(data: bytes, positions: dict[int, int]) -> Node:
    offset = -1
    node = Node("const", offset)
    for number, value in _fields(data):
        if number == _ID and isinstance(value, int):
            offset = positions.get(value, -1)
        elif isinstance(value, bytes):
            node = _variant(number, value, positions)
    return replace(node, offset=offset)


def _variant(number: int, data: bytes, positions: dict[int, int]) -> Node:
    if number == _CONST:
        return _constant(data)
    if number == _IDENT:
        return Node("ident", -1, name=_text(data, 1))
    if number == _SELECT:
        operand = tuple(_node(v, positions) for v in _messages(data, 1))
        test_only = any(n == 3 and v for n, v in _fields(data))  # noqa: PLR2004
        return Node("select", -1, name=_text(data, 2), test_only=test_only, children=operand)
    if number == _CALL:
        children = tuple(_node(v, positions) for f in (1, 3) for v in _messages(data, f))
        return Node("call", -1, name=_text(data, 2), children=children)
    if number == _LIST:
        return Node("list", -1, children=tuple(_node(v, positions) for v in _messages(data, 1)))
    if number == _STRUCT:
        entries = _messages(data, 2)
        children = tuple(
            _node(v, positions) for e in entries for f in (3, 4) for v in _messages(e, f)
        )
        return Node("struct", -1, children=children)
    children = tuple(_node(v, positions) for f in (2, 4, 5, 6, 7) for v in _messages(data, f))
    bound = frozenset(name for f in (1, 3, 8) if (name := _text(data, f)))
    return Node("comprehension", -1, children=children, bound=bound)


def _constant(data: bytes) -> Node:
    for number, value in _fields(data):
        if number == 6 and isinstance(value, bytes):  # noqa: PLR2004
            return Node("const", -1, text=value.decode())
        if number == 1:
            return Node("const", -1, is_null=True)
    return Node("const", -1)


def _messages(data: bytes, number: int) -> list[bytes]:
    return [v for n, v in _fields(data) if n == number and isinstance(v, bytes)]


def _text(data: bytes, number: int) -> str:
    return "".join(v.decode() for v in _messages(data, number))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif wire == _BYTES:
            size, at = _varint(data, at)
            yield number, data[at : at + size]
            at += size
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
            yield number, int.from_bytes(data[at : at + size], "little")
            at += size
        else:  # pragma: no cover - groups left protobuf before CEL came
            message = f"unknown wire type {wire} in a compiled expression"
            raise ValueError(message)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return value, at
        shift += 7
