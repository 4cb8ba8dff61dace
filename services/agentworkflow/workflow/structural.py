"""A model's JSON Schema as a structural schema of Kubernetes.

Inlined, without `anyOf: [X, null]`, `title` and `additionalProperties: false`, none of
which a structural schema may hold.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

_NULL: Final = {"type": "null"}
_DROPPED: Final = frozenset({
    "$defs", "additionalProperties", "title", "x-agentworkflow-later", "x-agentworkflow-nullable",
})  # fmt: skip
# The key order of the output, for its readers.
_ORDER: Final = (
    "description", "type", "format", "default", "enum", "pattern", "minLength", "maxLength",
    "minimum", "maximum", "anyOf", "required", "properties", "items",
)  # fmt: skip


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a model."""
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    schema = _resolved(schema, definitions)
    shown: dict[str, Any] = {}
    for key, value in schema.items():
        match key, value:
            case "properties", dict():
                shown[key] = {name: _property(each, definitions) for name, each in value.items()}
            case ("items", _) | ("additionalProperties", dict()):
                shown[key] = _structural(value, definitions)
            case _ if key not in _DROPPED and (key, value) != ("default", None):
                shown[key] = value
    if schema.get("x-agentworkflow-nullable"):
        shown["nullable"] = True
    if shown.get("type") == "array":
        shown.setdefault("x-kubernetes-list-type", "atomic")
    return _ordered(shown)


def _property(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    shown = _structural(schema, definitions)
    # An object that is always there in the models. Its defaults are written out, because the API
    # server judges a default by the rules before it fills in those below.
    if "$ref" in schema and not shown.get("required"):
        shown["default"] = {
            name: each["default"] for name, each in shown["properties"].items() if "default" in each
        }
    return _ordered(shown)


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with `$ref` and the null of an optional field taken away."""
    merged = dict(schema)
    variants = merged.get("anyOf", [])
    if _NULL in variants:
        [variant] = [each for each in variants if each != _NULL]
        del merged["anyOf"]
        merged = {**variant, **merged}
    if "$ref" in merged:
        name = merged.pop("$ref").rsplit("/", 1)[1]
        merged = {**_resolved(definitions[name], definitions), **merged}
    return merged


def _ordered(schema: dict[str, Any]) -> dict[str, Any]:
    rank = {key: position for position, key in enumerate(_ORDER)}
    return dict(sorted(schema.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0])))
