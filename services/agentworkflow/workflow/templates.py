"""Values with `${…}` in them: any JSON value whose strings may hold CEL.

A string that is one expression keeps the expression's type. Text around it: interpolation.
`$${` stands for a literal `${`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agentworkflow.workflow.expressions import (
    EvaluationError,
    Expression,
    ExpressionError,
    Scope,
    compile_expression,
    find_errors,
)
from agentworkflow.workflow.parts import Part

_OPEN: Final = "${"
_ESCAPED: Final = "$${"


@dataclass(frozen=True, slots=True)
class TemplateFinding:
    """One error in a template.

    Attributes:
        path: keys and indexes from the template's root to the string.
        message: what is wrong.
        column: 1-based position in the string, or None.
        hint: what to write instead, or an empty string.
    """

    path: tuple[str | int, ...]
    message: str
    column: int | None
    hint: str


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template.

    Attributes:
        value: the template as it was written.
        expressions: every expression in it.
    """

    value: Any
    expressions: tuple[Expression, ...]
    _tree: Any

    @property
    def parts(self) -> frozenset[Part]:
        """What has to be loaded before it can be evaluated."""
        return frozenset().union(*(e.parts for e in self.expressions))

    @property
    def steps(self) -> frozenset[str]:
        """The steps that it reads, their state included."""
        return frozenset().union(*(e.steps for e in self.expressions))

    @property
    def reference(self) -> str | None:
        """The step whose whole output the template is, if it is nothing else."""
        return self._tree.reference if isinstance(self._tree, Expression) else None

    def evaluate(self, bindings: Mapping[str, Any]) -> Any:
        """The value over `bindings`.

        Raises:
            EvaluationError: an expression in it failed.
        """
        return _evaluate(self._tree, bindings)


@dataclass(frozen=True, slots=True)
class _Interpolation:
    pieces: tuple[str | Expression, ...]


def compile_template(value: Any, scope: Scope) -> Template:
    """Compile a template.

    Raises:
        ExpressionError: one of its expressions is wrong.
    """
    expressions: list[Expression] = []
    tree = _compile(value, scope, expressions)
    return Template(value, tuple(expressions), tree)


def compile_single(value: str, scope: Scope) -> Expression:
    """Compile a string that has to be one whole expression, such as `when` and `forEach`.

    Raises:
        ExpressionError: it is not `${…}`, or the expression is wrong.
    """
    return compile_expression(_single(value), scope)


def check_template(value: Any, scope: Scope, *, whole: bool = False) -> list[TemplateFinding]:
    """Every error in a template, with the path to its string.

    Args:
        value: any JSON value.
        scope: what its expressions may name.
        whole: the value has to be one whole expression (`when`, `forEach`).
    """
    return list(_check(value, scope, (), whole=whole))


def is_template(value: Any) -> bool:
    """Whether any string in a value holds an expression."""
    if isinstance(value, str):
        return _OPEN in value
    if isinstance(value, dict):
        return any(is_template(member) for member in value.values())
    return isinstance(value, list) and any(is_template(member) for member in value)


def _single(value: Any) -> str:
    pieces = list(_split(value)) if isinstance(value, str) else []
    if len(pieces) == 1 and pieces[0][0] == "expression":
        return pieces[0][1]
    raise ExpressionError(
        "this has to be one whole expression", 1, f"write ${{{str(value).strip('${} ')}}}"
    )


def _check(
    value: Any, scope: Scope, path: tuple[str | int, ...], *, whole: bool
) -> Iterator[TemplateFinding]:
    if isinstance(value, dict) and not whole:
        for key, member in value.items():
            yield from _check(member, scope, (*path, key), whole=False)
    elif isinstance(value, list) and not whole:
        for index, member in enumerate(value):
            yield from _check(member, scope, (*path, index), whole=False)
    elif isinstance(value, str) or whole:
        for found in _errors(value, scope, whole=whole):
            yield TemplateFinding(path, found.message, found.column, found.hint)


