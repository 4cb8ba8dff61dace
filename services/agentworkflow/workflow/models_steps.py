"""The steps of a workflow."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from agentworkflow.workflow import crd_rules as rules
from agentworkflow.workflow.fields import (
    SET,
    Between,
    DurationText,
    Expression,
    Json,
    JsonOrNull,
    Name,
    Shape,
    by_key,
)


class WaitFor(Shape):
    """A wait without a process: for a signal, or for a time."""

    model_config = ConfigDict(json_schema_extra=rules.stated(rules.WAIT_KIND, rules.WAIT_TIMEOUT))
    nullable: ClassVar[frozenset[str]] = frozenset({"default"})

    signal: Name | None = Field(default=None, description="Wait for the signal of this name.")
    duration: Annotated[DurationText, Between("1ms", "8760h")] | None = Field(
        default=None, description="Wait this long."
    )
    timeout: Annotated[DurationText, Between("1ms", "8760h")] | None = Field(
        default=None, description="Give the signal up after this time."
    )
    default: JsonOrNull = Field(
        default=None,
        description="Output after a timeout; without it a timeout fails the step.",
    )


class Step(Shape):
    """One step: a function's call, one per item with forEach, or a wait."""

    model_config = ConfigDict(
        json_schema_extra=rules.stated(
            rules.STEP_KIND,
            rules.STEP_CALL_FIELDS,
            rules.STEP_PARALLELISM,
            rules.STEP_SELF_NEED,
        )
    )

    name: Name = Field(description="Name that needs and expressions use.")
    function: Name | None = Field(default=None, description="Function that the step calls.")
    needs: Annotated[list[Name], Field(max_length=20), SET] = Field(
        default_factory=list,
        description="Steps that must be terminal before this one starts.",
    )
    when: Expression | None = Field(
        default=None, description="Condition; where it is false the step is skipped."
    )
    input: Json = Field(
        default=None,
        description="The function's input: an object, with expressions in it, or one expression "
        "that gives an object. {} without it; with forEach the item, if it is an object.",
    )
    for_each: Expression | None = Field(
        default=None,
        description="A list, at most 10000 items: the function is called once for each.",
    )
    parallelism: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=10, description="Items at once, with forEach; 10 without it."
    )
    wait_for: WaitFor | None = Field(
        default=None, description="Wait for a signal or a time, instead of a call."
    )
    on_failure: Literal["Fail", "Continue"] = Field(
        default="Fail",
        description="Fail: the run fails with the step. Continue: the output is null, error is "
        "set, and the steps that need it start.",
    )


StepList = Annotated[list[Step], Field(max_length=200), by_key("name")]
