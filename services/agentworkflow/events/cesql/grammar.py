"""Reads the text of a CESQL expression into its syntax tree, or says where and why it cannot."""

import re
from typing import Any, NoReturn, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, UnexpectedToken

from agentworkflow.events.attributes import INT32_MAX, INT32_MIN
from agentworkflow.events.cesql import nodes
from agentworkflow.events.cesql.expression import ParseError
from agentworkflow.events.cesql.nodes import Node

# Words are keywords in any case, and never names. The lexer offers only what may stand at a
# place, so that `4-1` is a subtraction while `= -1` holds a signed literal.
_GRAMMAR = r"""
?start: logic

?logic: comparison
      | comparison (AND | OR | XOR) logic           -> logic

?comparison: sum
      | comparison (EQUAL | NOT_EQUAL) sum          -> equal
      | comparison ORDER sum                        -> order

?sum: product
      | sum (PLUS | MINUS) product                  -> arithmetic

?product: test
      | product (STAR | SLASH | PERCENT) test       -> arithmetic

?test: unary
      | test LIKE STRING                            -> like
      | test NOT LIKE STRING                        -> not_like
      | test IN members                             -> in_
      | test NOT IN members                         -> not_in

?unary: atom
      | NOT unary                                   -> not_
      | MINUS unary                                 -> negate

?atom: "(" logic ")"
      | EXISTS NAME                                 -> exists
      | FUNCTION "(" [logic ("," logic)*] ")"       -> call
      | TRUE                                        -> true
      | FALSE                                       -> false
      | INTEGER                                     -> integer
      | STRING                                      -> string
      | NAME                                        -> attribute

members: "(" logic ("," logic)* ")"

AND: /AND(?!\w)/i
OR: /OR(?!\w)/i
XOR: /XOR(?!\w)/i
NOT: /NOT(?!\w)/i
LIKE: /LIKE(?!\w)/i
IN: /IN(?!\w)/i
EXISTS: /EXISTS(?!\w)/i
TRUE: /TRUE(?!\w)/i
FALSE: /FALSE(?!\w)/i

EQUAL: "="
NOT_EQUAL: "!=" | "<>"
ORDER: /<=|>=|<(?!>)|>/
PLUS: "+"
MINUS: "-"
STAR: "*"
SLASH: "/"
PERCENT: "%"

INTEGER.3: /[+-]?[0-9]+(?![A-Za-z0-9_])/
STRING: /'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"/s
FUNCTION.2: /(?!(?:AND|OR|XOR|NOT|LIKE|IN|EXISTS|TRUE|FALSE)(?!\w))[A-Za-z][A-Za-z_]*(?=[ \t\r\n]*\()/i
NAME: /(?!(?:AND|OR|XOR|NOT|LIKE|IN|EXISTS|TRUE|FALSE)(?!\w))[A-Za-z0-9]+(?![A-Za-z0-9_])/i

%ignore /[ \t\r\n]+/
"""  # noqa: E501 - a terminal is one line

_MAX_DEPTH = 100
"""Nested operators. An evaluation calls one Python function per level."""

_HINTS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), words)
    for pattern, words in (
        ("=", "write = once to compare for equality"),
        ("&&", "write AND"),
        (r"\|\|", "write OR"),
        ("!", "write NOT, or != to compare"),
        (r"\.", "only context attributes can be read, not members of data"),
        (r"'(?:\\.|[^'\\])*\Z|\"(?:\\.|[^\"\\])*\Z", "this string is not closed"),
        (r"(?<=['\"])['\"]", r"a quote inside a string is written \' or \""),
        (r"(?:AND|OR|XOR|NOT|LIKE|IN|EXISTS|TRUE|FALSE)(?!\w)", "this word is a keyword"),
        (r"\w*_\w*", "names of attributes are letters and digits only"),
    )
)


def parse(text: str) -> Node:
    """Return the syntax tree of a CESQL expression. Raises ParseError."""
    if not text.strip(" \t\r\n"):
        raise ParseError("the expression is empty", 1, 1)
    try:
        tree = cast("Node", cast("Any", _PARSER.parse(text)))
    except UnexpectedInput as error:
        raise _explain(text, error) from None
    if _depth(tree) > _MAX_DEPTH:
        raise ParseError(
            f"the expression nests more than {_MAX_DEPTH} operators: split it into several filters",
            1,
            1,
        )
    return tree


def _explain(text: str, error: UnexpectedInput) -> ParseError:
    lines = text.splitlines() or [""]
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        line, column = len(lines), len(lines[-1]) + 1
        found = "the expression ends"
    else:
        line, column = error.line, error.column
        found = f"found {_found(lines[line - 1][column - 1 :], error)}"
    expected = set(error.accepts or ()) if isinstance(error, UnexpectedToken) else set()
    if not expected:
        expected = set(getattr(error, "expected", None) or getattr(error, "allowed", None) or ())
    start = column - 1
    hints = (words for pattern, words in _HINTS if pattern.match(lines[line - 1], start))
    hint = next((f" ({words})" for words in hints), "")
    return ParseError(f"{found}, where {_wanted(expected)}{hint}", line, column)