def _errors(value: Any, scope: Scope, *, whole: bool) -> Iterator[ExpressionError]:
    try:
        if whole:
            _single(value)
        pieces = list(_split(value))
    except ExpressionError as unsplit:
        yield unsplit
        return
    for kind, text, start in pieces:
        if kind == "expression":
            for found in find_errors(text, scope):
                column = None if found.column is None else start + found.column
                yield ExpressionError(found.message, column, found.hint)


def _compile(value: Any, scope: Scope, expressions: list[Expression]) -> Any:
    if isinstance(value, dict):
        return {key: _compile(member, scope, expressions) for key, member in value.items()}
    if isinstance(value, list):
        return [_compile(member, scope, expressions) for member in value]
    if not isinstance(value, str) or "$" not in value:
        return value
    pieces: list[str | Expression] = []
    for kind, text, _start in _split(value):
        if kind == "expression":
            expression = compile_expression(text, scope)
            expressions.append(expression)
            pieces.append(expression)
        else:
            pieces.append(text)
    if len(pieces) == 1 or (pieces[1:] == ["\n"] and isinstance(pieces[0], Expression)):
        # The line break that ends YAML's block string `|` is no text around the expression.
        return pieces[0]
    return _Interpolation(tuple(pieces))


def _evaluate(tree: Any, bindings: Mapping[str, Any]) -> Any:
    if isinstance(tree, Expression):
        return tree.evaluate(bindings)
    if isinstance(tree, _Interpolation):
        return "".join(
            piece if isinstance(piece, str) else _as_text(piece.evaluate(bindings))
            for piece in tree.pieces
        )
    if isinstance(tree, dict):
        return {key: _evaluate(member, bindings) for key, member in tree.items()}
    if isinstance(tree, list):
        return [_evaluate(member, bindings) for member in tree]
    return tree


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _split(text: str) -> Iterator[tuple[str, str, int]]:
    """Pieces of a string: (`text` or `expression`, its text, its 0-based start)."""
    literal: list[str] = []
    at = 0
    while at < len(text):
        if text.startswith(_ESCAPED, at):
            literal.append(_OPEN)
            at += len(_ESCAPED)
        elif text.startswith(_OPEN, at):
            if literal:
                yield "text", "".join(literal), at
                literal = []
            start = at + len(_OPEN)
            end = _closing(text, start)
            yield "expression", text[start:end].strip(), start + _indent(text[start:end])
            at = end + 1
        else:
            literal.append(text[at])
            at += 1
    if literal:
        yield "text", "".join(literal), at


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _closing(text: str, start: int) -> int:
    """Position of the `}` that ends the expression; braces in CEL's maps and strings are passed."""
    depth = 0
    at = start
    while at < len(text):
        character = text[at]
        if character in "'\"":
            at = _end_of_string(text, at)
        elif text.startswith("//", at):
            # A comment may hold anything, up to the end of its line.
            line_end = text.find("\n", at)
            at = len(text) if line_end < 0 else line_end
        elif character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                return at
            depth -= 1
        at += 1
    raise ExpressionError("`${` is not closed", start - 1, "add the missing `}`, or write `$${`")


def _end_of_string(text: str, start: int) -> int:
    """Position of the last quote of the string literal that opens at `start`."""
    quote = text[start] * 3 if text.startswith(text[start] * 3, start) else text[start]
    at = start + len(quote)
    while at < len(text):
        if text[at] == "\\":
            # In a raw string too: CEL takes none that has a backslash before its last quote.
            at += 2
        elif text.startswith(quote, at):
            return at + len(quote) - 1
        else:
            at += 1
    return len(text)


__all__ = [
    "EvaluationError",
    "Template",
    "TemplateFinding",
    "check_template",
    "compile_single",
    "compile_template",
    "is_template",
]
