"""What the API's JSON looks like, for its OpenAPI description.

Answers are written by `representations.py` and the run service; a test holds them against these
models.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import models_json_schema

from agentworkflow.dispatcher.ports import RunState

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Shape(BaseModel):
    """Members are written in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class FieldError(Shape):
    """One thing that is wrong, and where."""

    path: str = Field(description="JSON Pointer into the input, or a parameter's name.")
    message: str


class Problem(Shape):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    reason: str | None = Field(None, description="One word for programs.")
    errors: list[FieldError] = Field(default_factory=list)


class TicketLinks(Shape):
    """Where to look."""

    self: str
    events: str
    result: str


class Ticket(Shape):
    """A run that is durable: it will reach exactly one terminal state."""

    run: str
    namespace: str
    workflow: str
    created: bool = Field(description="False if the same Idempotency-Key had started it before.")
    links: TicketLinks


class StepItems(Shape):
    """How many items of a forEach step are where."""

    total: int
    succeeded: int
    failed: int
    running: int


class StepView(Shape):
    """One step of a run."""

    name: str
    state: Literal["Pending", "Requested", "Waiting", "Succeeded", "Failed", "Skipped", "Cancelled"]
    reason: str | None = None
    attempts: int = 0
    start_type: Literal["pool", "warm", "cold"] | None = None
    duration_ms: int | None = None
    output: Any = None
    output_bytes: int | None = Field(
        None, description="Size of an output that is too large to be shown here."
    )
    problem: dict[str, Any] | None = None
    items: StepItems | None = None


class StartEvent(Shape):
    """The event that started a run."""

    source: str
    id: str
    type: str


class StartedByView(Shape):
    """What started a run."""

    kind: Literal["api", "route", "event"]
    trigger: str | None = None
    event: StartEvent | None = None


class RunSummary(Shape):
    """A run in a list."""

    run: str
    namespace: str
    workflow: str
    session: str | None = None
    state: RunState
    reason: str | None = None
    problem: dict[str, Any] | None = None
    created_at: Timestamp
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    duration_ms: int | None = None
    started_by: StartedByView


class RunView(RunSummary):
    """A run with its steps and, once it has succeeded, its output."""

    output: Any = None
    output_bytes: int | None = Field(
        None, description="Size of an output that is too large to be shown here."
    )
    steps: list[StepView]


class RunPage(Shape):
    """A page of runs, newest first."""

    items: list[RunSummary]
    cursor: str | None = Field(None, description="Give it as `cursor` for the next page.")


class NamedFunction(Shape):
    """A function of a workflow."""

    name: str
    description: str | None = None


class TriggerView(Shape):
    """What events start a run, or one function alone."""

    name: str
    function: str | None = None
    filters: list[dict[str, Any]]


class RouteView(Shape):
    """An HTTP address in front of the workflow."""

    host: str | None = None
    method: str
    path: str


class WorkflowView(Shape):
    """A published workflow."""

    namespace: str
    name: str
    description: str | None = None
    generation: int
    digest: str
    published_at: Timestamp
    input_schema: dict[str, Any] | None = None
    functions: list[NamedFunction]
    steps: list[str]
    signals: list[str]
    triggers: list[TriggerView]
    routes: list[RouteView]
    broker: str = Field(description="Name of the Broker that carries its events.")


class WorkflowPage(Shape):
    """A page of workflows."""

    items: list[WorkflowView]
    cursor: str | None = None


class DeadLetterView(Shape):
    """An event that could not be delivered, and why."""

    id: str
    namespace: str
    workflow: str | None = None
    kind: Literal["trigger", "publication", "webhook"]
    target: str
    reason: str
    detail: str
    code: int | None = None
    run: str | None = None
    created_at: Timestamp
    event: dict[str, Any]


class DeadLetterPage(Shape):
    """A page of dead letters, newest first."""

    items: list[DeadLetterView]
    cursor: str | None = None


class Redriven(Shape):
    """What came of sending a dead letter again. The letter is gone."""

    run: str | None = Field(None, description="The run that the event started, if it starts one.")
    publication: str | None = Field(None, description="The publication that it became, if any.")


class AcceptedEvent(Shape):
    """An event that is stored as a publication."""

    index: int
    source: str
    id: str
    publication: str


class RefusedEvent(Problem):
    """An event that is not stored, and why."""

    model_config = ConfigDict(extra="allow")

    index: int


class EventVerdicts(Shape):
    """What became of each event of a message."""

    accepted: int
    events: list[AcceptedEvent]
    refused: list[RefusedEvent]


class LogEntry(Shape):
    """One entry of a run's log."""

    model_config = ConfigDict(extra="allow")

    type: str
    time: Timestamp
    step: str | None = None
    item: int | None = None
    attempt: int | None = None


_DESCRIBED: Final[tuple[type[BaseModel], ...]] = (
    Problem,
    Ticket,
    RunView,
    RunPage,
    WorkflowView,
    WorkflowPage,
    DeadLetterView,
    DeadLetterPage,
    Redriven,
    EventVerdicts,
    LogEntry,
)


def build_schemas(ref_template: str) -> dict[str, Any]:
    """The JSON Schemas of all models, by name."""
    _, found = models_json_schema(
        [(model, "serialization") for model in _DESCRIBED], ref_template=ref_template
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas
