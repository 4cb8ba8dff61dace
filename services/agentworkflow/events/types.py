"""Names on the wire: event types and extension attributes of ours, and those of others we use."""

from typing import Final

OWN_PREFIX: Final = "dev.agentworkflow."
"""Types below it are ours: a user's trigger matches one only if it names it exactly."""

STEP_REQUESTED: Final = "dev.agentworkflow.step.requested"
STEP_COMPLETED: Final = "dev.agentworkflow.step.completed"
STEP_FAILED: Final = "dev.agentworkflow.step.failed"
STEP_PROGRESSED: Final = "dev.agentworkflow.step.progressed"

RUN_REQUESTED: Final = "dev.agentworkflow.run.requested"
RUN_STARTED: Final = "dev.agentworkflow.run.started"
RUN_SUCCEEDED: Final = "dev.agentworkflow.run.succeeded"
RUN_FAILED: Final = "dev.agentworkflow.run.failed"
RUN_CANCELLED: Final = "dev.agentworkflow.run.cancelled"

AWF_PREFIX: Final = "awf"
"""Extensions below it are ours: they are dropped from events that come from outside."""

AWF_RUN: Final = "awfrun"
AWF_STEP: Final = "awfstep"
AWF_ITEM: Final = "awfitem"
AWF_ATTEMPT: Final = "awfattempt"
AWF_TOKEN: Final = "awftoken"  # noqa: S105 - the attribute's name, not a token
AWF_FUNCTION: Final = "awffunction"
AWF_WORKFLOW: Final = "awfworkflow"
AWF_NAMESPACE: Final = "awfnamespace"
AWF_SESSION: Final = "awfsession"
AWF_DEADLINE: Final = "awfdeadline"
AWF_DEPTH: Final = "awfdepth"
AWF_START_TYPE: Final = "awfstarttype"
AWF_DURATION_MS: Final = "awfdurationms"

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
PARTITION_KEY: Final = "partitionkey"
DATA_REF: Final = "dataref"

KNATIVE_ERROR_DEST: Final = "knativeerrordest"
KNATIVE_ERROR_CODE: Final = "knativeerrorcode"
KNATIVE_ERROR_DATA: Final = "knativeerrordata"
