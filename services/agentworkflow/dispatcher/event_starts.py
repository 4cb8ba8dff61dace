"""Starts runs from events: what a Trigger delivers to the event port, or a redrive sends again."""

from dataclasses import dataclass
from typing import Final, Literal

from agentworkflow.dispatcher.bodies import check_session
from agentworkflow.dispatcher.limits import Admission
from agentworkflow.dispatcher.ports import (
    MAX_DEPTH,
    InvalidInput,
    LoopDetected,
    Published,
    RunExpired,
    StartCommand,
    StartedBy,
    UnknownTrigger,
)
from agentworkflow.dispatcher.problems import Refused
from agentworkflow.dispatcher.services import Services
from agentworkflow.events import CloudEvent, FieldError
from agentworkflow.events.types import AWF_DEPTH, AWF_TOKEN, OWN_PREFIX, TRACEPARENT
from agentworkflow.workflow.definition import TriggerSpec
from agentworkflow.workflow.templates import EvaluationError

_MISDIRECTED: Final = "Misdirected"


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """What became of an event.

    Attributes:
        kind: `started`, `duplicate` of one that did, or `ignored` because it may start nothing.
        run: the run's id, if there is one.
    """

    kind: Literal["started", "duplicate", "ignored"]
    run: str | None = None


class EventStarts:
    """Starts runs from events.

    Args:
        services: the run service, the catalog, the schemas.
        admission: bounds the starts that are committed at one time.
    """

    def __init__(self, services: Services, admission: Admission) -> None:
        self._services = services
        self._admission = admission

    async def deliver(
        self, namespace: str, workflow: str, trigger: str, event: CloudEvent
    ) -> EventOutcome:
        """Start the run that an event asks for, once however often it is delivered.

        Raises:
            UnknownWorkflow, UnknownTrigger: not published yet, or not any more.
            InvalidInput: an expression of the trigger fails, or the schema refuses the input.
            LoopDetected: too many events caused each other.
            Unavailable, Overloaded: come back.
        """
        published = self._services.catalog.get(namespace, workflow)
        spec = find_trigger(published, trigger)
        if spec.function is not None:
            raise Refused(
                422,
                "The trigger starts no run",
                f"Trigger {trigger} of {namespace}/{workflow} calls the function {spec.function}: "
                "its events go there.",
                reason=_MISDIRECTED,
            )
        if is_foreign_to(spec, event):
            return EventOutcome("ignored")
        command = self._command(published, spec, event)
        with self._admission.enter():
            try:
                ticket = await self._services.runs.start(command)
            except RunExpired:
                # It started a run once, which is all that was asked.
                return self._counted(EventOutcome("duplicate"))
        return self._counted(EventOutcome("started" if ticket.created else "duplicate", ticket.run))

    def _command(self, published: Published, spec: TriggerSpec, event: CloudEvent) -> StartCommand:
        depth = depth_of(event)
        if depth > MAX_DEPTH:
            raise LoopDetected(
                f"{depth} events caused each other before this one, {MAX_DEPTH} are allowed: "
                f"trigger {spec.name} of {published.namespace}/{published.name} is in a loop."
            )
        # A token in an event would end up where the run is shown.
        kept = event.without_extensions(AWF_TOKEN)
        try:
            value = spec.input_of(kept)
            session = spec.session_of(kept)
        except EvaluationError as error:
            raise InvalidInput(
                f"An expression of trigger {spec.name} of {published.namespace}/{published.name} "
                f"fails on this event: {error}."
            ) from error
        try:
            check_session(session)
        except Refused as error:
            raise InvalidInput(f"Trigger {spec.name} gives no usable session: {error}") from error
        self._services.schemas.check(published, value)
        trace = kept.get(TRACEPARENT)
        return StartCommand(
            namespace=published.namespace,
            workflow=published.name,
            input=value,
            started_by=StartedBy(
                kind="event",
                trigger=spec.name,
                event=kept,
                depth=depth,
                trace=None if trace is None else str(trace),
            ),
            session=session,
        )

    def _counted(self, outcome: EventOutcome) -> EventOutcome:
        kind = "start" if outcome.kind == "started" else "duplicate"
        self._services.metrics.accepts.labels(kind).inc()
        return outcome


def find_trigger(published: Published, trigger: str) -> TriggerSpec:
    """A trigger by name. Raises: UnknownTrigger."""
    spec = published.definition.triggers.get(trigger)
    if spec is None:
        raise UnknownTrigger(
            f"{published.namespace}/{published.name} has no trigger {trigger} "
            f"in generation {published.generation}."
        )
    return spec


def is_foreign_to(spec: TriggerSpec, event: CloudEvent) -> bool:
    """Whether the event is one of ours that the trigger does not name exactly.

    A trigger without filters would otherwise be started by the end of its own runs.
    """
    return event.type.startswith(OWN_PREFIX) and event.type not in spec.filter.exact_types


def depth_of(event: CloudEvent) -> int:
    """How many events caused each other before this one.

    Raises:
        Refused: 400, the attribute is no number.
    """
    value = event.get(AWF_DEPTH)
    if value is None:
        return 0
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) < 9):  # noqa: PLR2004 - an int32
        message = "is not the number of events that caused each other"
        raise Refused(
            400,
            "Malformed CloudEvent",
            f"{AWF_DEPTH}: {message}",
            reason="MalformedEvent",
            errors=(FieldError(AWF_DEPTH, message),),
        )
    return int(text)
