"""A handler's signature, read once: what it takes, as adapters that check and as JSON Schema.

Imports Pydantic, so only the zygote, children and the test kit may import it.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.functions.author import Isolation, options_of
from agentworkflow.functions.context import Context
from agentworkflow.functions.typed_dicts import teach_pydantic

__all__ = ["Parameter", "Signature", "SignatureError", "read_signature"]

_EMPTY = inspect.Parameter.empty
_INJECTED: tuple[type[Any], ...] = (Context, CloudEvent)
_DEFS = "#/$defs/{model}"

teach_pydantic()


class SignatureError(TypeError):
    """A signature whose parameters no JSON object can fill; says which and what to do."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One field of the input: the parameter's name and the adapter that makes its value."""

    name: str
    adapter: TypeAdapter[Any]
    required: bool
    positional_only: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler takes and gives.

    `injected` maps a parameter's name to Context or CloudEvent. `rest` is the adapter for the
    values of `**fields`, None without one. `isolation` is None where the author left it open.
    """

    parameters: tuple[Parameter, ...]
    injected: dict[str, type[Any]]
    positional: tuple[str, ...]
    rest: TypeAdapter[Any] | None
    is_async: bool
    isolation: Isolation | None
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None

    @property
    def takes_event(self) -> bool:
        """Whether the handler sees the event itself, whatever its data is."""
        return CloudEvent in self.injected.values()

    @property
    def in_worker(self) -> bool:
        """Whether its events share the function's worker instead of a child each."""
        if self.isolation is None:
            return self.is_async
        return self.isolation == "Thread"


def read_signature(handler: Callable[..., Any]) -> Signature:
    """Read a handler's signature. Raises SignatureError for what no JSON object can fill."""
    try:
        declared = inspect.signature(handler)
    except (TypeError, ValueError) as error:
        raise SignatureError(f"{handler!r} shows no signature: wrap it in a def") from error
    namespace = _globals(handler)
    parameters: list[Parameter] = []
    injected: dict[str, type[Any]] = {}
    positional: list[str] = []
    rest: TypeAdapter[Any] | None = None
    for each in declared.parameters.values():
        if each.kind is inspect.Parameter.VAR_POSITIONAL:
            continue  # fields have names, so nothing ever fills it
        annotation = _resolve(each.name, each.annotation, namespace)
        if each.kind is inspect.Parameter.VAR_KEYWORD:
            rest = _adapter(each.name, annotation)
            continue
        if each.kind is inspect.Parameter.POSITIONAL_ONLY:
            positional.append(each.name)
        kind = _injected_kind(annotation)
        if kind is not None:
            injected[each.name] = kind
            continue
        required = each.default is _EMPTY
        parameters.append(
            Parameter(
                each.name,
                _adapter(each.name, annotation),
                required,
                each.kind is inspect.Parameter.POSITIONAL_ONLY,
                None if required else each.default,
            )
        )
    options = options_of(handler)
    return Signature(
        parameters=tuple(parameters),
        injected=injected,
        positional=tuple(positional),
        rest=rest,
        is_async=_is_async(handler),
        isolation=options.isolation,
        description=options.description or _docstring(handler),
        input_schema=_input_schema(
            parameters, rest, open_ended=not parameters and CloudEvent in injected.values()
        ),
        output_schema=_output_schema(_return_annotation(declared, namespace)),
    )


def _function(handler: Callable[..., Any]) -> Any:
    """Return the plain function behind partials, wrappers and callable objects."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = inspect.unwrap(handler)
    if inspect.isroutine(handler):
        return getattr(handler, "__func__", handler)
    if inspect.isclass(handler):
        return handler.__init__  # read for its globals, never called
    return getattr(type(handler).__call__, "__func__", type(handler).__call__)


def _globals(handler: Callable[..., Any]) -> dict[str, Any]:
    found = getattr(_function(handler), "__globals__", {})
    return found if isinstance(found, dict) else {}


def _is_async(handler: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(_function(handler))


def _docstring(handler: Callable[..., Any]) -> str:
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not (inspect.isroutine(handler) or inspect.isclass(handler)):
        handler = type(handler)
    return inspect.getdoc(handler) or ""


def _resolve(name: str, annotation: Any, namespace: dict[str, Any]) -> Any:
    if annotation is _EMPTY:
        return Any
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(holder, globalns=namespace, include_extras=True)[name]
    except NameError as error:
        # An import under TYPE_CHECKING is how typed code keeps its imports light.
        last = str(annotation).strip("'\"").rsplit(".", 1)[-1]
        known = {"Context": Context, "Event": CloudEvent}.get(last)
        if known is not None:
            return known
        raise SignatureError(
            f"parameter {name!r}: its annotation {annotation!r} names {error.name!r}, which its "
            "module does not have at run time: import it outside of `if TYPE_CHECKING:`"
        ) from error


def _return_annotation(declared: inspect.Signature, namespace: dict[str, Any]) -> Any:
    if declared.return_annotation is _EMPTY:
        return _EMPTY
    try:
        return _resolve("return", declared.return_annotation, namespace)
    except (SignatureError, TypeError):
        return _EMPTY  # the result is written by its value; only the published schema is lost


def _injected_kind(annotation: Any) -> type[Any] | None:
    if get_origin(annotation) is Annotated:
        return _injected_kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [a for a in get_args(annotation) if a is not type(None)]
        return _injected_kind(kinds[0]) if len(kinds) == 1 else None
    return annotation if annotation in _INJECTED else None


def _adapter(name: str, annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        reason = str(error).splitlines()[0]
        raise SignatureError(
            f"parameter {name!r}: no JSON value can be turned into {_type_name(annotation)} "
            f"({reason}): annotate it with a built-in, enum, dataclass, TypedDict or Pydantic model"
        ) from error


def _type_name(annotation: Any) -> str:
    return getattr(annotation, "__qualname__", None) or str(annotation)


def _input_schema(
    parameters: Iterable[Parameter], rest: TypeAdapter[Any] | None, *, open_ended: bool
) -> dict[str, Any]:
    """Return the object schema with one property per parameter."""
    fields = list(parameters)
    inputs: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (f"p:{each.name}", "validation", each.adapter) for each in fields
    ]
    if rest is not None:
        inputs.append(("rest", "validation", rest))
    try:
        made, common = TypeAdapter.json_schemas(inputs, ref_template=_DEFS)
    except PydanticInvalidForJsonSchema as error:
        raise SignatureError(
            f"a parameter has a type that JSON Schema cannot describe: {error}"
        ) from error
    properties: dict[str, Any] = {}
    for each in fields:
        properties[each.name] = dict(made[f"p:{each.name}", "validation"])
        if not each.required:
            properties[each.name] |= _default(each)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    required = [each.name for each in fields if each.required]
    if required:
        schema["required"] = required
    if rest is not None:
        schema["additionalProperties"] = made["rest", "validation"] or True
    else:
        schema["additionalProperties"] = open_ended
    if common.get("$defs"):
        schema["$defs"] = common["$defs"]
    return schema


def _default(parameter: Parameter) -> dict[str, Any]:
    try:
        return {
            "default": parameter.adapter.dump_python(
                parameter.default, mode="json", warnings="none"
            )
        }
    except ValueError:
        return {}  # a default that JSON cannot show is still a default


def _output_schema(annotation: Any) -> dict[str, Any] | None:
    if annotation in (_EMPTY, Any, object):
        return None
    try:
        return TypeAdapter(annotation).json_schema(mode="serialization")
    except (PydanticUserError, PydanticSchemaGenerationError):
        return None  # such a result is still written by its value
