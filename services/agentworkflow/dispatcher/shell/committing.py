"""Makes the commit that stores what the fold decided: pure, from run and events to one record."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from agentworkflow.runs import due
from agentworkflow.runs.events import (
    VALUE_FIELDS,
    Event,
    RunFinished,
    encode_event,
    stow_event,
)
from agentworkflow.runs.evolve import evolve
from agentworkflow.runs.head import RUN_FIELD, unsaved_fields
from agentworkflow.runs.model import Run, RunState, Unsaved
from agentworkflow.runs.reading import EntryField
from agentworkflow.runs.values import Blob, Inline, Value, dump
from agentworkflow.store import Commit, Finish, Head, Opening

RESULTS_TTL_MS: Final = 7 * 24 * 3600 * 1000
"""How long a finished run is kept when its definition cannot be read."""

LEASE_MS: Final = 6_000
"""How long a dispatcher holds what it works on before another may take it."""


@dataclass(frozen=True, slots=True)
class Step:
    """Events folded into a run and not stored yet.

    Attributes:
        run: the run with all of them.
        events: what was folded, with large values already beside.
        blobs: those values by digest.
        fresh: every value of the events, by entry and field, before it can be read back; one that
            a host keeps beside the log as its `Blob`.
    """

    run: Run
    events: tuple[Event, ...] = ()
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    fresh: Mapping[EntryField, Any] = field(default_factory=dict)

    def folded(self, event: Event) -> "Step":
        """One event further; the same object if the event changes nothing."""
        kept, blobs = stow_event(event)
        run = evolve(self.run, kept)
        if run is self.run:
            return self
        fresh = {(run.version, name): value for name, value in _values(event)}
        return Step(run, (*self.events, kept), {**self.blobs, **blobs}, {**self.fresh, **fresh})

    def sizes(self, texts: Sequence[str]) -> list[int]:
        """The size of each value of `fresh`, in bytes; at most, for one that shares its entry.

        Args:
            texts: the events as they are logged.
        """
        first = self.run.version - len(self.events) + 1
        found = []
        for number, name in self.fresh:
            value = getattr(self.events[number - first], name)
            found.append(value.size if isinstance(value, Blob) else len(texts[number - first]))
        return found


def _values(event: Event) -> Iterator[tuple[str, Any]]:
    for name in VALUE_FIELDS:
        value = getattr(event, name, None)
        if isinstance(value, Inline):
            yield name, value.value
        elif isinstance(value, Blob):
            yield name, value
    problem = getattr(event, "problem", None)
    if problem is not None:
        yield "problem", dict(problem)


def build_commit(step: Step, now: int) -> Commit:
    """The commit of a step.

    What is due at once is leased to the committer, who acts on it without being asked.
    """
    run = step.run
    return Commit(
        run=run.id,
        expected=run.version - len(step.events),
        events=tuple(encode_event(event) for event in step.events),
        fields=unsaved_fields(run),
        due={member: leased(at, now) for member, at in run.unsaved.due.items()},
        undue=tuple(run.unsaved.undue),
        finished=_finish(step),
        blobs=step.blobs,
    )


def build_surrender(head: Head, now: int, results_ttl_ms: int) -> Commit:
    """The commit that ends a run as `InternalError`, made without folding anything.

    Calls and timers of the run stay due: whoever leases one finds the run terminal and drops it.
    """
    problem = {
        "type": "https://agentworkflow.dev/problems/InternalError",
        "title": "The run cannot go on",
        "detail": "The dispatcher failed three times on it; its log says why.",
        "reason": "InternalError",
    }
    ending = RunFinished(time=now, state=RunState.FAILED, reason="InternalError", problem=problem)
    number = head.version + 1
    record = json.loads(head.fields[RUN_FIELD])
    record |= {"st": "F", "rs": "InternalError", "pb": problem, "end": now, "oe": number}
    record.pop("fr", None)
    owed = {due.publication_of(head.run, number): now}
    if "hook" in record:
        owed[due.webhook_of(head.run)] = now
    return Commit(
        run=head.run,
        expected=head.version,
        events=(encode_event(ending),),
        fields={RUN_FIELD: json.dumps(record, separators=(",", ":"))},
        due=owed,
        undue=(due.deadline_timer_of(head.run), due.start_of(head.run)),
        finished=Finish(
            namespace=head.namespace,
            workflow=head.workflow,
            at_ms=now,
            purge_at_ms=now + results_ttl_ms,
            session=head.session,
            start_lease_ms=LEASE_MS,
        ),
    )


def build_opening(step: Step, now: int) -> Opening:
    """The first entries of a run."""
    return Opening(
        events=tuple(encode_event(event) for event in step.events),
        fields=unsaved_fields(step.run),
        due={member: leased(at, now) for member, at in step.run.unsaved.due.items()},
    )


def leased(at: int, now: int) -> int:
    """When an entry is due for others, if whoever writes it acts on what is due at once."""
    return now + LEASE_MS if at <= now else at


def saved(run: Run) -> Run:
    """The run after its commit: nothing is left to write."""
    return replace(run, unsaved=Unsaved())


def request_hash(value: Any, session: str | None, webhook: str | None) -> str:
    """What makes two starts with one key the same request."""
    text = dump([value, session, webhook])
    return hashlib.sha256(text.encode()).hexdigest()


def _finish(step: Step) -> Finish | None:
    run = step.run
    if not run.is_terminal or run.ended is None:
        return None
    ending = step.events[-1]
    value = ending.session if isinstance(ending, RunFinished) else None
    return Finish(
        namespace=run.namespace,
        workflow=run.workflow,
        at_ms=run.ended,
        purge_at_ms=run.ended + run.definition.results_ttl_ms,
        session=run.session,
        session_value=_session_value(step, value),
        session_ttl_ms=run.definition.session_ttl_ms,
        start_lease_ms=LEASE_MS,
    )


def _session_value(step: Step, value: Value | None) -> str | None:
    """A session's new value as JSON; a large one was stowed, and the session keeps it whole."""
    if isinstance(value, Blob):
        return step.blobs[value.digest].decode()
    return dump(value.value) if isinstance(value, Inline) else None
