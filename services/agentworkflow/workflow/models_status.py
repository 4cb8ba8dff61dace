"""The status of the resource, as the operator writes it. Conditions, never a phase."""

from typing import Annotated, Literal

from pydantic import Field

from agentworkflow.workflow.fields import Shape, by_key

Text = Annotated[str, Field(max_length=2048)]


class Condition(Shape):
    """One observation about the resource, in the form of `metav1.Condition`."""

    type: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")] = (
        Field(
            description="Ready is the summary; Accepted, FunctionsReady, TriggersReady, "
            "SourcesReady, WarmPoolReady, RoutesReady and Published are its parts."
        )
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[
        str,
        Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ] = Field(description="One word for programs.")
    message: Annotated[str, Field(max_length=32768)] = Field(
        description="One sentence for people, which says what to do."
    )
    last_transition_time: Annotated[str, Field(max_length=64)] = Field(
        description="When status changed last.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Generation of the resource that this is about."
    )


class Address(Shape):
    """Where the workflow is reached."""

    url: Text | None = Field(default=None, description="URL that starts a run.")


class FunctionStatus(Shape):
    """What became of one function."""

    name: Annotated[str, Field(max_length=28)] = Field(description="Name of the function.")
    url: Text | None = Field(default=None, description="Address of its Service.")
    latest_ready_revision: Annotated[str, Field(max_length=253)] | None = Field(
        default=None, description="Revision that steps run on."
    )
    ready: bool = Field(default=False, description="Whether it can be called.")


class WarmPoolStatus(Shape):
    """The pool as it is."""

    desired: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Instances wanted now."
    )
    ready: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Instances ready now."
    )
    reason: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="Why this many are wanted."
    )


class Status(Shape):
    """What the operator observed."""

    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Generation that the status is about."
    )
    address: Address | None = Field(default=None, description="Where the workflow is reached.")
    conditions: Annotated[list[Condition], Field(max_length=16), by_key("type")] = Field(
        default_factory=list, description="Observations; Ready is the summary."
    )
    functions: Annotated[list[FunctionStatus], Field(max_length=50), by_key("name")] = Field(
        default_factory=list, description="Functions by name."
    )
    warm_pool: WarmPoolStatus | None = Field(default=None, description="The pool as it is.")
