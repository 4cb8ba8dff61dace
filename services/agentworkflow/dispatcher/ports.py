"""What the dispatcher's HTTP side asks of the rest: the service around the fold, and the registry.

The API, the event port and the push know nothing of Redis or of the fold. They speak these
Protocols; `shell.service` and `catalog` implement them.
"""
# ruff: noqa: N818 - a refusal is named for what is wrong, and most are no error of the server

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

if TYPE_CHECKING:
    import asyncio

    from agentworkflow.events import CloudEvent
    from agentworkflow.workflow.definition import Definition
    from agentworkflow.workflow.models import AgentWorkflow

MAX_DEPTH: Final = 16
"""A start whose cause lies deeper than this in a chain of events is refused as a loop."""

RunState = Literal["Pending", "Running", "Waiting", "Succeeded", "Failed", "Cancelled"]

TERMINAL_STATES: Final = frozenset({"Succeeded", "Failed", "Cancelled"})

LAST_ENTRY: Final = "run.finished"
"""Type of the log entry that ends every run, and every stream of its log."""


# --- refusals ---------------------------------------------------------------------------------


class Refusal(Exception):
    """Why a request is not carried out. The message is a sentence that the caller may read."""


class UnknownWorkflow(Refusal):
    """No workflow of this name is published in this namespace."""


class UnknownTrigger(Refusal):
    """The workflow has no trigger of this name in the generation that is published."""


class UnknownRun(Refusal):
    """No such run in this namespace, or its time to live has ended."""


class RunExpired(Refusal):
    """The key or event names a run that was purged; within 30 days an id never runs again."""


class KeyReused(Refusal):
    """The `Idempotency-Key` belongs to a run that was started with another request."""


class RunFinished(Refusal):
    """The run is terminal: it takes no signal and cannot be cancelled."""


class UnknownSignal(Refusal):
    """No step of the run waits, or will wait, for a signal of this name."""


