"""What the models refuse, in words: what is wrong and what to write instead."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from agentworkflow.workflow.fields import EXPRESSION_PATTERN, FORMS, Later
from agentworkflow.workflow.findings import Fault, Path, nearest

_TYPES: Final = {
    "string_type": ("a text", "put it in quotes"),
    "int_type": ("a whole number", "write it without quotes and without a fraction"),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "list_type": ("a list", "write [ … ], or lines that start with -"),
    "dict_type": ("an object", "write fields and values"),
    "model_type": ("an object", "write fields and values"),
}
_BARE_BOOLEAN: Final = ": YAML reads bare yes, no, on, off, y and n as booleans"
_SHOWN: Final = 60


def faults_of(error: ValidationError, root: type[BaseModel]) -> Iterator[Fault]:
    """Every error of a validation, as a fault with its path."""
    for detail in error.errors(include_url=False):
        yield _fault(detail, root)


def _fault(detail: ErrorDetails, root: type[BaseModel]) -> Fault:
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    kind = detail["type"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    value = detail["input"]
    if kind == "extra_forbidden":
        known = fields_at(root, path[:-1])
        return Fault(path, f'unknown field "{path[-1]}"', nearest(str(path[-1]), known), True)
    if kind == "missing":
        return Fault(path, "is required", f"add {path[-1]}")
    if kind == "later":
        return Fault(path, "not supported yet", f"leave {path[-1]} out", True)
    if kind in ("string_type", "string_too_short"):
        form = _form_at(root, path)
        if form is not None:
            kind, context = "string_pattern_mismatch", {"pattern": form}
    message, hint = _about_value(kind, context, value)
    return Fault(path, message, hint or detail["msg"])


def _about_value(kind: str, context: Mapping[str, Any], value: Any) -> tuple[str, str]:
    if kind in _TYPES:
        what, hint = _TYPES[kind]
        if kind == "string_type" and not isinstance(value, bool | int | float):
            hint = "write a text"
        if kind == "string_type" and isinstance(value, bool):
            hint += _BARE_BOOLEAN
        return f"must be {what}, and is {_shown(value)}", hint
    if kind == "string_pattern_mismatch":
        what, example = FORMS[context["pattern"]]
        hint = f"write it as {example}"
        if isinstance(value, bool):
            hint += ", in quotes" + _BARE_BOOLEAN
        if context["pattern"] == EXPRESSION_PATTERN and isinstance(value, str):
            hint = _as_expression(value) or hint
        return f"must be {what}, and is {_shown(value)}", hint
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        hint = nearest(value, choices) if isinstance(value, str) else ""
        known = f"write one of {', '.join(choices)}"
        return (
            f"must be one of {', '.join(choices)}, and is {_shown(value)}",
            hint if hint.startswith("did") else known,
        )
    if kind in ("duration_range", "memory_range"):
        least, most = context["least"], context["most"]
        return (
            f"must be between {least} and {most}, and is {value}",
            f"write at least {least} and at most {most}",
        )
    return _about_size(kind, context, value)


def _as_expression(text: str) -> str:
    inner = text.strip()
    if inner.startswith("${") and inner != text:
        return "leave out the space around it: in YAML | and > add a line's end, |- and >- do not"
    return f"write it as ${{{inner}}}" if inner else ""


def _about_size(kind: str, context: Mapping[str, Any], value: Any) -> tuple[str, str]:
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']}, and is {value}", f"write {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}, and is {value}", f"write {context['le']}"
        case "too_long":
            most = context["max_length"]
            return (
                f"has {context['actual_length']} entries, and at most {most} fit",
                "leave some out",
            )
        case "string_too_long":
            return (
                f"has {len(value)} characters, and at most {context['max_length']} fit",
                "shorten it",
            )
        case "string_too_short":
            return (
                f"is too short: {_shown(value)}",
                f"write {context['min_length']} characters or more",
            )
    return f"is refused ({kind})", ""


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
        return json.dumps(short, ensure_ascii=False)
    return "a list" if isinstance(value, list) else "an object"


def fields_at(root: type[BaseModel], path: Path) -> list[str]:
    """The names of the fields that the object at a path may have."""
    model = _model_at(root, path)
    fields = model.model_fields.values() if model else ()
    return [
        field.alias or ""
        for field in fields
        if not any(isinstance(each, Later) for each in field.metadata)
    ]


def _model_at(root: type[BaseModel], path: Path) -> type[BaseModel] | None:
    model: type[BaseModel] | None = root
    for part in path:
        if isinstance(part, str) and model is not None:
            field = _field(model, part)
            model = next(_models_in(field.annotation), None) if field else None
    return model


def _field(model: type[BaseModel], name: str) -> FieldInfo | None:
    return next((each for each in model.model_fields.values() if each.alias == name), None)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _form_at(root: type[BaseModel], path: Path) -> str | None:
    """The form that the text at a path has to have, if it has one."""
    names = [part for part in path if isinstance(part, str)]
    model = _model_at(root, tuple(names[:-1]))
    field = _field(model, names[-1]) if model else None
    if field is None:
        return None
    return next((each for each in _patterns_in([field.annotation, *field.metadata])), None)


def _patterns_in(annotations: Iterable[Any]) -> Iterator[str]:
    for each in annotations:
        for constraint in (each, *getattr(each, "metadata", ())):
            pattern = getattr(constraint, "pattern", None)
            if pattern in FORMS:
                yield str(pattern)
        inner = [arg for arg in get_args(each) if not isinstance(arg, str | int)]
        yield from _patterns_in([*inner, *getattr(each, "__metadata__", ())])
