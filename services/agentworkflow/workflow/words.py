"""What the models refuse, in words: what is wrong and what to write instead."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agentworkflow.workflow.fields import EXPRESSION_PATTERN, FORMS
from agentworkflow.workflow.findings import Fault, Path, nearest

_TYPES: Final = {
    "string_type": ("a text", "put it in quotes"),
    "int_type": ("a whole number", "write it without quotes and without a fraction"),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "list_type": ("a list", "write [ … ], or lines that start with -"),
    "dict_type": ("an object", "write fields and values"),
    "model_type": ("an object", "write fields and values"),
}
_ALREADY_SAID: Final = 60


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
    message, hint = _about_value(kind, context, value)
    return Fault(path, message, hint or detail["msg"])


def _about_value(kind: str, context: Mapping[str, Any], value: Any) -> tuple[str, str]:
    if kind in _TYPES:
        what, hint = _TYPES[kind]
        if kind == "string_type" and isinstance(value, bool):
            hint += ": YAML reads bare yes, no, on, off, y and n as booleans"
        return f"must be {what}, and is {_shown(value)}", hint
    if kind == "string_pattern_mismatch":
        what, example = FORMS[context["pattern"]]
        if context["pattern"] == EXPRESSION_PATTERN:
            example = "${" + str(value).strip("${} ") + "}"
        return f"must be {what}, and is {_shown(value)}", f"write it as {example}"
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        if len(choices) == 1:
            return f"must be {choices[0]}, and is {_shown(value)}", f"write {choices[0]}"
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
        short = value if len(value) <= _ALREADY_SAID else value[: _ALREADY_SAID - 1] + "…"
        return f'"{short}"'
    return "a list" if isinstance(value, list) else "an object"


def fields_at(root: type[BaseModel], path: Path) -> list[str]:
    """The names of the fields that the object at a path may have."""
    model: Any = root
    for part in path:
        if isinstance(part, int):
            continue
        model = next(
            (
                inner
                for field in model.model_fields.values()
                if field.alias == part
                for inner in _models_in(field.annotation)
            ),
            None,
        )
        if model is None:
            return []
    return [field.alias or "" for field in model.model_fields.values()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
