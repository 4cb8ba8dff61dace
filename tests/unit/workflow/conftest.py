"""An API server's judgement of an object by a CRD, as far as the schema decides it.

What `kubectl apply` (with its default strict validation) refuses: unknown fields, then, after nulls
are pruned and defaults filled in, breaches of the schema, doubles in sets and maps, CEL rules.
https://github.com/kubernetes/apiextensions-apiserver, pkg/apiserver/schema
"""

import copy
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from cel_expr_python import cel
from jsonschema import Draft202012Validator

from agentworkflow.workflow.crd import build_crd

# https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
RESERVED = frozenset({
    "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in",
    "let", "loop", "namespace", "null", "package", "return", "true", "var", "void", "while",
})  # fmt: skip


@pytest.fixture(scope="session")
def crd_refusals() -> Callable[[dict[str, Any]], list[str]]:
    """What the CRD's schema says against an object."""
    schema = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    validator = Draft202012Validator(_as_json_schema(schema))

    def refusals(resource: dict[str, Any]) -> list[str]:
        value = copy.deepcopy(resource)
        unknown = list(_unknown(schema, value, ""))
        _prune_and_default(schema, value)
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
        doubles = list(_doubles(schema, value, ""))
        # As the server does: rules are only asked about an object of the right form.
        rules = [] if errors else list(_broken_rules(schema, value, ""))
        return [*unknown, *errors, *doubles, *rules]

    return refusals


@pytest.fixture(scope="session")
def laid_over() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Make the resource of a case in the corpus: its own, or its spec over a small valid one."""

    def make(case: dict[str, Any]) -> dict[str, Any]:
        if "resource" in case:
            resource: dict[str, Any] = copy.deepcopy(case["resource"])
            return resource
        spec = {
            "functions": [{"name": "f", "handler": "m:f"}],
            "steps": [{"name": "s", "function": "f"}],
            **copy.deepcopy(case["spec"]),
        }
        return {
            "apiVersion": "agentworkflow.dev/v1alpha1",
            "kind": "AgentWorkflow",
            "metadata": {"name": "small"},
            "spec": {key: value for key, value in spec.items() if value is not None},
        }

    return make


def _members(schema: dict[str, Any], value: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Keys of a value and the schemas that judge what is under them."""
    if isinstance(value, dict):
        for key in value:
            below = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if below is not None:
                yield key, below
    elif isinstance(value, list) and "items" in schema:
        for index in range(len(value)):
            yield index, schema["items"]


def _unknown(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if schema.get("x-kubernetes-preserve-unknown-fields") or path == ".metadata":
        return
    known = dict(_members(schema, value))
    if isinstance(value, dict):
        yield from (f'unknown field "{path}.{key}"' for key in value if key not in known)
    for key, below in known.items():
        yield from _unknown(below, value[key], f"{path}.{key}")


def _prune_and_default(schema: dict[str, Any], value: Any) -> None:
    if isinstance(value, dict):
        for key, below in schema.get("properties", {}).items():
            if key in value and value[key] is None and not below.get("nullable"):
                del value[key]
            if key not in value and "default" in below:
                value[key] = copy.deepcopy(below["default"])
    for key, below in _members(schema, value):
        _prune_and_default(below, value[key])


def _doubles(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type")
        keys = schema.get("x-kubernetes-list-map-keys", [])
        shown = [
            repr([each.get(key) for key in keys]) if kind == "map" and isinstance(each, dict)
            else repr(each)
            for each in value
        ]  # fmt: skip
        if kind in ("set", "map") and len(set(shown)) < len(shown):
            yield f"{path}: duplicate value"
    for key, below in _members(schema, value):
        yield from _doubles(below, value[key], f"{path}.{key}")


def _broken_rules(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", []):
        verdict = _program(rule["rule"]).eval(data={"self": _escaped(schema, value)})
        if verdict.type() != cel.Type.BOOL or not verdict.value():
            yield f"{path}: {rule['message']}"
    for key, below in _members(schema, value):
        yield from _broken_rules(below, value[key], f"{path}.{key}")


@cache
def _program(rule: str) -> cel.Expression:
    return cel.NewEnv(variables={"self": cel.Type.DYN}).compile(rule)


def _escaped(schema: dict[str, Any], value: Any) -> Any:
    """The value as a rule sees it: reserved words escaped, free-form fields not there."""
    if isinstance(value, dict):
        return {
            f"__{key}__" if key in RESERVED else key: _escaped(below, value[key])
            for key, below in _members(schema, value)
            if below.get("type") or below.get("x-kubernetes-int-or-string")
        }
    if isinstance(value, list):
        return [_escaped(schema["items"], each) for each in value]
    return value


def _as_json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in schema.items() if not key.startswith("x-")}
    if "properties" in shown:
        shown["properties"] = {k: _as_json_schema(v) for k, v in shown["properties"].items()}
    if "pattern" in shown:
        # To Go a $ is the very end; to Python it may stand before a last line's end.
        shown["pattern"] = re.sub(r"\$$", r"\\Z", shown["pattern"])
    for key in ("items", "additionalProperties"):
        if key in shown:
            shown[key] = _as_json_schema(shown[key])
    if shown.pop("nullable", False) and "type" in shown:
        shown["type"] = [shown["type"], "null"]
    return shown
