"""Fields that expressions read from values whose JSON Schema is known: `input`, steps' outputs.

A field that a closed schema (`additionalProperties: false`) does not have is an error. An open
schema allows any field, so there only a name close to one of its properties is one: a typing error.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from cel_expr_python import cel

from agentworkflow.workflow.cel_ast import Node, parse
from agentworkflow.workflow.expressions import ExpressionError, Scope
from agentworkflow.workflow.findings import Fault
from agentworkflow.workflow.rules_schemas import find_reference
from agentworkflow.workflow.templates import compile_template
from agentworkflow.workflow.view import View

_ANY_STEP: Final = Scope(every_step=True)
# Where one of these stands, a field may come from more places than properties.
_OPEN_KEYWORDS: Final = frozenset({
    "allOf", "anyOf", "oneOf", "if", "not", "patternProperties", "dependentSchemas", "$dynamicRef",
})  # fmt: skip
_OUTPUT_AT: Final = 2

Chain = tuple[str, tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a workflow's values.

    Attributes:
        input: schema of the run's input.
        outputs: step → schema of its function's output.
        lists: steps whose output is a list, because they have forEach.
    """

    input: Any
    outputs: Mapping[str, Any]
    lists: frozenset[str]


def check_outputs(spec: View) -> Iterator[Fault]:
    """Every field that an expression reads and that is not there."""
    schemas = {
        function.text("name"): function.at("outputSchema").value
        for function in spec.objects("functions")
    }
    steps = [step for step in spec.objects("steps") if step.text("name") is not None]
    known = _Known(
        spec.at("inputSchema").value,
        {step.text("name") or "": schemas.get(step.text("function")) for step in steps},
        frozenset(step.text("name") or "" for step in steps if step.has("forEach")),
    )
    places = [step.at(key) for step in steps for key in ("when", "forEach", "input")]
    for place in (*places, spec.at("output"), spec.at("session").at("update")):
        yield from _check(place, known)


def _check(place: View, known: _Known) -> Iterator[Fault]:
    for text in _texts(place):
        try:
            expressions = compile_template(text.value, _ANY_STEP).expressions
        except ExpressionError:
            continue
        for expression in expressions:
            start = text.value.find(expression.source)
            for chain in find_chains(expression.source):
                for message, hint in _unknown_field(chain, known):
                    yield text.fault(message, hint, column=start + chain[2] + 1)


def _texts(place: View) -> Iterator[View]:
    if isinstance(place.value, str):
        yield place
    elif isinstance(place.value, dict):
        for key, member in place.value.items():
            yield from _texts(View(member, (*place.path, key)))
    elif isinstance(place.value, list):
        for index, member in enumerate(place.value):
            yield from _texts(View(member, (*place.path, index)))


def _unknown_field(chain: Chain, known: _Known) -> Iterator[tuple[str, str]]:
    root, path, _offset = chain
    if root == "input":
        yield from _missing(known.input, known.input, path, "input")
    elif root == "steps" and path[1:_OUTPUT_AT] == ("output",):
        step, fields = path[0], path[_OUTPUT_AT:]
        shown = f"steps.{step}.output" if "-" not in step else f"steps['{step}'].output"
        if step not in known.lists:
            schema = known.outputs.get(step)
            yield from _missing(schema, schema, fields, shown)
        elif fields:
            yield (
                f"`{shown}` is a list, because the step has forEach, and has no `{fields[0]}`",
                f"write `{shown}[0].{fields[0]}`, or `{shown}.map(o, o.{fields[0]})`",
            )


def _missing(
    schema: Any, whole: Any, path: tuple[str, ...], shown: str
) -> Iterator[tuple[str, str]]:
    """What is wrong with reading a path from values of a schema."""
    passed: set[str] = set()
    while isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
        reference = schema["$ref"]
        if set(schema) - {"$ref", "title", "description", "default"} or reference in passed:
            return
        passed.add(reference)
        schema = find_reference(whole, reference)
    if not path or not isinstance(schema, dict) or _OPEN_KEYWORDS & set(schema):
        return
    properties, other = schema.get("properties", {}), schema.get("additionalProperties", True)
    name = path[0]
    if not isinstance(properties, dict):
        return
    if name in properties:
        yield from _missing(properties[name], whole, path[1:], f"{shown}.{name}")
        return
    close = difflib.get_close_matches(name, list(properties), n=1)
    if other is False or (close and "additionalProperties" not in schema):
        hint = f"did you mean `{close[0]}`?" if close else f"it has {', '.join(properties)}"
        yield f"`{shown}` has no `{name}` in its schema", hint if properties else "it has no fields"


def find_chains(source: str) -> list[Chain]:
    """The selections of literal fields in an expression: root, path, 0-based offset."""
    try:
        tree = parse(_environment().compile(source, disable_check=True).serialize())
    except RuntimeError:
        # Optional syntax (`a.?b`), where a missing field is no error.
        return []
    return list(_chains(tree, frozenset()))


@cache
def _environment() -> cel.Env:
    return cel.NewEnv()


def _chains(node: Node, bound: frozenset[str]) -> Iterator[Chain]:
    chain = _chain(node)
    if chain is not None:
        if chain[0] not in bound and not node.test_only:
            yield chain
        return
    for child in node.children:
        yield from _chains(child, bound | node.bound)


def _chain(node: Node) -> Chain | None:
    if node.kind == "ident":
        return node.name, (), node.offset
    if node.kind == "select":
        name: str | None = node.name
    elif node.kind == "call" and node.name == "_[_]":
        name = node.children[1].text
    else:
        return None
    below = _chain(node.children[0])
    return None if below is None or name is None else (below[0], (*below[1], name), below[2])
