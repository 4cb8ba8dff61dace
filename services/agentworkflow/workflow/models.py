"""The AgentWorkflow resource: `agentworkflow.dev/v1alpha1`.

These models are the one source of the resource's shape. The CRD, the JSON Schema for editors and
the reference page are generated from them (`crd.py`). What crosses fields is in `rules*.py`; the
whole verdict, in words and with positions, is `validation.py`.
"""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, model_validator

from agentworkflow.workflow import crd_rules as rules
from agentworkflow.workflow.fields import (
    NAME_MAX,
    NAMESPACE_PATTERN,
    WORKFLOW_NAME_PATTERN,
    Between,
    Cron,
    Description,
    DurationText,
    JsonObject,
    JsonOrNull,
    LaterFlag,
    LaterNumber,
    LaterObject,
    ObjectName,
    Shape,
    Timezone,
    by_key,
)
from agentworkflow.workflow.models_functions import Function, Retry, Runtime, Scale, Variable
from agentworkflow.workflow.models_starts import (
    Route,
    RouteList,
    Schedule,
    Source,
    SourceList,
    Trigger,
    TriggerList,
)
from agentworkflow.workflow.models_steps import Step, StepList, WaitFor

__all__ = [
    "API_VERSION",
    "KIND",
    "AgentWorkflow",
    "Broker",
    "Budget",
    "Function",
    "Metadata",
    "Results",
    "Retry",
    "Route",
    "Runtime",
    "Scale",
    "Schedule",
    "Session",
    "Source",
    "Spec",
    "Step",
    "Trigger",
    "Variable",
    "WaitFor",
    "WarmPool",
    "Window",
]

GROUP: Final = "agentworkflow.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "agentworkflow.dev/v1alpha1"
KIND: Final = "AgentWorkflow"

# Fields of ObjectMeta that the API server writes, or that mean nothing to us.
_SERVER_METADATA: Final = frozenset({
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
})  # fmt: skip


class Budget(Shape):
    """What a run may spend at most."""

    steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Attempts of steps; enforced before an attempt starts."
    )
    tokens: LaterNumber = Field(default=None, description="Tokens of models.")
    cost: LaterNumber = Field(default=None, description="Cost of models.")


class Session(Shape):
    """What runs of one session share."""

    nullable: ClassVar[frozenset[str]] = frozenset({"update"})

    ttl: Annotated[DurationText, Between("1s", "8760h")] = Field(
        default="720h", description="Time that the value is kept after the session's last run."
    )
    update: JsonOrNull = Field(
        default=None,
        description="The session's new value, with expressions, written when a run succeeds; "
        "unchanged without it.",
    )
    history: LaterObject = Field(default=None, description="Earlier turns of the session.")
    limits: LaterObject = Field(default=None, description="Limits of the session.")


class Results(Shape):
    """How long finished runs are kept."""

    ttl: Annotated[DurationText, Between("1s", "8760h")] = Field(
        default="168h", description="Time that a finished run and its result can be read."
    )


class Window(Shape):
    """A time with another pool size."""

    cron: Cron = Field(description="Start of the window, as five cron fields.")
    timezone: Timezone = Field(default="UTC", description="Time zone of cron.")
    duration: Annotated[DurationText, Between("1m", "168h")] = Field(
        description="Length of the window."
    )
    size: Annotated[int, Field(ge=0, le=100)] = Field(description="Pool size in the window.")


class WarmPool(Shape):
    """Instances that hold every function of the shared template, ready to fork."""

    size: Annotated[int, Field(ge=0, le=100)] = Field(
        default=1, description="Instances kept; 0 scales the pool from zero."
    )
    windows: Annotated[list[Window], Field(max_length=20)] = Field(
        default_factory=list, description="Times with another size; the largest open one holds."
    )
    predict: LaterObject = Field(default=None, description="Warm up before predicted arrivals.")
    lookahead: LaterFlag = Field(default=None, description="Warm step n+1 while step n runs.")


class Broker(Shape):
    """The Broker that triggers, sources and run events use."""

    name: ObjectName = Field(default="default", description="Name of the Broker.")
    create: bool = Field(
        default=False,
        description="Create the Broker where it is absent. It is never changed or deleted.",
    )


class Spec(Shape):
    """What the workflow does."""

    model_config = ConfigDict(
        json_schema_extra=rules.stated(
            rules.ONE_PLAN,
            rules.RUN_FIELDS_NEED_STEPS,
            rules.STEP_FUNCTIONS_EXIST,
            rules.TRIGGER_FUNCTIONS_EXIST,
        )
    )
    nullable: ClassVar[frozenset[str]] = frozenset({"output"})

    description: Description | None = Field(default=None, description="What the workflow is for.")
    runtime: Runtime | None = Field(default=None, description="Defaults for every function.")
    functions: Annotated[list[Function], Field(max_length=50), by_key("name")] = Field(
        default_factory=list, description="Functions that steps and triggers call."
    )
    triggers: TriggerList = Field(
        default_factory=list, description="Events that start a run, or one function alone."
    )
    sources: SourceList = Field(
        default_factory=list, description="What turns changes into events on the Broker."
    )
    routes: RouteList = Field(
        default_factory=list, description="HTTP addresses in front of the workflow."
    )
    input_schema: JsonObject | None = Field(
        default=None, description="JSON Schema that the run's input must satisfy."
    )
    deadline: Annotated[DurationText, Between("1s", "8760h")] | None = Field(
        default=None, description="Time that a whole run may take; no limit without it."
    )
    steps: StepList = Field(
        default_factory=list, description="Steps of a run; their order follows needs."
    )
    output: JsonOrNull = Field(
        default=None,
        description="The run's output, with expressions; without it the object of the outputs "
        "of the steps that nothing needs.",
    )
    planner: LaterObject = Field(default=None, description="A model that chooses the steps.")
    budget: Budget | None = Field(default=None, description="What a run may spend at most.")
    concurrency: LaterObject = Field(default=None, description="Runs at once.")
    session: Session | None = Field(default=None, description="What runs of one session share.")
    results: Results = Field(
        default_factory=Results, description="How long finished runs are kept."
    )
    warm_pool: WarmPool | None = Field(
        default=None, description="Instances kept ready to fork for every function."
    )
    broker: Broker = Field(
        default_factory=Broker, description="Broker of triggers, sources and run events."
    )


class Metadata(Shape):
    """Name and place of the resource."""

    name: Annotated[str, Field(max_length=NAME_MAX, pattern=WORKFLOW_NAME_PATTERN)] = Field(
        description="Name of the workflow."
    )
    namespace: Annotated[str, Field(max_length=63, pattern=NAMESPACE_PATTERN)] = Field(
        default="default", description="Namespace of the workflow."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Labels.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations.")

    @model_validator(mode="before")
    @classmethod
    def _without_what_the_server_writes(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if key not in _SERVER_METADATA}


class AgentWorkflow(Shape):
    """An agent workflow: functions, the events that start them, and the steps between them."""

    api_version: Literal["agentworkflow.dev/v1alpha1"] = Field(
        description="agentworkflow.dev/v1alpha1"
    )
    kind: Literal["AgentWorkflow"] = Field(description="AgentWorkflow")
    metadata: Metadata = Field(description="Name and place of the resource.")
    spec: Spec = Field(description="What the workflow does.")

    @model_validator(mode="before")
    @classmethod
    def _without_status(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if key != "status"}
