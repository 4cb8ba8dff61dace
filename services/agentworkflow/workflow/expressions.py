"""CEL expressions: compiled and checked once, evaluated over the parts of a run they read.

What is promised to authors beside standard CEL: the strings, math and encoders extensions, and
optional syntax (`input.?a.?b.orValue(0)`). Nothing else is loaded.

https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

import base64
import datetime as dt
import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_encoders, ext_math, ext_optional, ext_strings

from agentworkflow.workflow.cel_ast import Node, parse
from agentworkflow.workflow.parts import EVENT, INPUT, SESSION, Part, error_of, output_of

ROOTS: Final = frozenset({"input", "event", "session", "run", "steps", "item", "index"})
RUN_FIELDS: Final = ("id", "name", "namespace", "startedAt")
STEP_FIELDS: Final = ("state", "output", "error")

# Extension functions are called as `math.round(x)`: in the tree that is a call on a name.
_NAMESPACES: Final = frozenset({"base64", "math", "optional", "strings"})
_INDEX: Final = frozenset({"_[_]", "_[?_]", "_?._"})
_MAX_SOURCE: Final = 10_000


class ExpressionError(ValueError):
    """An expression that cannot be compiled, or names what is not there.

    Attributes:
        message: what is wrong, in one sentence.
        column: 1-based position in the expression, or None.
        hint: what to write instead, or an empty string.
    """

    def __init__(self, message: str, column: int | None = None, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.column = column
        self.hint = hint


class EvaluationError(ValueError):
    """An expression that failed at run time: the expression, and CEL's own message."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(f"${{{source}}}: {message}")
        self.source = source
        self.message = message


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may name where it stands.

    Attributes:
        roots: the variables that exist here, a subset of `ROOTS`.
        steps: steps whose results are there, because this place waits for them.
        all_steps: every step of the workflow, for messages that tell why one is not there.
        event_is_certain: False where a run may have been started without an event.
        every_step: any step may be named: the names have been checked before.
    """

    roots: frozenset[str] = ROOTS
    steps: frozenset[str] = frozenset()
    all_steps: frozenset[str] = frozenset()
    event_is_certain: bool = True
    every_step: bool = False


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
        try:
            value = self._program.eval(data={name: bindings[name] for name in self.names})
            if value.type() == cel.Type.ERROR:
                raise EvaluationError(self.source, _status(str(value.value())))
            plain = value.plain_value()
        except EvaluationError:
            raise
        except Exception as error:
            raise EvaluationError(self.source, _status(str(error))) from error
        try:
            return to_json(plain)
        except ValueError as error:
            raise EvaluationError(self.source, str(error)) from error


def to_json(value: Any) -> Any:
    """A CEL value as JSON: bytes in base64, timestamps in RFC 3339, durations in seconds (`1.5s`).

    Raises:
        ValueError: the value has no JSON form (NaN, infinity, a type, a key that is no string).
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                message = f"the result is {value}, which JSON cannot hold"
                raise ValueError(message)
            return value
        case list():
            return [to_json(member) for member in value]
        case dict():
            return {_key(key): to_json(member) for key, member in value.items()}
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case dt.datetime():
            return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
        case dt.timedelta():
            return f"{value.total_seconds():g}s"
    message = f"the result is of CEL type {value}, which JSON cannot hold"
    raise ValueError(message)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    message = f"the key {key!r} of a map is no string, so JSON cannot hold it"
    raise ValueError(message)


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
        yield _compiler_error(str(error))
        return
    names = list(_check(tree, scope, frozenset(), guarded=scope.event_is_certain))
    yield from names
    if names:
        return
    try:
        _compile(source)
    except ExpressionError as error:
        yield error


def implies_event(source: str) -> bool:
    """Whether an expression can only be true where the run was started by an event."""
    try:
        tree = parse(_environment().compile(source, disable_check=True).serialize())
    except RuntimeError:
        return False
    return _guards(tree, present=True)


@lru_cache(maxsize=4096)
def _compile(source: str) -> Expression:
    try:
        program = _environment().compile(source)
        tree = parse(_environment().compile(source, disable_check=True).serialize())
    except RuntimeError as error:
        raise _compiler_error(str(error)) from error
    parts: set[Part] = set()
    names: set[str] = set()
    steps: set[str] = set()
    for root, path in _paths(tree, frozenset()):
        names.add(root)
        if root == "steps" and path:
            steps.add(path[0])
        parts.update(_parts(root, path))
    return Expression(
        source, frozenset(parts), frozenset(names), frozenset(steps), _reference(tree), program
    )


def _reference(tree: Node) -> str | None:
    chain = _chain(tree)
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


def _chain(node: Node) -> tuple[str, tuple[str, ...]] | None:
    """Root and literal path of `a.b['c']`; None if the node is no such chain."""
    if node.kind == "ident":
        return node.name, ()
    if node.kind == "select":
        below = _chain(node.children[0])
        return (below[0], (*below[1], node.name)) if below else None
    if node.kind == "call" and node.name in _INDEX and len(node.children) == 2:  # noqa: PLR2004
        operand, key = node.children
        below = _chain(operand)
        return (below[0], (*below[1], key.text)) if below and key.text is not None else None
    return None


def _paths(node: Node, bound: frozenset[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    chain = _chain(node)
    if chain is not None:
        if chain[0] not in bound and (chain[1] or chain[0] not in _NAMESPACES):
            yield chain
        return
    for child, names in _children(node, bound):
        yield from _paths(child, names)


def _children(node: Node, bound: frozenset[str]) -> Iterator[tuple[Node, frozenset[str]]]:
    for position, child in enumerate(node.children):
        # The range and the start value of a comprehension stand outside its variables.
        inside = node.kind == "comprehension" and position >= 2  # noqa: PLR2004
        yield child, bound | node.bound if inside else bound


def _check(
    node: Node, scope: Scope, bound: frozenset[str], *, guarded: bool
) -> Iterator[ExpressionError]:
    chain = _chain(node)
    if chain is not None:
        if chain[0] not in bound and (chain[1] or chain[0] not in _NAMESPACES):
            yield from _check_path(chain[0], chain[1], node, scope, guarded=guarded)
        return
    if _guards(node, present=True) or _guards(node, present=False):
        # A comparison of `event` itself with null is what makes an unguarded use safe.
        guarded = True
    for (child, names), safe in zip(_children(node, bound), _safety(node), strict=True):
        yield from _check(child, scope, names, guarded=guarded or safe)


def _safety(node: Node) -> list[bool]:
    """For each child, whether it is only reached where `event` is there."""
    children = node.children
    if node.kind == "call" and node.name == "_?_:_":
        condition = children[0]
        return [False, _guards(condition, present=True), _guards(condition, present=False)]
    if node.kind == "call" and node.name in ("_&&_", "_||_"):
        present = node.name == "_&&_"
        # CEL's && and || take either side's word, so a guard on one side protects the other.
        return [
            any(_guards(other, present=present) for other in children if other is not child)
            for child in children
        ]
    return [False] * len(children)


def _guards(node: Node, *, present: bool) -> bool:
    """Whether the node's truth (or, for `present=False`, its falsehood) means `event` is there."""
    if node.kind != "call":
        return False
    if node.name == ("_!=_" if present else "_==_"):
        return any(c.kind == "ident" and c.name == "event" for c in node.children) and any(
            c.is_null for c in node.children
        )
    if node.name == ("_&&_" if present else "_||_"):
        return any(_guards(child, present=present) for child in node.children)
    if node.name == "!_":
        return _guards(node.children[0], present=not present)
    return False


def _check_path(
    root: str, path: tuple[str, ...], node: Node, scope: Scope, *, guarded: bool
) -> Iterator[ExpressionError]:
    at = _start(node)
    if root not in scope.roots:
        yield _unknown_root(root, at, scope)
    elif root == "run":
        if path and path[0] not in RUN_FIELDS:
            yield ExpressionError(
                f"`run.{path[0]}` does not exist", at, f"run has {', '.join(RUN_FIELDS)}"
            )
    elif root == "event" and not guarded:
        yield ExpressionError(
            "`event` is null when the run is started by the API or a route",
            at,
            "write `event != null ? … : …`, or use `input`",
        )
    elif root == "steps" and not scope.every_step:
        yield from _check_step(path, at, scope)


def _check_step(path: tuple[str, ...], at: int, scope: Scope) -> Iterator[ExpressionError]:
    if not path:
        yield ExpressionError(
            "`steps` must be followed by the name of a step",
            at,
            "write `steps.<name>.output`, or `steps['<name>'].output` for a name with a hyphen",
        )
        return
    name = path[0]
    if name not in scope.all_steps:
        hyphenated = [s for s in scope.all_steps if s.split("-", 1)[0] == name and "-" in s]
        if hyphenated:
            close = hyphenated[0]
            hint = f"a name with a hyphen is written `steps['{close}']`: CEL reads `-` as minus"
        else:
            hint = _nearest(name, scope.all_steps, "the workflow has no steps")
        yield ExpressionError(f"there is no step `{name}`", at, hint)
    elif name not in scope.steps:
        yield ExpressionError(
            f"step `{name}` may not have ended here", at, f"add `{name}` to this step's `needs`"
        )
    elif len(path) > 1 and path[1] not in STEP_FIELDS:
        hint = _nearest(path[1], STEP_FIELDS, "")
        if path[1] not in ("outputs", "errors", "status"):
            hint = f"write `steps.{name}.output.{path[1]}`" if hint.startswith("a step") else hint
        yield ExpressionError(
            f"`steps.{name}.{path[1]}` does not exist: a step has state, output and error", at, hint
        )


def _unknown_root(root: str, at: int, scope: Scope) -> ExpressionError:
    if root in ("item", "index"):
        return ExpressionError(f"`{root}` exists only inside a step with `forEach`", at)
    if root in ROOTS:
        known = ", ".join(sorted(scope.roots))
        return ExpressionError(f"`{root}` does not exist here", at, f"here there is {known}")
    if root in scope.all_steps:
        return ExpressionError(f"`{root}` is a step", at, f"write `steps.{root}.output`")
    return ExpressionError(f"`{root}` is not known", at, _nearest(root, scope.roots, ""))


def _nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known here: {', '.join(names)}" if names else otherwise


def _start(node: Node) -> int:
    while node.children:
        node = node.children[0]
    return node.offset + 1


_POSITION: Final = re.compile(r"^ERROR: <input>:(\d+):(\d+): (.*)$", re.MULTILINE)


def _compiler_error(text: str) -> ExpressionError:
    found = _POSITION.search(text.removeprefix("INVALID_ARGUMENT: "))
    if found is None:
        return ExpressionError(_status(text))
    message = found[3].replace(" (in container '')", "")
    unknown = re.fullmatch(r"undeclared reference to '(.+?)'", message)
    if unknown is None:
        return ExpressionError(message, int(found[2]))
    return ExpressionError(
        f"there is no function `{unknown[1]}`",
        int(found[2]),
        "CEL's standard functions and its strings, math and encoders extensions are there",
    )


def _status(text: str) -> str:
    return re.sub(r"^[A-Z_]+: ", "", text.removesuffix(" [INVALID_ARGUMENT]"))