def _found(rest: str, error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedToken):
        return str(error.token) if error.token.type == "STRING" else f"'{error.token}'"
    word = re.match(r"\w+|.", rest)
    return f"'{word[0]}'" if word else "nothing"


def _wanted(expected: set[str]) -> str:
    if expected == {"STRING"}:
        return "LIKE needs its pattern as a quoted string"
    if expected == {"NAME"}:
        return "EXISTS needs the name of an attribute"
    if expected == {"LPAR"}:
        return "IN needs its values in parentheses, such as ('a', 'b')"
    if expected == {"LIKE", "IN"}:
        return "NOT after a value needs LIKE or IN"
    if "NAME" in expected:
        return "a value is needed: an attribute, a literal, a function or an opening parenthesis"
    if "COMMA" in expected:
        return "an operator, a comma or a closing parenthesis is needed"
    if "RPAR" in expected:
        return "an operator or a closing parenthesis is needed"
    return "an operator or the end is needed"


def _depth(root: Node) -> int:
    """Measure the tree without recursion: it may be deeper than Python's stack."""
    deepest = 0
    pending = [(root, 1)]
    while pending:
        node, level = pending.pop()
        deepest = max(deepest, level)
        pending += [(child, level + 1) for child in _children(node)]
    return deepest


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case nodes.Not(operand) | nodes.Negate(operand) | nodes.Like(operand):
            return (operand,)
        case nodes.In(operand, members):
            return (operand, *members)
        case nodes.Logic(_, operands):
            return operands
        case nodes.Arithmetic() | nodes.Order() | nodes.Equal():
            return (node.left, node.right)
        case nodes.Call():
            return node.arguments
    return ()


@v_args(inline=True)
class _TreeBuilder(Transformer[Token, Node]):
    """Makes nodes while the parser reduces, without a tree of its own."""

    def logic(self, left: Node, operator: Token, right: Node) -> Node:
        name = cast("nodes.LogicOperator", operator.upper())
        # Each is associative: a chain of one operator is one node, however long it is.
        if isinstance(right, nodes.Logic) and right.operator == name:
            return nodes.Logic(name, (left, *right.operands))
        return nodes.Logic(name, (left, right))

    def equal(self, left: Node, operator: Token, right: Node) -> Node:
        return nodes.Equal(left, right, negated=operator.type != "EQUAL")

    def order(self, left: Node, operator: Token, right: Node) -> Node:
        return nodes.Order(cast("nodes.OrderOperator", str(operator)), left, right)

    def arithmetic(self, left: Node, operator: Token, right: Node) -> Node:
        return nodes.Arithmetic(cast("nodes.ArithmeticOperator", str(operator)), left, right)

    def like(self, operand: Node, _like: Token, pattern: Token) -> Node:
        return nodes.Like(operand, _unquoted(pattern))

    def not_like(self, operand: Node, _not: Token, _like: Token, pattern: Token) -> Node:
        return nodes.Not(nodes.Like(operand, _unquoted(pattern)))

    def in_(self, operand: Node, _in: Token, members: tuple[Node, ...]) -> Node:
        return nodes.In(operand, members)

    def not_in(self, operand: Node, _not: Token, _in: Token, members: tuple[Node, ...]) -> Node:
        return nodes.Not(nodes.In(operand, members))

    def members(self, *members: Node) -> tuple[Node, ...]:
        return members

    def not_(self, _not: Token, operand: Node) -> Node:
        return nodes.Not(operand)

    def negate(self, _minus: Token, operand: Node) -> Node:
        return nodes.Negate(operand)

    def exists(self, _exists: Token, name: Token) -> Node:
        return nodes.Exists(name.lower())

    def call(self, name: Token, *arguments: Node | None) -> Node:
        given = tuple(argument for argument in arguments if argument is not None)
        return nodes.Call(name.upper(), given, name.line or 1, name.column or 1)

    def true(self, _true: Token) -> Node:
        return nodes.Literal(value=True)

    def false(self, _false: Token) -> Node:
        return nodes.Literal(value=False)

    def integer(self, digits: Token) -> Node:
        # Enough digits for the range after leading zeros, and few enough for Python to read.
        significant = digits.lstrip("+-0")
        value = int(digits) if len(significant) <= len(str(INT32_MAX)) else INT32_MAX + 1
        if not INT32_MIN <= value <= INT32_MAX:
            _refuse(digits, f"{digits} is outside the 32-bit range of integers")
        return nodes.Literal(value)

    def string(self, quoted: Token) -> Node:
        return nodes.Literal(_unquoted(quoted))

    def attribute(self, name: Token) -> Node:
        return nodes.Attribute(name.lower())


def _unquoted(token: Token) -> str:
    quote = token[0]
    return token[1:-1].replace("\\" + quote, quote)


def _refuse(token: Token, message: str) -> NoReturn:
    raise ParseError(message, token.line or 1, token.column or 1)


_PARSER = Lark(_GRAMMAR, parser="lalr", transformer=_TreeBuilder(), maybe_placeholders=False)
