"""Turns an event's data into a handler's arguments, and says the path of all that does not fit.

Imports Pydantic through the signature: zygote, children and test kit only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.problem import FieldError
from agentworkflow.functions.context import Context
from agentworkflow.functions.signature import Signature

__all__ = ["InputRefused", "Schema", "bind", "join_path"]

_MOST_ERRORS = 50


class InputRefused(ValueError):  # noqa: N818 - what happened, in the protocol's words
    """Data that a function does not take; `errors` says where and why."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        # An error of the whole has no path.
        said = (f"{each.path}: {each.message}" if each.path else each.message for each in errors)
        super().__init__("; ".join(said))
        self.errors = tuple(errors)


def bind(
    signature: Signature, data: Any, *, context: Context, event: CloudEvent | None, strict: bool
) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and named arguments of one call. Raises InputRefused.

    `event` may be None for a handler that takes none.
    `strict` refuses fields that no parameter takes; without it they are ignored.
    """
    given = {
        name: context if kind is Context else event for name, kind in signature.injected.items()
    }
    if signature.parameters or signature.rest is not None or not signature.takes_event:
        given |= _fields(signature, data, strict=strict)
    positional = [given.pop(name) for name in signature.positional if name in given]
    return positional, given


def _fields(  # noqa: C901, PLR0912 - one row per kind of field
    signature: Signature, data: Any, *, strict: bool
) -> dict[str, Any]:
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        if not signature.parameters and not strict:
            return {}
        raise InputRefused(
            [FieldError("", f"must be an object with the function's fields, not {_kind(data)}")]
        )
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for each in signature.parameters:
        if each.name in data:
            try:
                values[each.name] = each.adapter.validate_python(data[each.name])
            except ValidationError as error:
                errors += _errors(each.name, error)
        elif each.required:
            errors.append(FieldError(each.name, "is missing, and has no default"))
    names = {each.name for each in signature.parameters}
    for name, value in data.items():
        if name in names:
            continue
        if signature.rest is not None and name not in signature.injected:
            try:
                values[name] = signature.rest.validate_python(value)
            except ValidationError as error:
                errors += _errors(name, error)
        elif strict:
            errors.append(FieldError(name, _unknown(name, names)))
    if errors:
        raise InputRefused(errors[:_MOST_ERRORS])
    return values


def _errors(name: str, error: ValidationError) -> list[FieldError]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [FieldError(join_path((name, *each["loc"])), each["msg"]) for each in found]


def join_path(parts: Sequence[str | int]) -> str:
    """Write a path as people do: `order.items[2].price`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "a").replace("-", "a").isalnum():
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


def _unknown(name: str, names: set[str]) -> str:
    import difflib  # noqa: PLC0415 - only for the sentence of a refusal

    nearest = difflib.get_close_matches(name, names, n=1)
    if nearest:
        return f"is no field of this function; did you mean {nearest[0]!r}?"
    if names:
        return f"is no field of this function; it takes {', '.join(sorted(names))}"
    return "is no field of this function; it takes none"


def _kind(data: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", bytes: "bytes"}
    return names.get(type(data)) or ("a number" if isinstance(data, int | float) else "this")


class Schema:
    """A JSON Schema that the resource states itself, on top of the handler's annotations."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema import Draft202012Validator  # noqa: PLC0415 - 50 ms that few functions need

        self._validator = Draft202012Validator(schema)

    def check(self, data: Any) -> None:
        """Raise InputRefused with the path of each error."""
        errors = [
            FieldError(join_path(list(each.absolute_path)), each.message)
            for each in self._validator.iter_errors(data)
        ]
        if errors:
            raise InputRefused(errors[:_MOST_ERRORS])
