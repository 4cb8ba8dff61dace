"""Rules of JSON Schemas in the resource: they are valid, and need nothing from elsewhere."""

from collections.abc import Iterator
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from agentworkflow.workflow.findings import Fault, Path
from agentworkflow.workflow.view import View

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Final = "write array, boolean, integer, null, number, object or string"
_META: Final = Draft202012Validator(Draft202012Validator.META_SCHEMA)


def check_schema(schema: View) -> Iterator[Fault]:
    """Every error of a JSON Schema, and every reference out of it."""
    if not isinstance(schema.value, dict):
        return
    dialect = schema.value.get("$schema", _DRAFT)
    if dialect != _DRAFT:
        yield schema.at("$schema").fault(
            "only JSON Schema 2020-12 is supported", f"leave $schema out, or write {_DRAFT}"
        )
        return
    errors: dict[Path, str] = {}
    for error in _META.iter_errors(schema.value):
        exact = best_match([error]) or error
        errors.setdefault(tuple(exact.absolute_path), exact.message)
    for path, message in errors.items():
        where: Path = (*schema.path, *path)
        hint = _TYPES if path and path[-1] == "type" else "correct it"
        yield Fault(where, f"is no valid JSON Schema: {message}", hint)
    for path, reference in _references(schema.value, ()):
        if not reference.startswith("#"):
            yield Fault(
                (*schema.path, *path),
                f'"{reference}" is outside of this schema, and nothing is fetched',
                'put it under $defs and write "#/$defs/…"',
            )
        elif find_reference(schema.value, reference) is None:
            yield Fault(
                (*schema.path, *path),
                f'"{reference}" leads nowhere in this schema',
                "correct the path, or add it under $defs",
            )


def _references(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for key, member in value.items():
            if key in ("$ref", "$dynamicRef") and isinstance(member, str):
                yield (*path, key), member
            elif key not in ("const", "enum", "default", "examples"):
                yield from _references(member, (*path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _references(member, (*path, index))


def find_reference(schema: Any, reference: str) -> Any:
    """The schema that a `$ref` within another leads to, or None."""
    pointer = reference.removeprefix("#")
    if pointer and not pointer.startswith("/"):
        return next((each for name, each in _anchors(schema) if name == pointer), None)
    at = schema
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(at, list):
            at = dict(enumerate(at)).get(int(key)) if key.isdigit() else None
        else:
            at = at.get(key) if isinstance(at, dict) else None
    return at if isinstance(at, dict | bool) else None


def _anchors(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key in ("$anchor", "$dynamicAnchor"):
            if isinstance(value.get(key), str):
                yield value[key], value
        for member in value.values():
            yield from _anchors(member)
    elif isinstance(value, list):
        for member in value:
            yield from _anchors(member)
