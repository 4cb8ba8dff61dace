"""What `run` is asked to start: decided from the file and the options, before anything starts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentworkflow.cli.checking import LoadedWorkflow
from agentworkflow.cli.errors import CommandError
from agentworkflow.cli.events import STRUCTURED, EventOptions, build_events
from agentworkflow.cli.inputs import parse_value
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import decode
from agentworkflow.events.problem import MalformedEvent
from agentworkflow.functions.binding import InputRefused, Schema
from agentworkflow.workflow.definition import Definition, TriggerSpec, compile_definition
from agentworkflow.workflow.expressions import EvaluationError


@dataclass(frozen=True, slots=True)
class RequestStart:
    """A run that is started through the API."""

    workflow: LoadedWorkflow
    input: Any
    session: str | None


@dataclass(frozen=True, slots=True)
class EventStart:
    """A run that an event starts, through the broker and a trigger."""

    workflow: LoadedWorkflow
    event: CloudEvent
    body: bytes
    broker: str


def choose_start(
    workflows: Sequence[LoadedWorkflow],
    *,
    name: str | None,
    event: str | None,
    given: str | None,
    session: str | None,
) -> RequestStart | EventStart:
    """What to start.

    Args:
        workflows: of the file.
        name: `--workflow`.
        event: `--event`.
        given: `--input`.
        session: `--session`.

    Raises:
        CommandError: the options do not fit each other, the file, or the input's schema.
    """
    if event is not None and given is not None:
        raise CommandError("give --event or --input, not both: a trigger makes the input.")
    if event is not None and session is not None:
        raise CommandError("--session goes with --input: an event's session is its trigger's.")
    candidates = [each for each in workflows if name in (None, each.resource.metadata.name)]
    if not candidates:
        known = ", ".join(each.resource.metadata.name for each in workflows)
        raise CommandError(f"no workflow is named {name}; the file holds {known}.")
    if event is not None:
        return _start_by_event(candidates, event)
    runnable = [each for each in candidates if each.resource.spec.steps]
    if len(runnable) != 1:
        raise CommandError(_which(runnable, candidates))
    value = {} if given is None else parse_value(given, "--input")
    _check_input(compile_definition(runnable[0].resource), value, "--input")
    return RequestStart(runnable[0], value, session)


def _which(runnable: Sequence[LoadedWorkflow], all_: Sequence[LoadedWorkflow]) -> str:
    if not runnable:
        name = all_[0].resource.metadata.name
        return (
            f"{name} has no steps: its triggers call functions without a run. "
            "Start `agentworkflow dev`, then `agentworkflow send` an event."
        )
    names = ", ".join(each.resource.metadata.name for each in runnable)
    return f"the file holds several workflows: choose one of {names} with --workflow."


def _start_by_event(candidates: Sequence[LoadedWorkflow], file: str) -> EventStart:
    events = build_events(file, EventOptions())
    if events.count != 1 or events.content_type != STRUCTURED:
        raise CommandError("--event takes one event; `agentworkflow send` takes a batch.")
    try:
        event = decode([("content-type", STRUCTURED)], events.body)
    except MalformedEvent as error:
        raise CommandError(_malformed(file, error)) from error
    matching = [
        (workflow, definition, trigger)
        for workflow in candidates
        for definition in [compile_definition(workflow.resource)]
        for trigger in definition.triggers.values()
        if trigger.function is None and trigger.filter.matches(event)
    ]
    if not matching:
        raise CommandError(_no_match(candidates, event))
    names = list(dict.fromkeys(each.resource.metadata.name for each, _, _ in matching))
    if len(names) > 1:
        raise CommandError(f"the event starts {' and '.join(names)}: choose one with --workflow.")
    workflow, definition, trigger = matching[0]
    _check_event(definition, trigger, event)
    return EventStart(workflow, event, events.body, workflow.resource.spec.broker.name)


def _check_event(definition: Definition, trigger: TriggerSpec, event: CloudEvent) -> None:
    # The broker would refuse it too, but as a dead letter of an engine that ends with this run.
    try:
        value = trigger.input_of(event)
        trigger.session_of(event)
    except EvaluationError as error:
        raise CommandError(
            f"trigger {trigger.name} cannot make an input of the event: "
            f"${{{error.source}}}: {error.message}"
        ) from error
    _check_input(definition, value, f"the input that trigger {trigger.name} makes of the event")


def _check_input(definition: Definition, value: Any, what: str) -> None:
    if definition.input_schema is None:
        return
    try:
        Schema(definition.input_schema).check(value)
    except InputRefused as error:
        lines = "\n".join(f"  {each.path or 'the input'}: {each.message}" for each in error.errors)
        raise CommandError(
            f"{what} does not fit inputSchema of {definition.name}:\n{lines}"
        ) from error


def _malformed(file: str, error: MalformedEvent) -> str:
    problem = error.problem
    source = "standard input" if file == "-" else file
    lines = "".join(f"\n  {each.path}: {each.message}" for each in problem.errors)
    return f"{source} is no CloudEvent:{lines or f' {problem.detail or problem.title}'}"


def _no_match(candidates: Sequence[LoadedWorkflow], event: CloudEvent) -> str:
    lines = [f"no trigger starts a run for the event {event.type} from {event.source}:"]
    for workflow in candidates:
        for trigger in workflow.resource.spec.triggers:
            filters = json.dumps(list(trigger.filters), default=dict, ensure_ascii=False)
            what = f" (calls {trigger.function} without a run)" if trigger.function else ""
            name = workflow.resource.metadata.name
            lines.append(f"  {name}, trigger {trigger.name}{what}: filters {filters}")
    if len(lines) == 1:
        lines.append("  there are no triggers; use --input, or add one to the file")
    return "\n".join(lines)
