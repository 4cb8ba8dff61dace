"""Functions and what they run in: image, environment, resources, scale, retries."""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, model_validator

from agentworkflow.workflow import crd_rules as rules
from agentworkflow.workflow.fields import (
    HANDLER_PATTERN,
    KEY_PATTERN,
    MODULE_PATTERN,
    SET,
    VARIABLE_PATTERN,
    Between,
    Description,
    DurationText,
    Image,
    JsonObject,
    LaterObject,
    Memory,
    Name,
    ObjectName,
    Quantity,
    Shape,
    by_key,
)

RetryReason = Literal["Retry", "DeadlineExceeded", "Crash", "Failure"]

# kubectl reads YAML 1.1, where a bare `on` is a boolean, and makes this key of it.
BARE_ON: Final = "true"


def _usual_reasons() -> list[RetryReason]:
    return ["Retry", "DeadlineExceeded", "Crash"]


class KeyReference(Shape):
    """One key of a Secret or ConfigMap."""

    name: ObjectName = Field(description="Name of the Secret or ConfigMap.")
    key: Annotated[str, Field(max_length=253, pattern=KEY_PATTERN)] = Field(
        description="Key in it."
    )
    optional: bool = Field(
        default=False, description="Start without the variable where the key is missing."
    )


class ObjectReference(Shape):
    """A Secret or ConfigMap."""

    name: ObjectName = Field(description="Name of the Secret or ConfigMap.")
    optional: bool = Field(default=False, description="Start without it where it is missing.")


class VariableSource(Shape):
    """Where a variable's value comes from."""

    model_config = ConfigDict(json_schema_extra=rules.stated(rules.VALUE_FROM_KIND))

    secret_key_ref: KeyReference | None = Field(default=None, description="Key of a Secret.")
    config_map_key_ref: KeyReference | None = Field(default=None, description="Key of a ConfigMap.")


class Variable(Shape):
    """One environment variable."""

    model_config = ConfigDict(json_schema_extra=rules.stated(rules.VARIABLE_KIND))

    name: Annotated[str, Field(max_length=128, pattern=VARIABLE_PATTERN)] = Field(
        description="Name of the variable."
    )
    value: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="Its value, as text; empty without one."
    )
    value_from: VariableSource | None = Field(
        default=None, description="Take the value from a Secret or ConfigMap."
    )


class VariablesFrom(Shape):
    """All keys of a Secret or ConfigMap as variables."""

    model_config = ConfigDict(json_schema_extra=rules.stated(rules.ENV_FROM_KIND))

    prefix: Annotated[str, Field(max_length=64, pattern=VARIABLE_PATTERN)] | None = Field(
        default=None, description="Put before each key."
    )
    secret_ref: ObjectReference | None = Field(default=None, description="All keys of a Secret.")
    config_map_ref: ObjectReference | None = Field(
        default=None, description="All keys of a ConfigMap."
    )


Amounts = Annotated[dict[str, Quantity], Field(max_length=10)]


class Resources(Shape):
    """What a container asks for and may use, as in a pod."""

    requests: Amounts | None = Field(
        default=None, description="What the scheduler reserves, such as cpu: 50m, memory: 256Mi."
    )
    limits: Amounts | None = Field(default=None, description="What the container may use at most.")


class Container(Shape):
    """What a function's container is made of."""

    image: Image | None = Field(
        default=None, description="Container image; write a digest to pin it."
    )
    env: Annotated[list[Variable], Field(max_length=100), by_key("name")] = Field(
        default_factory=list, description="Environment variables."
    )
    env_from: Annotated[list[VariablesFrom], Field(max_length=20)] = Field(
        default_factory=list, description="Secrets and ConfigMaps taken as variables."
    )
    resources: Resources | None = Field(
        default=None, description="Requests and limits of the container."
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="ServiceAccount of the pod. Its token is not mounted."
    )


class Runtime(Container):
    """Defaults for every function."""

    preload: Annotated[
        list[Annotated[str, Field(max_length=256, pattern=MODULE_PATTERN)]],
        Field(max_length=50),
        SET,
    ] = Field(
        default_factory=list,
        description="Python modules imported once, before requests and before forking.",
    )


class Scale(Shape):
    """How many instances a function has."""

    model_config = ConfigDict(json_schema_extra=rules.stated(rules.SCALE_ORDER))

    min: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="Instances kept while idle; 0 costs nothing."
    )
    max: Annotated[int, Field(ge=1, le=1000)] = Field(default=20, description="Instances at most.")
    window: Annotated[DurationText, Between("6s", "1h")] = Field(
        default="60s", description="Time over which load is averaged before scaling down."
    )
    retention: Annotated[DurationText, Between("0s", "1h")] = Field(
        default="5m", description="Time that the last instance is kept after it became idle."
    )


class Retry(Shape):
    """When a failed attempt is followed by another."""

    limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3, description="Attempts after the first."
    )
    backoff: Literal["Exponential", "Linear"] = Field(
        default="Exponential",
        description="Exponential: delay·2ⁿ with full jitter, at most 5m. Linear: delay·n.",
    )
    delay: Annotated[DurationText, Between("0s", "5m")] = Field(
        default="500ms", description="Delay that backoff starts from."
    )
    on: Annotated[list[RetryReason], Field(max_length=4), SET] = Field(
        default_factory=_usual_reasons,
        description="What is tried again: Retry (the handler asked for it), DeadlineExceeded, "
        "Crash (with OutOfMemory), Failure (any other exception).",
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_on(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get(BARE_ON) is None:
            return data
        rest = {key: value for key, value in data.items() if key != BARE_ON}
        return {**rest, "on": data[BARE_ON]}


class Function(Container):
    """One function: a Python handler, or an image that answers CloudEvents."""

    model_config = ConfigDict(json_schema_extra=rules.stated(rules.FUNCTION_TIME))

    name: Name = Field(description="Name that steps and triggers use.")
    description: Description | None = Field(
        default=None,
        description="What it does, shown to planners and tool clients; "
        "the handler's docstring without it.",
    )
    handler: Annotated[str, Field(max_length=256, pattern=HANDLER_PATTERN)] | None = Field(
        default=None,
        description="Python callable as module:attribute. "
        "Without it the image's own server answers CloudEvents at POST /.",
    )
    input_schema: JsonObject | None = Field(
        default=None,
        description="JSON Schema of the input; taken from the handler's annotations without it.",
    )
    output_schema: JsonObject | None = Field(
        default=None,
        description="JSON Schema of the output; lets validation check expressions over it.",
    )
    timeout: Annotated[DurationText, Between("1ms", "9m")] = Field(
        default="60s", description="Time that the handler may take, at most 9m."
    )
    start_timeout: Annotated[DurationText, Between("0s", "1h")] = Field(
        default="5m",
        description="Time for queue and cold start; with timeout at most 1h.",
    )
    concurrency: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=10, description="Requests that one instance takes at a time."
    )
    memory: Memory | None = Field(
        default=None,
        description="Memory of one child process, below the container's limit; "
        "without it only the container's limit holds.",
    )
    scale: Scale = Field(default_factory=Scale, description="How many instances it has.")
    retry: Retry = Field(
        default_factory=Retry, description="When a failed attempt is followed by another."
    )
    cache: LaterObject = Field(default=None, description="Results kept for equal inputs.")
    http: LaterObject = Field(default=None, description="An existing HTTP service as a function.")
