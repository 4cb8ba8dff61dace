"""A run: what is known of it, as frozen data.

The maps are persistent (`rpds.HashTrieMap`), so that folding one event costs what the event
touches, not what the run holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from rpds import HashTrieMap, HashTrieSet, List

from agentworkflow.runs.slots import Slot
from agentworkflow.runs.values import OutputOf
from agentworkflow.workflow.definition import Definition
from agentworkflow.workflow.plan import Plan, StepSpec


class RunState(StrEnum):
    """States of a run. The last three never change."""

    PENDING = "Pending"
    RUNNING = "Running"
    WAITING = "Waiting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class StepState(StrEnum):
    """States of a step or of an item. `BACKOFF` lives only between two events of one commit."""

    PENDING = "Pending"
    REQUESTED = "Requested"
    BACKOFF = "Backoff"
    WAITING = "Waiting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    CANCELLED = "Cancelled"


TERMINAL: Final = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
STEP_TERMINAL: Final = frozenset(
    {StepState.SUCCEEDED, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED}
)


@dataclass(frozen=True, slots=True)
class Items:
    """The counts of a `forEach` step.

    Attributes:
        entry: log entry that holds the list.
        total: length of the list.
        next: the first item that no attempt was made for.
        running: items in flight or waiting for another attempt.
        succeeded: items that ended with an output.
        failed: items that ended with a problem.
    """

    entry: int
    total: int
    next: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0

    @property
    def is_done(self) -> bool:
        """Every item is terminal."""
        return self.succeeded + self.failed == self.total


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is known of a step, or of one item.

    Attributes:
        state: where it is.
        open_needs: steps that it waits for.
        attempt: number of the current attempt, from 1; 0 before the first.
        reason: one word for how it ended, or None.
        output: log entry that holds the output, or None.
        error: log entry that holds the problem, or None.
        deadline: when the current attempt is given up, in ms, or None.
        started: when the first attempt was asked for, in ms, or None.
        ended: when it became terminal, in ms, or None.
        start_type: of the last attempt that answered; with items, of the last item that ended.
        retry_after: the delay that the handler asked for, between two attempts.
        items: of a `forEach` step, once its list is known.
    """

    state: StepState = StepState.PENDING
    open_needs: int = 0
    attempt: int = 0
    reason: str | None = None
    output: int | None = None
    error: int | None = None
    deadline: int | None = None
    started: int | None = None
    ended: int | None = None
    start_type: str | None = None
    retry_after: int | None = None
    items: Items | None = None


UNTOUCHED: Final = Attempts()


@dataclass(frozen=True, slots=True)
class Unsaved:
    """What has changed since the run was last stored.

    Attributes:
        fields: names of the head's fields to write.
        marks: due members, newest first, each with its time in ms, or None where it is removed.
    """

    fields: "HashTrieSet[str]" = field(default_factory=HashTrieSet)
    marks: "List[tuple[str, int | None]]" = field(default_factory=List)

    @property
    def due(self) -> dict[str, int]:
        """Due member → when, in ms, in the order in which they were added."""
        return {member: at for member, at in self._last().items() if at is not None}

    @property
    def undue(self) -> frozenset[str]:
        """Due members to remove."""
        return frozenset(member for member, at in self._last().items() if at is None)

    def _last(self) -> dict[str, int | None]:
        last: dict[str, int | None] = {}
        for member, at in reversed(list(self.marks)):
            last.pop(member, None)
            last[member] = at
        return last


