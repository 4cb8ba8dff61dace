"""Which names an expression reads, and whether they are there where it stands."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from agentworkflow.workflow.cel_ast import Node

ROOTS: Final = frozenset({"input", "event", "session", "run", "steps", "item", "index"})
RUN_FIELDS: Final = ("id", "name", "namespace", "startedAt")
STEP_FIELDS: Final = ("state", "output", "error")

# Extension functions are called as `math.round(x)`: in the tree that is a call on a name.
_NAMESPACES: Final = frozenset({"base64", "math", "optional", "strings"})
_INDEX: Final = frozenset({"_[_]", "_[?_]", "_?._"})
# Types are values in CEL: `type(input) == string`. `google` begins the name of one.
_TYPES: Final = frozenset(
    {
        "bool",
        "bytes",
        "double",
        "google",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "type",
        "uint",
    }
)


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


def chain_of(node: Node) -> tuple[str, tuple[str, ...]] | None:
    """Root and literal path of `a.b['c']`; None if the node is no such chain."""
    if node.kind == "ident":
        return node.name, ()
    if node.kind == "select":
        below = chain_of(node.children[0])
        return (below[0], (*below[1], node.name)) if below else None
    if node.kind == "call" and node.name in _INDEX and len(node.children) == 2:  # noqa: PLR2004
        operand, key = node.children
        below = chain_of(operand)
        return (below[0], (*below[1], key.text)) if below and key.text is not None else None
    return None


def paths_of(
    node: Node, bound: frozenset[str] = frozenset()
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every root that an expression reads, with the literal path below it."""
    chain = chain_of(node)
    if chain is not None:
        if _is_variable(chain, bound):
            yield chain
        return
    for child, names in _children(node, bound):
        yield from paths_of(child, names)


def _is_variable(chain: tuple[str, tuple[str, ...]], bound: frozenset[str]) -> bool:
    """Whether a chain begins with a variable of ours: not one of a comprehension, nor CEL's."""
    root, path = chain
    if root in bound or root == "google":
        return False
    return bool(path) or root not in _NAMESPACES | _TYPES


def _children(node: Node, bound: frozenset[str]) -> Iterator[tuple[Node, frozenset[str]]]:
    for position, child in enumerate(node.children):
        # The range and the start value of a comprehension stand outside its variables.
        inside = node.kind == "comprehension" and position >= 2  # noqa: PLR2004
        yield child, bound | node.bound if inside else bound


def check_names(node: Node, scope: Scope) -> Iterator[ExpressionError]:
    """Every name in an expression that is not there."""
    return _check(node, scope, frozenset(), guarded=scope.event_is_certain)


def _check(
    node: Node, scope: Scope, bound: frozenset[str], *, guarded: bool
) -> Iterator[ExpressionError]:
    chain = chain_of(node)
    if chain is not None:
        if _is_variable(chain, bound):
            yield from _check_path(chain[0], chain[1], node, scope, guarded=guarded)
        return
    if guards_event(node, present=True) or guards_event(node, present=False):
        # A comparison of `event` itself with null is what makes an unguarded use safe.
        guarded = True
    for (child, names), safe in zip(_children(node, bound), _safety(node), strict=True):
        yield from _check(child, scope, names, guarded=guarded or safe)


def _safety(node: Node) -> list[bool]:
    """For each child, whether it is only reached where `event` is there."""
    children = node.children
    if node.kind == "call" and node.name == "_?_:_":
        condition = children[0]
        return [
            False,
            guards_event(condition, present=True),
            guards_event(condition, present=False),
        ]
    if node.kind == "call" and node.name in ("_&&_", "_||_"):
        present = node.name == "_&&_"
        # CEL's && and || take either side's word, so a guard on one side protects the other.
        return [
            any(guards_event(other, present=present) for other in children if other is not child)
            for child in children
        ]
    return [False] * len(children)


def guards_event(node: Node, *, present: bool) -> bool:
    """Whether the node's truth (or, for `present=False`, its falsehood) means `event` is there."""
    if node.kind != "call":
        return False
    if node.name == ("_!=_" if present else "_==_"):
        return any(c.kind == "ident" and c.name == "event" for c in node.children) and any(
            c.is_null for c in node.children
        )
    if node.name == ("_&&_" if present else "_||_"):
        return any(guards_event(child, present=present) for child in node.children)
    if node.name == "!_":
        return guards_event(node.children[0], present=not present)
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
        near = difflib.get_close_matches(path[1], STEP_FIELDS, n=1)
        step = f"steps['{name}']" if "-" in name else f"steps.{name}"
        hint = f"did you mean `{near[0]}`?" if near else f"write `{step}.output.{path[1]}`"
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