class NoResult(Refusal):
    """The run has no output: it is not terminal yet, or it ended otherwise than by success.

    Attributes:
        state: the run's state.
        reason: one word, for a run that failed.
        problem: its problem, for a run that failed.
    """

    def __init__(
        self,
        message: str,
        state: str,
        reason: str | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.state = state
        self.reason = reason
        self.problem = problem


class LoopDetected(Refusal):
    """The start lies more than `MAX_DEPTH` events deep."""


class AttemptRefused(Refusal):
    """The token is not that of an attempt which is running."""


@dataclass(frozen=True, slots=True)
class InputError:
    """One thing that a JSON Schema refuses; `path` is a JSON Pointer, "" for the whole value."""

    path: str
    message: str


class InvalidInput(Refusal):
    """The input does not fit the workflow's `inputSchema`, or an expression of a trigger fails."""

    def __init__(self, message: str, errors: Sequence[InputError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class Unavailable(Refusal):
    """The store does not answer, or the run's commit was raced too often. Ask again later.

    Attributes:
        retry_after: seconds.
    """

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(Refusal):
    """More is being accepted at this moment than the settings allow.

    Attributes:
        retry_after: seconds.
    """

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


# --- starting a run ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartedBy:
    """What started a run.

    Attributes:
        kind: the API, a route of the workflow, or an event.
        trigger: the trigger's name for `event`, the route's path for `route`.
        event: the event, kept with the run.
        depth: `awfdepth` of the cause; 0 for a request.
        trace: the `traceparent` of the request or event, or None.
    """

    kind: Literal["api", "route", "event"]
    trigger: str | None = None
    event: "CloudEvent | None" = None
    depth: int = 0
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class StartCommand:
    """A start that has passed every check of the border.

    Attributes:
        input: any JSON value; it fits the workflow's `inputSchema`.
        session: session id, or None for a run without one.
        idempotency_key: scoped to its session; None draws a random run id. Not used for events,
            whose id is the key.
        webhook: an URL whose host the settings allow.
    """

    namespace: str
    workflow: str
    input: Any
    started_by: StartedBy = field(default_factory=lambda: StartedBy("api"))
    session: str | None = None
    idempotency_key: str | None = None
    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A run that is durable.

    Attributes:
        run: its id.
        created: False when the same key or event had started it before.
    """

    run: str
    created: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a function host says that it is working on; only its token proves it."""

    run: str
    step: str
    item: int | None
    number: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `cursor` is None on the last."""

    items: tuple[dict[str, Any], ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """The webhook of a run and how far its log was pushed.

    Attributes:
        url: where to.
        after: stream id of the last entry that was delivered or given up; "0-0" at first.
        attempts: deliveries of the next entry that have failed.
    """

    namespace: str
    workflow: str
    url: str
    after: str = "0-0"
    attempts: int = 0


class RunService(Protocol):
    """Everything that can be asked of runs. All methods raise `Unavailable` if the store is down.

    A run is visible under its own namespace only: elsewhere it is an `UnknownRun`.
    """

    async def start(self, command: StartCommand) -> Ticket:
        """Make a run durable. The border has checked the input against its schema.

        Raises:
            UnknownWorkflow, KeyReused, RunExpired, LoopDetected, InvalidInput, Unavailable.
        """
        ...

    async def signal(self, namespace: str, run: str, name: str, value: Any) -> None:
        """Give a signal to a run.

        Raises:
            UnknownRun, RunFinished, UnknownSignal.
        """
        ...

    async def cancel(self, namespace: str, run: str) -> None:
        """End a run as `Cancelled`; nothing happens to one that is cancelled already.

        Raises:
            UnknownRun, RunFinished.
        """
        ...

    async def view(self, namespace: str, run: str) -> dict[str, Any]:
        """The run as clients see it (RunView). Raises: UnknownRun."""
        ...

    async def result(self, namespace: str, run: str) -> bytes:
        """The output as JSON text, also when it is kept by reference.

        Raises:
            UnknownRun, NoResult.
        """
        ...

    async def wait(self, namespace: str, run: str, seconds: float) -> bool:
        """Wait until the run is terminal, at most so long; whether it is. Raises: UnknownRun."""
        ...

    async def log(
        self, namespace: str, run: str, after: str = "0-0", limit: int = 500
    ) -> list[tuple[str, dict[str, Any]]]:
        """Entries after a stream id, projected (no token, no secret). Raises: UnknownRun."""
        ...

    def subscribe(self, run: str) -> AbstractAsyncContextManager["asyncio.Event"]:
        """An event that is set whenever the run's log has grown; the watcher clears it.

        It is set once at the start, and again when the subscription was interrupted.
        """
        ...

    async def list_runs(
        self,
        namespace: str,
        *,
        workflow: str | None,
        state: str | None,
        session: str | None,
        limit: int,
        cursor: str | None,
    ) -> Page:
        """Runs, newest first: RunViews without `output` and `steps`; None filters nothing.

        Raises:
            ValueError: the cursor is none of ours.
        """
        ...

    async def progress(
        self, attempt: Attempt, token: str, fraction: float | None, message: str | None
    ) -> None:
        """Append progress of an attempt to its run's log. Raises: AttemptRefused."""
        ...

    async def require_attempt(self, attempt: Attempt, token: str) -> None:
        """Know who asks before anything is read from them. Raises: AttemptRefused."""
        ...

    async def put_blob(self, attempt: Attempt, token: str, digest: str, content: bytes) -> None:
        """Keep an output of a running attempt; `digest` was checked. Raises: AttemptRefused."""
        ...

    async def get_blob(self, attempt: Attempt, token: str, digest: str) -> bytes | None:
        """Read a blob of the attempt's run. Raises: AttemptRefused."""
        ...

    async def accept_event(self, namespace: str, broker: str, event: "CloudEvent") -> str:
        """Store a user's event as a publication to a Broker; the publication's id."""
        ...

    async def hook(self, run: str) -> Hook | None:
        """The run's webhook, or None if it has none or the run is gone."""
        ...

    async def save_hook(self, run: str, *, after: str, attempts: int) -> None:
        """Remember how far a webhook was pushed."""
        ...

    async def ping(self) -> None:
        """Ask the store whether it takes writes."""
        ...


# --- what is published ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Published:
    """A workflow as the registry holds it, with its definition compiled.

    Attributes:
        functions: per function its addresses in the order in which they are asked.
        record: the registry's record as it is, JSON text.
    """

    namespace: str
    name: str
    generation: int
    digest: str
    resource: "AgentWorkflow"
    definition: "Definition"
    functions: Mapping[str, tuple[str, ...]]
    broker: str | None
    published_ms: int
    record: str


class Catalog(Protocol):
    """Every published workflow, in memory, at most a second behind the registry."""

    @property
    def version(self) -> int:
        """Grows with every change."""
        ...

    def workflows(self, namespace: str | None = None) -> Sequence[Published]:
        """What is published, oldest publication first."""
        ...

    def get(self, namespace: str, name: str) -> Published:
        """One workflow. Raises: UnknownWorkflow."""
        ...


# --- dead letters -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be delivered, and why.

    Attributes:
        kind: `trigger` for one that a Broker gave up on or that a start refused, `publication`
            for one of ours that no Broker took, `webhook` for a push that was given up.
        target: the trigger's name, the Broker's name, or the webhook's URL.
        reason: one word, such as `Loop`, or `Status422`.
        event: the event in structured JSON form, without Knative's error attributes.
        run: the run that it belongs to, for a webhook or a `run.*` event.
    """

    id: str
    namespace: str
    workflow: str | None
    kind: Literal["trigger", "publication", "webhook"]
    target: str
    reason: str
    detail: str
    event: Mapping[str, Any]
    created_ms: int
    code: int | None = None
    run: str | None = None


class UnknownDeadLetter(Refusal):
    """No such dead letter in this namespace."""


class DeadLetters(Protocol):
    """The dead letters of all namespaces."""

    async def add(self, letter: DeadLetter) -> None:
        """Keep one; the same id twice is one letter."""
        ...

    async def listing(
        self, namespace: str, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[DeadLetter], str | None]:
        """One page, newest first, and the next cursor. Raises ValueError for a foreign cursor."""
        ...

    async def get(self, namespace: str, letter: str) -> DeadLetter:
        """One letter. Raises: UnknownDeadLetter."""
        ...

    async def remove(self, namespace: str, letter: str) -> None:
        """Drop one. Raises: UnknownDeadLetter."""
        ...
