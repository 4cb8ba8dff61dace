"""CloudEvents: the value, its HTTP and JSON forms, Trigger filters and CESQL. Pure: no I/O."""

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.problem import FieldError, MalformedEvent, Problem

__all__ = ["CloudEvent", "FieldError", "MalformedEvent", "Problem"]
