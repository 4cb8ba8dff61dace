"""A workflow as runs use it: the resource, compiled once and kept by its digest.

The resource has been validated before; here its expressions become programs, its durations
milliseconds, and its filters functions.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.filters import EventFilter, compile_filters
from agentworkflow.events.json_format import from_json
from agentworkflow.workflow.durations import parse_duration_ms
from agentworkflow.workflow.expressions import Expression, Scope
from agentworkflow.workflow.models import AgentWorkflow, Function, Step, Trigger
from agentworkflow.workflow.plan import Plan, RetryPolicy, StepSpec, WaitSpec
from agentworkflow.workflow.templates import Template, compile_single, compile_template

# Names were checked against the right scope at validation, so here every step may be named.
_CHECKED: Final = Scope(every_step=True)
_EVENT_ONLY: Final = Scope(roots=frozenset({"event"}))


@dataclass(frozen=True, slots=True)
class TriggerSpec:
    """What starts a run.

    Attributes:
        name: unique in the workflow.
        filter: which events.
        input: template of the run's input, over `event`.
        session: template of the session id, over `event`, or None.
        function: the one function it starts instead of a run, or None.
    """

    name: str
    filter: EventFilter
    input: Template
    session: Template | None
    function: str | None

    def input_of(self, event: CloudEvent) -> Any:
        """The run's input.

        Raises:
            EvaluationError: the expression failed on this event.
        """
        return self.input.evaluate({"event": event_binding(event)})

    def session_of(self, event: CloudEvent) -> str | None:
        """The session id, or None if the trigger has no session or the expression gave null.

        Raises:
            EvaluationError: the expression failed on this event.
        """
        if self.session is None:
            return None
        value = self.session.evaluate({"event": event_binding(event)})
        return value if value is None or isinstance(value, str) else _canonical(value)


@dataclass(frozen=True)
class Definition:
    """A workflow, compiled.

    Attributes:
        digest: of the resource's specification; names this definition in the store.
        namespace: of the resource.
        name: of the resource.
        resource: the resource as JSON.
        plan: its static steps.
        output: template of the run's result, or None.
        triggers: by name.
        input_schema: JSON Schema of the run's input, or None.
        deadline_ms: of the whole run, or None.
        budget_steps: attempts that a run may start, or None.
        results_ttl_ms: how long a finished run is kept.
        session_ttl_ms: how long an unused session is kept.
        session_update: template of the session's new value, or None.
    """

    digest: str
    namespace: str
    name: str
    resource: Mapping[str, Any]
    plan: Plan
    output: Template | None
    triggers: Mapping[str, TriggerSpec]
    input_schema: Mapping[str, Any] | None
    deadline_ms: int | None
    budget_steps: int | None
    results_ttl_ms: int
    session_ttl_ms: int
    session_update: Template | None
    _functions: Mapping[str, Function] = field(repr=False)

    @cached_property
    def resource_json(self) -> str:
        """The resource as one line of JSON, as it is stored."""
        return _canonical(self.resource)

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that its steps wait for."""
        waits = (spec.wait for spec in self.plan.steps.values())
        return frozenset(wait.signal for wait in waits if wait and wait.signal)

    def compile_steps(self, added: Sequence[Mapping[str, Any]]) -> list[StepSpec]:
        """Compile steps that a run adds to its own plan, written as in the resource."""
        return [_step(Step.model_validate(raw), self._functions) for raw in added]


def event_binding(event: CloudEvent) -> dict[str, Any]:
    """What `event` is in an expression: every context attribute by name, and `data`."""
    return {**event.attributes(), "data": event.data}


def event_binding_of_json(event: Mapping[str, Any]) -> dict[str, Any]:
    """The same, of an event in structured JSON."""
    return event_binding(from_json(event))


