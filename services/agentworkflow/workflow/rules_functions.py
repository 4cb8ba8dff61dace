"""Rules of functions: times that fit together, memory below the container's, a way to run."""

from collections.abc import Callable, Iterator
from typing import Final

from agentworkflow.workflow import crd_rules as words
from agentworkflow.workflow.crd_rules import CelRule
from agentworkflow.workflow.durations import parse_duration_ms
from agentworkflow.workflow.findings import Fault
from agentworkflow.workflow.memory import parse_quantity
from agentworkflow.workflow.models_functions import BARE_ON
from agentworkflow.workflow.rules_schemas import check_schema
from agentworkflow.workflow.rules_steps import unique_members, unique_names
from agentworkflow.workflow.view import View

_MOST_MS: Final = parse_duration_ms("1h")
# Knative's own, which it refuses in a Service: knative.dev/serving, pkg/apis/serving.
_RESERVED_VARIABLES: Final = ("PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION")


def check_functions(spec: View) -> Iterator[Fault]:
    """Every breach of a rule about functions and what they run in."""
    yield from unique_names(spec, "functions")
    runtime = spec.at("runtime")
    yield from _check_container(runtime)
    yield from unique_members(runtime, "preload")
    for function in spec.objects("functions"):
        yield from _check_container(function)
        yield from _check_time(function)
        yield from _check_scale(function.at("scale"))
        yield from unique_members(function.at("retry"), "on")
        yield from unique_members(function.at("retry"), BARE_ON)
        yield from _check_memory(function, runtime)
        yield from _check_way_to_run(function, runtime)
        for schema in ("inputSchema", "outputSchema"):
            yield from check_schema(function.at(schema))


def _check_container(owner: View) -> Iterator[Fault]:
    yield from unique_names(owner, "env")
    for variable in owner.objects("env"):
        name = variable.text("name")
        if name in _RESERVED_VARIABLES:
            yield variable.at("name").fault(f"{name} is set by Knative", "choose another name")
        if variable.has("value") and variable.has("valueFrom"):
            yield variable.breach(words.VARIABLE_KIND)
        origin = variable.at("valueFrom")
        yield from _exactly_one(origin, "secretKeyRef", "configMapKeyRef", words.VALUE_FROM_KIND)
    for entry in owner.objects("envFrom"):
        yield from _exactly_one(entry, "secretRef", "configMapRef", words.ENV_FROM_KIND)


def _exactly_one(owner: View, first: str, second: str, rule: CelRule) -> Iterator[Fault]:
    if isinstance(owner.value, dict) and owner.has(first) == owner.has(second):
        yield owner.breach(rule)


def _check_time(function: View) -> Iterator[Fault]:
    timeout = _read(parse_duration_ms, function.at("timeout").value, "60s")
    start = _read(parse_duration_ms, function.at("startTimeout").value, "5m")
    if timeout is not None and start is not None and timeout + start > _MOST_MS:
        yield function.breach(words.FUNCTION_TIME)


def _check_scale(scale: View) -> Iterator[Fault]:
    least, most = scale.at("min").value, scale.at("max").value
    least = 0 if least is None else least
    most = 20 if most is None else most
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield scale.breach(words.SCALE_ORDER)


def _check_memory(function: View, runtime: View) -> Iterator[Fault]:
    memory = function.at("memory")
    own = function.at("resources")
    limits = (own if own.value is not None else runtime.at("resources")).at("limits")
    child = _read(parse_quantity, memory.value, "0")
    container = _read(parse_quantity, limits.at("memory").value, "1P")
    if child is not None and container is not None and child >= container:
        limit = limits.at("memory").value
        yield memory.fault(
            f"memory of one child process must be below the container's limit, {limit}",
            "lower memory, or raise resources.limits.memory",
        )


def _check_way_to_run(function: View, runtime: View) -> Iterator[Fault]:
    ways = (function.at("handler"), function.at("image"), runtime.at("image"), function.at("http"))
    if all(way.value is None for way in ways):
        yield function.fault(
            "nothing says how the function runs",
            "add handler: module:attribute, or an image that answers CloudEvents",
        )


def _read(parse: Callable[[str], int], value: object, default: str) -> int | None:
    """The value of a text in one of our forms; None where the models refuse it anyway."""
    try:
        return parse(default if value is None else str(value))
    except ValueError:
        return None
