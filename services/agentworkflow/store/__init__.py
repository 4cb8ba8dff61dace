"""Everything that is kept: runs, what is due, sessions, the registry, dead letters.

The only part that speaks Redis.
"""

from agentworkflow.store.durability import Durability
from agentworkflow.store.errors import StoreError, StoreUnavailable
from agentworkflow.store.letters import DeadLetterPage
from agentworkflow.store.places import BadCursor
from agentworkflow.store.records import (
    Commit,
    CommitResult,
    Committed,
    Conflict,
    Created,
    Due,
    Existing,
    Finish,
    Gone,
    Guard,
    Head,
    Opening,
    Page,
    SessionBusy,
    SessionChanged,
    SessionState,
    Start,
    StartResult,
    Tombstoned,
)
from agentworkflow.store.registry import WorkflowRecord
from agentworkflow.store.store import Store

__all__ = [
    "BadCursor",
    "Commit",
    "CommitResult",
    "Committed",
    "Conflict",
    "Created",
    "DeadLetterPage",
    "Due",
    "Durability",
    "Existing",
    "Finish",
    "Gone",
    "Guard",
    "Head",
    "Opening",
    "Page",
    "SessionBusy",
    "SessionChanged",
    "SessionState",
    "Start",
    "StartResult",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "Tombstoned",
    "WorkflowRecord",
]
