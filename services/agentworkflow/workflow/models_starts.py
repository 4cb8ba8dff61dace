"""What starts a run, or one function alone: triggers, sources, routes."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from agentworkflow.workflow import crd_rules as rules
from agentworkflow.workflow.fields import (
    EVENT_TYPE_PATTERN,
    HOST_PATTERN,
    PATH_PATTERN,
    Between,
    Cron,
    DurationText,
    Json,
    JsonObject,
    LaterObject,
    Name,
    Shape,
    Timezone,
    by_key,
)


class Trigger(Shape):
    """Events that start a run, or one function alone."""

    model_config = ConfigDict(
        json_schema_extra=rules.stated(rules.TRIGGER_REPLY, rules.TRIGGER_SESSION)
    )

    name: Name = Field(description="Name of the trigger.")
    filters: Annotated[list[JsonObject], Field(max_length=20)] = Field(
        default_factory=list,
        description="Knative's filters, word for word: exact, prefix, suffix, all, any, not, "
        "cesql. All must match; without any, every event does.",
    )
    input: Json = Field(
        default=None,
        description="The run's input, with expressions over event; ${event.data} without it. "
        "With function only paths into event, as {csv: ${event.data}}.",
    )
    session: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="Session of the run, with expressions over event."
    )
    function: Name | None = Field(
        default=None, description="Call this function alone, with no run around it."
    )
    reply: Annotated[str, Field(max_length=256, pattern=EVENT_TYPE_PATTERN)] | None = Field(
        default=None,
        description="Type of the reply event of function; <function>.completed without it.",
    )


class Schedule(Shape):
    """A clock that sends events."""

    cron: Cron = Field(description="When, as five cron fields: minute hour day month weekday.")
    timezone: Timezone = Field(default="UTC", description="Time zone of cron.")
    data: JsonObject | None = Field(default=None, description="Data of each event.")


class Source(Shape):
    """Something that turns changes into events."""

    model_config = ConfigDict(json_schema_extra=rules.stated(rules.SOURCE_KIND))

    name: Name = Field(description="Name of the source.")
    schedule: Schedule | None = Field(default=None, description="Send an event at these times.")
    postgres: LaterObject = Field(default=None, description="Rows of a Postgres table.")
    object_storage: LaterObject = Field(default=None, description="Objects of a bucket.")


class Route(Shape):
    """One HTTP address in front of the workflow."""

    model_config = ConfigDict(
        json_schema_extra=rules.stated(rules.ROUTE_RESERVED, rules.ROUTE_WAIT)
    )

    host: Annotated[str, Field(max_length=253, pattern=HOST_PATTERN)] | None = Field(
        default=None, description="Host that the route is for; every host without it."
    )
    path: Annotated[str, Field(max_length=512, pattern=PATH_PATTERN)] = Field(
        description="Path, matched as a whole."
    )
    method: Literal["POST", "PUT", "PATCH"] = Field(default="POST", description="HTTP method.")
    input: Json = Field(
        default=None,
        description="The run's input, with expressions over input, which is the body; "
        "the body without it.",
    )
    response: Literal["Wait", "Ticket"] = Field(
        default="Wait",
        description="Wait: hold the request for the result. Ticket: answer 202 at once.",
    )
    wait: Annotated[DurationText, Between("1s", "5m")] | None = Field(
        default=None,
        description="How long Wait holds the request before it answers with a ticket; "
        "10s without it.",
    )


TriggerList = Annotated[list[Trigger], Field(max_length=50), by_key("name")]
SourceList = Annotated[list[Source], Field(max_length=20), by_key("name")]
RouteList = Annotated[list[Route], Field(max_length=50)]