def definition_digest(resource: Mapping[str, Any]) -> str:
    """The digest that names a resource's definition: of its identity and its specification."""
    metadata = resource["metadata"]
    identity = [metadata.get("namespace", "default"), metadata["name"], resource["spec"]]
    return "sha256:" + hashlib.sha256(_canonical(identity).encode()).hexdigest()


def compile_resource(resource: Mapping[str, Any]) -> Definition:
    """Compile a stored resource."""
    return compile_definition(AgentWorkflow.model_validate(resource))


def compile_definition(workflow: AgentWorkflow) -> Definition:
    """Compile a validated workflow."""
    spec = workflow.spec
    functions = {function.name: function for function in spec.functions}
    resource = workflow.model_dump(mode="json", by_alias=True, exclude_unset=True)
    session = spec.session
    # A null that is written is a value: no output, or a session that is forgotten.
    has_output = "output" in spec.model_fields_set
    return Definition(
        digest=definition_digest(resource),
        namespace=workflow.metadata.namespace,
        name=workflow.metadata.name,
        resource=resource,
        plan=Plan().grown(_step(step, functions) for step in spec.steps or ()),
        output=compile_template(spec.output, _CHECKED) if has_output else None,
        triggers={trigger.name: _trigger(trigger) for trigger in spec.triggers},
        input_schema=spec.input_schema,
        deadline_ms=None if spec.deadline is None else parse_duration_ms(spec.deadline),
        budget_steps=spec.budget.steps if spec.budget else None,
        results_ttl_ms=parse_duration_ms(spec.results.ttl),
        session_ttl_ms=parse_duration_ms(session.ttl) if session else parse_duration_ms("720h"),
        session_update=compile_template(session.update, _CHECKED)
        if session is not None and "update" in session.model_fields_set
        else None,
        _functions=functions,
    )


def _step(step: Step, functions: Mapping[str, Function]) -> StepSpec:
    function = functions.get(step.function or "")
    policy = RetryPolicy()
    if function is not None:
        policy = RetryPolicy(
            limit=function.retry.limit,
            backoff=function.retry.backoff,
            delay_ms=parse_duration_ms(function.retry.delay),
            on=_with_memory(function.retry.on),
        )
    return StepSpec(
        name=step.name,
        function=step.function,
        needs=tuple(dict.fromkeys(step.needs)),
        when=_single(step.when),
        input=None if step.input is None else compile_template(step.input, _CHECKED),
        for_each=_single(step.for_each),
        parallelism=step.parallelism,
        wait=_wait(step),
        continue_on_failure=step.on_failure == "Continue",
        timeout_ms=parse_duration_ms(function.timeout) if function else 60_000,
        start_timeout_ms=parse_duration_ms(function.start_timeout) if function else 300_000,
        retry=policy,
    )


def _with_memory(on: Sequence[str]) -> frozenset[str]:
    # A child that outgrew its memory crashed, so `Crash` names that too.
    return frozenset(on) | ({"OutOfMemory"} if "Crash" in on else frozenset())


def _single(value: str | None) -> Expression | None:
    return None if value is None else compile_single(value, _CHECKED)


def _wait(step: Step) -> WaitSpec | None:
    wait = step.wait_for
    if wait is None:
        return None
    timeout = wait.duration or wait.timeout
    return WaitSpec(
        signal=wait.signal,
        timeout_ms=None if timeout is None else parse_duration_ms(timeout),
        has_default="default" in wait.model_fields_set,
        default=wait.default,
    )


def _trigger(trigger: Trigger) -> TriggerSpec:
    mapped = trigger.function is None and trigger.input is not None
    value = trigger.input if mapped else "${event.data}"
    session = trigger.session
    return TriggerSpec(
        name=trigger.name,
        filter=compile_filters([dict(f) for f in trigger.filters]),
        input=compile_template(value, _EVENT_ONLY),
        session=None if session is None else compile_template(session, _EVENT_ONLY),
        function=trigger.function,
    )


def _canonical(value: Any) -> str:
    # In ASCII, because a string may hold half of a surrogate pair, which UTF-8 cannot.
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
