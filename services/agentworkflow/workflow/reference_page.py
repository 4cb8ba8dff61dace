"""The reference page of the resource, `docs/resource.md`, from the models' own descriptions."""

from collections.abc import Iterator
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agentworkflow.workflow.fields import FORMS, NAME_MAX, Later
from agentworkflow.workflow.models import API_VERSION, Spec

_HEAD: Final = f"""\
# The AgentWorkflow resource

<!-- Generated from the models by `python -m agentworkflow.workflow.crd`. Do not edit. -->

`apiVersion: {API_VERSION}`, `kind: AgentWorkflow`, short name `awf`, namespaced.

Strings of the form `${{…}}` hold CEL expressions.
A field without a default may be left out, unless it is marked as required.
Fields under *Not supported yet* have their place, and are refused by name until they work.
"""


def build_reference_page() -> str:
    """The page, in Markdown."""
    sections = [_HEAD]
    places: dict[type[BaseModel], list[str]] = {}
    for model, path in _objects(Spec, "spec"):
        places.setdefault(model, []).append(f"`{path}`")
    sections += [_section(model, ", ".join(paths)) for model, paths in places.items()]
    return "\n".join(sections)


def _objects(model: type[BaseModel], path: str) -> Iterator[tuple[type[BaseModel], str]]:
    yield model, path
    for field in model.model_fields.values():
        for inner, is_list in _inner(field.annotation):
            yield from _objects(inner, f"{path}.{field.alias}{'[]' if is_list else ''}")


def _inner(annotation: Any, *, is_list: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, is_list
    for each in get_args(annotation):
        yield from _inner(each, is_list=is_list or getattr(annotation, "__origin__", 0) is list)


def _section(model: type[BaseModel], places: str) -> str:
    lines = [f"## {places}", "", model.__doc__ or "", ""]
    now = [field for field in model.model_fields.values() if not _is_later(field)]
    later = [field for field in model.model_fields.values() if _is_later(field)]
    lines += ["| Field | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
    lines += [_row(model, field) for field in now]
    if later:
        named = ", ".join(f"`{field.alias}`" for field in later)
        lines += ["", f"Not supported yet: {named}."]
    rules = _rules(model)
    if rules:
        lines += ["", "Refused, in these words:", "", *(f"- {rule}" for rule in rules)]
    return "\n".join([*lines, ""])


def _row(model: type[BaseModel], field: FieldInfo) -> str:
    schema = model.model_json_schema(by_alias=True)
    shown = schema["properties"][field.alias]
    default = "required" if field.is_required() else _default(field)
    meaning = _escaped(field.description or "")
    return f"| `{field.alias}` | {_value(shown, schema)} | {default} | {meaning} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, list) and value:
        return f"`[{', '.join(value)}]`"
    if value is None or value == [] or isinstance(value, BaseModel):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _value(shown: dict[str, Any], schema: dict[str, Any]) -> str:
    """What may be written there, in a few words."""
    for variant in shown.get("anyOf", []):
        if variant != {"type": "null"}:
            return _value({**shown, **variant, "anyOf": []}, schema)
    if "$ref" in shown:
        return "object"
    if "enum" in shown:
        return ", ".join(f"`{each}`" for each in shown["enum"])
    if "pattern" in shown:
        what, example = FORMS[shown["pattern"]]
        return f"{what}, such as `{example}`{_bounds(shown)}"
    kinds = {
        "array": "list", "string": "text", "integer": "whole number", "boolean": "true or false",
        "object": "object",
    }  # fmt: skip
    kind = shown.get("type")
    return f"{kinds[kind]}{_bounds(shown)}" if kind else "any value"


def _bounds(shown: dict[str, Any]) -> str:
    bounds = []
    if "minimum" in shown:
        bounds.append(f"{shown['minimum']} to {shown['maximum']}")
    # How long a text of a known form may be tells a reader something only where it is short.
    if "maxLength" in shown and ("pattern" not in shown or shown["maxLength"] <= NAME_MAX):
        bounds.append(f"at most {shown['maxLength']} characters")
    if "maxItems" in shown:
        bounds.append(f"at most {shown['maxItems']}")
    bounds += [
        rule["message"].removeprefix("must be ")
        for rule in shown.get("x-kubernetes-validations", [])
    ]
    return f"; {', '.join(bounds)}" if bounds else ""


def _rules(model: type[BaseModel]) -> list[str]:
    stated = model.model_json_schema().get("x-kubernetes-validations", [])
    return [_escaped(rule["message"]) for rule in stated]


def _is_later(field: FieldInfo) -> bool:
    return any(isinstance(each, Later) for each in field.metadata)
