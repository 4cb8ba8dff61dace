"""Renders a workflow for one machine: hosts, function tables, subscriptions, schedules. Pure.

It stands where the operator's rendering stands on a cluster.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from agentworkflow.dispatcher.addresses import trigger_address
from agentworkflow.engine.broker_trigger import Subscription
from agentworkflow.engine.delivery import DeliveryPolicy
from agentworkflow.engine.schedule import ScheduleSource
from agentworkflow.events.filters import compile_filters
from agentworkflow.workflow.durations import parse_duration
from agentworkflow.workflow.memory import parse_quantity
from agentworkflow.workflow.models import AgentWorkflow, Function, Scale, Trigger

POST_SECONDS: Final = 600.0
"""One post lives at most ten minutes on Knative, and here."""

ACCEPT_SECONDS: Final = 60.0
"""For the event port, which accepts and does not work."""

_START_CONCURRENCY: Final = 32

_TEMPLATE_FIELDS: Final = ("image", "env", "env_from", "resources", "service_account_name")


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host that a workflow needs.

    Attributes:
        key: ``<namespace>/<workflow>/<function>``, or ``…/pool``.
        functions: the functions that it holds.
        table: its function table; None for one that a command serves.
        idle_exit: seconds.
    """

    key: str
    role: Literal["own", "pool"]
    functions: tuple[str, ...]
    table: Mapping[str, Any] | None
    idle_exit: float
    warm: bool


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of the engine are.

    Attributes:
        events: base URL of the event port.
        brokers: base URL of the ingress.
        secret: signs the addresses of Triggers.
    """

    events: str
    brokers: str
    secret: bytes = field(repr=False)


def owner_of(workflow: AgentWorkflow) -> str:
    """``<namespace>/<workflow>``."""
    return f"{workflow.metadata.namespace}/{workflow.metadata.name}"


def broker_of(workflow: AgentWorkflow) -> str:
    """``<namespace>/<broker>``."""
    return f"{workflow.metadata.namespace}/{workflow.spec.broker.name}"


def plan_hosts(workflow: AgentWorkflow, folder: Path, callback: str) -> tuple[HostPlan, ...]:
    """The hosts of a workflow: one per function, and one for all of them if it has a pool."""
    plans = [
        HostPlan(
            key=f"{owner_of(workflow)}/{function.name}",
            role="own",
            functions=(function.name,),
            table=None
            if function.handler is None
            else build_table(workflow, [function], "own", folder, callback),
            idle_exit=idle_seconds(function.scale),
            warm=function.scale.min > 0,
        )
        for function in workflow.spec.functions
    ]
    pooled = pooled_functions(workflow)
    if workflow.spec.warm_pool is not None and pooled:
        plans.append(
            HostPlan(
                key=f"{owner_of(workflow)}/pool",
                role="pool",
                functions=tuple(function.name for function in pooled),
                table=build_table(workflow, pooled, "pool", folder, callback),
                idle_exit=idle_seconds(Scale()),
                warm=workflow.spec.warm_pool.size > 0,
            )
        )
    return tuple(plans)


def pooled_functions(workflow: AgentWorkflow) -> tuple[Function, ...]:
    """The functions whose pod template equals the runtime's: those that a pool can hold."""
    return tuple(
        function
        for function in workflow.spec.functions
        if function.handler is not None
        and not any(getattr(function, name) for name in _TEMPLATE_FIELDS)
    )


def build_table(
    workflow: AgentWorkflow,
    functions: Sequence[Function],
    role: Literal["own", "pool"],
    folder: Path,
    callback: str,
) -> dict[str, Any]:
    """The function table of one host."""
    return {
        "namespace": workflow.metadata.namespace,
        "workflow": workflow.metadata.name,
        "role": role,
        "path": [str(folder), str(folder / "src")],
        "preload": list(workflow.spec.runtime.preload) if workflow.spec.runtime else [],
        "callback": callback,
        "functions": [_table_entry(workflow, function) for function in functions],
    }


def _table_entry(workflow: AgentWorkflow, function: Function) -> dict[str, Any]:
    return {
        "name": function.name,
        "handler": function.handler,
        "timeout": parse_duration(function.timeout),
        "concurrency": function.concurrency,
        "memory": None if function.memory is None else parse_quantity(function.memory),
        "inputSchema": function.input_schema,
        "outputSchema": function.output_schema,
        "triggers": [
            {"name": trigger.name, "input": trigger.input, "reply": trigger.reply}
            for trigger in workflow.spec.triggers
            if trigger.function == function.name
        ],
    }


def idle_seconds(scale: Scale) -> float:
    """How long a host without events stays: the quiet window, and the retention after it."""
    return parse_duration(scale.window) + parse_duration(scale.retention)


def addresses(plans: Sequence[HostPlan], urls: Mapping[str, str]) -> dict[str, list[str]]:
    """Per function, where it is called: the pool first, its own host last."""
    found: dict[str, list[str]] = {}
    for plan in sorted(plans, key=lambda each: each.role == "own"):
        for function in plan.functions:
            found.setdefault(function, []).append(f"{urls[plan.key]}/")
    return found


def build_subscriptions(
    workflow: AgentWorkflow, urls: Mapping[str, str], places: Places
) -> tuple[Subscription, ...]:
    """The Triggers of a workflow as the broker serves them; ``urls`` are those of the hosts."""
    functions = {function.name: function for function in workflow.spec.functions}
    return tuple(
        _subscription(workflow, trigger, functions, urls, places)
        for trigger in workflow.spec.triggers
    )


def _subscription(
    workflow: AgentWorkflow,
    trigger: Trigger,
    functions: Mapping[str, Function],
    urls: Mapping[str, str],
    places: Places,
) -> Subscription:
    name = workflow.metadata.name
    start = trigger_address(
        places.events, places.secret, workflow.metadata.namespace, name, trigger.name
    )
    url, concurrency, seconds = start, _START_CONCURRENCY, ACCEPT_SECONDS
    if trigger.function is not None:
        function = functions[trigger.function]
        url = urls[f"{owner_of(workflow)}/{function.name}"]
        # An image's own server knows nothing of our paths.
        url += "/" if function.handler is None else _trigger_path(function, trigger)
        concurrency = function.concurrency
        whole = parse_duration(function.timeout) + parse_duration(function.start_timeout)
        seconds = min(whole, POST_SECONDS)
    return Subscription(
        broker=broker_of(workflow),
        group=f"{name}/{trigger.name}",
        filter=compile_filters(trigger.filters),
        url=url,
        dead_letter_url=f"{start}/dead",
        policy=DeliveryPolicy(timeout=seconds),
        concurrency=concurrency,
    )


def _trigger_path(function: Function, trigger: Trigger) -> str:
    return f"/functions/{function.name}/triggers/{trigger.name}"


def build_schedules(workflow: AgentWorkflow) -> tuple[ScheduleSource, ...]:
    """The schedules among the sources of a workflow."""
    return tuple(
        ScheduleSource(
            namespace=workflow.metadata.namespace,
            name=f"{workflow.metadata.name}--{source.name}",
            broker=broker_of(workflow),
            cron=source.schedule.cron,
            timezone=source.schedule.timezone,
            data=source.schedule.data,
        )
        for source in workflow.spec.sources
        if source.schedule is not None
    )


def fingerprint(*parts: Any) -> str:
    """A digest of JSON values; it changes when any of them does."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
