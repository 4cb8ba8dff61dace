"""CEL expressions: compiled and checked once, evaluated over the parts of a run they read.

What is promised to authors beside standard CEL: the strings, math and encoders extensions, and
optional syntax (`input.?a.?b.orValue(0)`). Nothing else is loaded.

https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_encoders, ext_math, ext_optional, ext_strings

from agentworkflow.workflow.cel_ast import Node, parse
from agentworkflow.workflow.cel_names import (
    ROOTS,
    ExpressionError,
    Scope,
    chain_of,
    check_names,
    guards_event,
    paths_of,
)
from agentworkflow.workflow.cel_values import to_json
from agentworkflow.workflow.parts import EVENT, INPUT, SESSION, Part, error_of, output_of

_MAX_SOURCE: Final = 10_000
_NO_JSON: Final = (
    "the result has no JSON form; an optional value gets one by `.orValue(…)` at its end"
)


class EvaluationError(ValueError):
    """An expression that failed at run time: the expression, and CEL's own message."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(f"${{{source}}}: {message}")
        self.source = source
        self.message = message


@dataclass(frozen=True, slots=True)
class Expression:
    """One compiled expression.

    Attributes:
        source: the text between `${` and `}`.
        parts: what has to be loaded before it can be evaluated.
        names: the roots that it reads.
        steps: the steps that it reads, their state included.
        reference: the step whose whole output the expression is, if it is nothing else.
    """

    source: str
    parts: frozenset[Part]
    names: frozenset[str]
    steps: frozenset[str]
    reference: str | None
    _program: cel.Expression = field(repr=False, compare=False)

    def evaluate(self, bindings: Mapping[str, Any]) -> Any:
        """The value over `bindings`, as JSON can hold it.

        Args:
            bindings: root name → value; at least the roots in `names`.

        Raises:
            EvaluationError: CEL reported an error, or the value has no JSON form.
        """
        missing = sorted(self.names - bindings.keys())
        if missing:
            raise EvaluationError(self.source, f"`{missing[0]}` does not exist here")
        try:
            value = self._program.eval(data={name: bindings[name] for name in self.names})
        except Exception as error:
            # Whatever the binding makes of a value that CEL cannot take, such as a huge integer.
            raise EvaluationError(self.source, _status(str(error))) from error
        try:
            if value.type() == cel.Type.ERROR:
                raise EvaluationError(self.source, _status(str(value.value())))
            return to_json(value.plain_value())
        except EvaluationError:
            raise
        except ValueError as error:
            raise EvaluationError(self.source, str(error)) from error
        except (TypeError, SystemError) as error:
            # What the binding raises for a value that Python has no type for.
            raise EvaluationError(self.source, _NO_JSON) from error


def compile_expression(source: str, scope: Scope) -> Expression:
    """Compile an expression and check every name in it against `scope`.

    Raises:
        ExpressionError: it does not parse, or names what is not there.
    """
    for error in find_errors(source, scope):
        raise error
    return _compile(source)


def find_errors(source: str, scope: Scope) -> Iterator[ExpressionError]:
    """Every error of an expression, not only the first."""
    if len(source) > _MAX_SOURCE:
        yield ExpressionError(f"the expression is longer than {_MAX_SOURCE} characters")
        return
    if not source.strip():
        yield ExpressionError("the expression is empty", 1, "write a value, such as ${input}")
        return
    try:
        tree = parse(_environment().compile(source, disable_check=True).serialize())
    except RuntimeError as error:
        yield from _compiler_errors(str(error), source)
        return
    names = list(check_names(tree, scope))
    yield from names
    if names:
        return
    try:
        _environment().compile(source)
    except RuntimeError as error:
        yield from _compiler_errors(str(error), source)


def implies_event(source: str) -> bool:
    """Whether an expression can only be true where the run was started by an event."""
    try:
        tree = parse(_environment().compile(source, disable_check=True).serialize())
    except RuntimeError:
        return False
    return guards_event(tree, present=True)


@lru_cache(maxsize=4096)
def _compile(source: str) -> Expression:
    program = _environment().compile(source)
    tree = parse(_environment().compile(source, disable_check=True).serialize())
    parts: set[Part] = set()
    names: set[str] = set()
    steps: set[str] = set()
    for root, path in paths_of(tree):
        names.add(root)
        if root == "steps" and path:
            steps.add(path[0])
        parts.update(_parts(root, path))
    return Expression(
        source, frozenset(parts), frozenset(names), frozenset(steps), _reference(tree), program
    )


def _reference(tree: Node) -> str | None:
    chain = chain_of(tree)
    if chain is None or tree.test_only:
        return None
    root, path = chain
    is_output = root == "steps" and len(path) == 2 and path[1] == "output"  # noqa: PLR2004
    return path[0] if is_output else None


def _parts(root: str, path: tuple[str, ...]) -> Iterable[Part]:
    if root == "input":
        return (INPUT,)
    if root == "event":
        return (EVENT,)
    if root == "session":
        return (SESSION,)
    if root == "steps" and len(path) > 1:
        step, what = path[0], path[1]
        return {"output": (output_of(step),), "error": (error_of(step),)}.get(what, ())
    return ()


@cache
def _environment() -> cel.Env:
    return cel.NewEnv(
        variables=dict.fromkeys(sorted(ROOTS), cel.Type.DYN),
        extensions=[
            ext_strings.ExtStrings(),
            ext_math.ExtMath(),
            ext_encoders.ExtEncoders(),
            ext_optional.ExtOptional(),
        ],
    )


_POSITION: Final = re.compile(r"^ERROR: <input>:(\d+):(\d+): (.*)$", re.MULTILINE)


def _compiler_errors(text: str, source: str) -> Iterator[ExpressionError]:
    found = list(_POSITION.finditer(text.removeprefix("INVALID_ARGUMENT: ")))
    if not found:
        yield ExpressionError(_status(text))
    for match in found:
        at = sum(len(line) + 1 for line in source.split("\n")[: int(match[1]) - 1]) + int(match[2])
        message = match[3].replace(" (in container '')", "")
        unknown = re.fullmatch(r"undeclared reference to '(.+?)'", message)
        if unknown is None:
            yield ExpressionError(message, at)
            continue
        # The compiler points at the parenthesis behind the name.
        start = at - len(unknown[1])
        if start > 0 and source[start - 1 : at - 1] == unknown[1]:
            at = start
        yield ExpressionError(
            f"there is no function `{unknown[1]}`",
            at,
            "CEL's standard functions and its strings, math and encoders extensions are there",
        )


def _status(text: str) -> str:
    return re.sub(r"^[A-Z_]+: ", "", text.removesuffix(" [INVALID_ARGUMENT]"))


__all__ = [
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "Scope",
    "compile_expression",
    "find_errors",
    "implies_event",
    "to_json",
]
