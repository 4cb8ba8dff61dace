"""What is handed to the store about one run and what comes back: frozen data, no I/O.

Times are integer milliseconds since the epoch by the store's own clock, durations integer
milliseconds.  Log entries and head fields are JSON text that the store never opens.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = [
    "Commit",
    "CommitResult",
    "Committed",
    "Conflict",
    "Created",
    "Due",
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
    "Tombstoned",
]


def _call_id() -> str:
    """Name one call, so that a repetition after a lost answer is recognised."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Opening:
    """The first entries of a run, with the head and what is due after them."""

    events: tuple[str, ...]
    fields: Mapping[str, str]
    due: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """Creates a run, once.

    Attributes:
        run: Its id; the shard is read from it.
        digest: Names the definition; `definition` is its JSON, sent only where the shard lacks it.
        named: True if the id was derived from a key or an event: its purge leaves a tombstone.
        request_hash: Compared when the id exists already; None (events) is never compared.
        session: Runs of one session are serial.
        session_version: The version of the session that `events` were decided on; None if they
            do not depend on it.  Another version at the server means `SessionChanged`.
        queued: What to commit instead if another run of the session is active; the run then
            waits in the session's queue.  None asks for `SessionChanged` in that case.
    """

    run: str
    namespace: str
    workflow: str
    digest: str
    definition: str
    secret: str
    created_ms: int
    events: tuple[str, ...]
    fields: Mapping[str, str]
    due: Mapping[str, int] = field(default_factory=dict)
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    named: bool = False
    request_hash: str | None = None
    session: str | None = None
    session_version: int | None = None
    queued: Opening | None = None
    call_id: str = field(default_factory=_call_id)


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session as the store has it.

    Attributes:
        value: JSON text; None before the first run has written one.
        version: Changes whenever the value or the active run changes; 0 if there is no session.
        active: The run that owns the session now.
    """

    value: str | None = None
    version: int = 0
    active: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """The run exists now, durably."""

    run: str
    version: int


@dataclass(frozen=True, slots=True)
class SessionBusy:
    """The run exists now and waits in its session's queue (`Start.queued` was committed)."""

    run: str
    version: int


@dataclass(frozen=True, slots=True)
class Existing:
    """A run with this id was there before."""

    run: str
    same_request: bool


@dataclass(frozen=True, slots=True)
class Tombstoned:
    """A run with this id existed and was purged; the id must not name a second execution."""

    run: str


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """Nothing was written: the session is not what the start was decided on."""

    state: SessionState


StartResult: TypeAlias = Created | SessionBusy | Existing | Tombstoned | SessionChanged


@dataclass(frozen=True, slots=True)
class Finish:
    """Ends a run in the commit that carries it: indexes, session and time to live.

    Attributes:
        session_value: The session's new JSON; None leaves it.  Ignored unless the run owns it.
        start_lease_ms: The committer keeps the start of the session's next run for so long.
    """

    namespace: str
    workflow: str
    at_ms: int
    purge_at_ms: int
    session: str | None = None
    session_value: str | None = None
    session_ttl_ms: int = 30 * 24 * 3600 * 1000
    start_lease_ms: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic step of a run: one script call.

    Attributes:
        expected: The version this was folded on.
        events: Appended to the log as `(expected+1)-0`, ….
        fields: Head fields to set; `drop_fields` are removed.
        due: Due member → ms; `undue` are removed first.  The committer leases its own entries
            by giving now + lease.
        call_id: Give the same Commit again after an unknown outcome: it is applied once.
    """

    run: str
    expected: int
    events: tuple[str, ...]
    fields: Mapping[str, str] = field(default_factory=dict)
    drop_fields: tuple[str, ...] = ()
    due: Mapping[str, int] = field(default_factory=dict)
    undue: tuple[str, ...] = ()
    finished: Finish | None = None
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    call_id: str = field(default_factory=_call_id)


@dataclass(frozen=True, slots=True)
class Committed:
    """The commit is durable.  `next_run` is the session's next run, if this one made it due."""

    version: int
    next_run: str | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Nothing was written.  `events` are all entries after the expected version, in order."""

    version: int
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no such run (never was, or purged)."""

    run: str


CommitResult: TypeAlias = Committed | Conflict | Gone


@dataclass(frozen=True, slots=True)
class Guard:
    """What must still hold for a progress entry: this attempt of this step or item is running.

    Attributes:
        field: Head field of the step or item, `s:<step>` or `i:<step>:<index>`.
        attempt: Compared with the field's `n`.
        state: Compared with the field's `st` if given.
    """

    field: str
    attempt: int
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """A run's head.  `fields` holds only what `Start` and `Commit` set."""

    run: str
    version: int
    fields: Mapping[str, str]
    secret: str
    namespace: str
    workflow: str
    digest: str
    session: str | None
    created_ms: int
    finished_ms: int | None


@dataclass(frozen=True, slots=True)
class Due:
    """An entry of the due set that was leased: who it is for and when it was due."""

    member: str
    due_ms: int


@dataclass(frozen=True, slots=True)
class Page:
    """Run ids, newest first, and where the next page starts (None: this was the last)."""

    runs: tuple[str, ...]
    cursor: str | None