@dataclass(frozen=True, slots=True)
class Origin:
    """How a run came to be.

    Attributes:
        kind: `api`, `route` or `event`.
        trigger: the trigger or route, or None.
        event: `source`, `id` and `type` of the event that started it, or None.
        depth: how many events caused each other before this run.
        trace: the `traceparent` of the start, or None.
        random: the run's id was drawn.
        webhook: where the result is sent, or None.
    """

    kind: str = "api"
    trigger: str | None = None
    event: Mapping[str, str] | None = None
    depth: int = 0
    trace: str | None = None
    random: bool = False
    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The step that ended the run.

    Attributes:
        slot: the step or item.
        reason: its one word.
        problem: why.
    """

    slot: Slot
    reason: str
    problem: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A run, folded from its log.

    Attributes:
        id: of the run; ends in its shard.
        secret: what its tokens and jitter are made from. It is in no event.
        definition: the workflow as it was when the run started.
        plan: the steps, which may have grown since.
        added: the steps that were added, as in the resource.
        version: number of events in its log.
        state: where it is.
        reason: one word for how it ended, or None.
        problem: why it ended so, or None.
        origin: what started it.
        session: the session id, or None.
        created: when it was asked for, in ms.
        started: when it left its session's queue, in ms, or None.
        ended: when it became terminal, in ms, or None.
        deadline: when it ends as failed, in ms, or None.
        session_entry: log entry with the session's value at the start.
        output: the step whose output is the result, if the result is nothing else.
        output_entry: log entry that ended the run, and holds any other result.
        open: steps that are not terminal.
        waiting: steps that wait for a signal or a time.
        requested: attempts that were started, for the budget.
        steps: by name.
        items: by step and index; an item is there from its first attempt on.
        live: attempts in flight, by slot.
        signals: signals that no step has taken yet: name → log entries.
        frontier: slots that `decide` has to look at.
        failure: the step that ends the run, or None.
        cancel: the reason of a cancel, or None.
        expired: the deadline is over.
        unsaved: what a commit has to write.
    """

    id: str
    secret: str = field(repr=False)
    definition: Definition
    plan: Plan
    added: tuple[Mapping[str, Any], ...] = ()
    version: int = 0
    state: RunState = RunState.PENDING
    reason: str | None = None
    problem: Mapping[str, Any] | None = None
    origin: Origin = field(default_factory=Origin)
    session: str | None = None
    created: int = 0
    started: int | None = None
    ended: int | None = None
    deadline: int | None = None
    session_entry: int | None = None
    output: OutputOf | None = None
    output_entry: int | None = None
    open: int = 0
    waiting: int = 0
    requested: int = 0
    steps: "HashTrieMap[str, Attempts]" = field(default_factory=HashTrieMap)
    items: "HashTrieMap[Slot, Attempts]" = field(default_factory=HashTrieMap)
    live: "HashTrieMap[Slot, int]" = field(default_factory=HashTrieMap)
    signals: "HashTrieMap[str, tuple[int, ...]]" = field(default_factory=HashTrieMap)
    frontier: tuple[Slot, ...] = ()
    failure: Failure | None = None
    cancel: str | None = None
    expired: bool = False
    unsaved: Unsaved = field(default_factory=Unsaved)

    @property
    def is_terminal(self) -> bool:
        """The run has ended, and never changes again."""
        return self.state in TERMINAL

    @property
    def is_ending(self) -> bool:
        """The run is bound to end: whatever comes after the cause of its end is too late."""
        return self.failure is not None or self.cancel is not None or self.expired

    @property
    def namespace(self) -> str:
        """The namespace of its workflow."""
        return self.definition.namespace

    @property
    def workflow(self) -> str:
        """The name of its workflow."""
        return self.definition.name

    def spec(self, step: str) -> StepSpec:
        """The specification of a step."""
        return self.plan.steps[step]

    def attempts(self, slot: Slot) -> Attempts:
        """What is known of a step or an item; for one that was never touched, its beginning."""
        if slot.item is not None:
            return self.items.get(slot) or UNTOUCHED
        known = self.steps.get(slot.step)
        if known is not None:
            return known
        spec = self.plan.steps.get(slot.step)
        return UNTOUCHED if spec is None else Attempts(open_needs=len(spec.needs))


def blank(run: str, secret: str, definition: Definition) -> Run:
    """A run before its first event."""
    plan = definition.plan
    return Run(id=run, secret=secret, definition=definition, plan=plan, open=len(plan.steps))


def slots_without_needs(specs: Iterable[StepSpec]) -> tuple[Slot, ...]:
    """Where a plan begins."""
    return tuple(Slot(spec.name) for spec in specs if not spec.needs)
