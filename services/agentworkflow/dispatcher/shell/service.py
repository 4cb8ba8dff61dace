"""The service around the fold: everything that can be asked of runs.

It turns what the borders ask into events, and what the store answers into refusals.
"""

import asyncio
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from agentworkflow.dispatcher.ports import (
    Attempt,
    AttemptRefused,
    Hook,
    NoResult,
    Page,
    RunFinished,
    StartCommand,
    Ticket,
    Unavailable,
    UnknownRun,
    UnknownSignal,
)
from agentworkflow.dispatcher.shell.committing import LEASE_MS
from agentworkflow.dispatcher.shell.folding import Folder, Input, Raced, RunGone
from agentworkflow.dispatcher.shell.publications import encode_publication
from agentworkflow.dispatcher.shell.starts import Starts
from agentworkflow.dispatcher.shell.sweep import Sweep
from agentworkflow.dispatcher.shell.values import Loader
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.runs.due import user_event_of
from agentworkflow.runs.events import CancelRequested, Event, SignalReceived
from agentworkflow.runs.head import REQUESTED, field_of_slot
from agentworkflow.runs.ids import is_run_id
from agentworkflow.runs.model import Run, RunState
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.tokens import is_token_of
from agentworkflow.runs.values import Inline, dump
from agentworkflow.runs.view import parts_of_view, project_entry, view_of
from agentworkflow.store import BadCursor, Commit, Committed, Store, StoreUnavailable
from agentworkflow.store.records import Guard

_HOOK_FIELD: Final = "hook"
_HOOK_RACES: Final = 20


class Runs:
    """Implements `ports.RunService`."""

    def __init__(
        self, store: Store, folder: Folder, loader: Loader, starts: Starts, sweep: Sweep
    ) -> None:
        self._store = store
        self._folder = folder
        self._loader = loader
        self._starts = starts
        self._sweep = sweep

    async def start(self, command: StartCommand) -> Ticket:
        """Make a run durable."""
        try:
            return await self._starts.start(command)
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error

    async def signal(self, namespace: str, run: str, name: str, value: Any) -> None:
        """Give a signal to a run."""
        known = await self._open(namespace, run)
        names = {spec.wait.signal for spec in known.plan.steps.values() if spec.wait}
        if name not in names:
            waits = ", ".join(sorted(n for n in names if n)) or "none"
            message = f"No step of run {run} waits for a signal {name!r}; its signals: {waits}."
            raise UnknownSignal(message)

        def make(_run: Run, now: int) -> Event:
            return SignalReceived(time=now, name=name, output=Inline(value))

        if not await self._fold(run, make):
            await self._open(namespace, run)
            message = f"Run {run} keeps 100 signals {name!r} that no step has taken yet."
            raise UnknownSignal(message)

    async def cancel(self, namespace: str, run: str, reason: str = "CancelRequested") -> None:
        """End a run as `Cancelled`."""
        known = await self._of(namespace, run)
        if known.state is RunState.CANCELLED:
            return
        _refuse_ended(known)

        def make(_run: Run, now: int) -> Event:
            return CancelRequested(time=now, reason=reason)

        if not await self._fold(run, make):
            ended = await self._of(namespace, run)
            if ended.state is not RunState.CANCELLED:
                _refuse_ended(ended)

    async def cancel_all(self, namespace: str, workflow: str, reason: str) -> int:
        """End every active run of a workflow; returns how many there were."""
        ended = 0
        while True:
            page = await self._store.list_runs(
                namespace, workflow=workflow, state="active", limit=200
            )
            for run in page.runs:
                try:
                    await self.cancel(namespace, run, reason)
                except (UnknownRun, RunFinished):
                    continue
                ended += 1
            if page.cursor is None:
                return ended

    async def view(self, namespace: str, run: str) -> dict[str, Any]:
        """The run as clients see it."""
        known = await self._of(namespace, run)
        async with _store_errors():
            values = await self._loader.load_small(known, parts_of_view(known))
        return view_of(known, values)

    async def result(self, namespace: str, run: str) -> bytes:
        """The output as JSON text."""
        known = await self._of(namespace, run)
        if known.state is not RunState.SUCCEEDED:
            message = f"Run {run} is {known.state}, so it has no result."
            raise NoResult(message, str(known.state), known.reason, known.problem)
        async with _store_errors():
            return dump(await self._loader.result(known)).encode()

    async def wait(self, namespace: str, run: str, seconds: float) -> bool:
        """Wait until the run is terminal, at most so long; whether it is."""
        if (await self._of(namespace, run)).is_terminal:
            return True
        try:
            async with asyncio.timeout(seconds), self.subscribe(run) as grown:
                while not (await self._of(namespace, run)).is_terminal:
                    await grown.wait()
                    grown.clear()
        except TimeoutError:
            return (await self._of(namespace, run)).is_terminal
        return True

    async def log(
        self, namespace: str, run: str, after: str = "0-0", limit: int = 500
    ) -> list[tuple[str, dict[str, Any]]]:
        """Entries after a stream id, projected."""
        # Whether it belongs to the namespace never changes, so a cached run will do.
        await self._found(namespace, run, self._folder.get)
        async with _store_errors():
            entries = await self._store.read_log(run, after, limit)
        return [(stream_id, project_entry(text)) for stream_id, text in entries]

    @asynccontextmanager
    async def subscribe(self, run: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the run's log has grown."""
        async with self._store.subscribe(run) as grown:
            grown.set()
            yield grown

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
        """Runs, newest first."""
        group = _group_of(state)
        shown: list[dict[str, Any]] = []
        while True:
            try:
                async with _store_errors():
                    page = await self._store.list_runs(
                        namespace,
                        workflow=workflow,
                        state=group,
                        session=session,
                        limit=limit - len(shown),
                        cursor=cursor,
                    )
            except BadCursor as error:
                raise ValueError(str(error)) from error
            views = await asyncio.gather(*(self._listed(run) for run in page.runs))
            shown += [v for v in views if v and state in (None, group, v["state"])]
            cursor = page.cursor
            if cursor is None or len(shown) >= limit:
                return Page(tuple(shown), cursor)

    async def progress(
        self, attempt: Attempt, token: str, fraction: float | None, message: str | None
    ) -> None:
        """Append progress of an attempt to its run's log."""
        await self._attempt(attempt, token)
        slot = Slot(attempt.step, attempt.item)
        entry: dict[str, Any] = {
            "type": "step.progressed",
            "time": self._store.now_ms(),
            "step": attempt.step,
            "attempt": attempt.number,
        }
        optional = {"item": attempt.item, "fraction": fraction, "message": message}
        entry |= {name: value for name, value in optional.items() if value is not None}
        guard = Guard(field_of_slot(slot), attempt.number, REQUESTED)
        async with _store_errors():
            if not await self._store.append_progress(attempt.run, guard, dump(entry)):
                raise AttemptRefused(_not_running(attempt))

    async def require_attempt(self, attempt: Attempt, token: str) -> None:
        """Refuse whoever is not a running attempt with its token."""
        await self._attempt(attempt, token)

    async def put_blob(self, attempt: Attempt, token: str, digest: str, content: bytes) -> None:
        """Keep an output of a running attempt."""
        await self._attempt(attempt, token)
        async with _store_errors():
            if not await self._store.put_blob(attempt.run, digest, content):
                raise AttemptRefused(_not_running(attempt))

    async def get_blob(self, attempt: Attempt, token: str, digest: str) -> bytes | None:
        """Read a blob of the attempt's run."""
        await self._attempt(attempt, token)
        async with _store_errors():
            return await self._store.get_blob(attempt.run, digest)

    async def accept_event(self, namespace: str, broker: str, event: CloudEvent) -> str:
        """Store a user's event as a publication to a Broker."""
        publication = f"{uuid.uuid4()}-{secrets.randbelow(self._store.shards):02x}"
        body = encode_publication(namespace, broker, event)
        async with _store_errors():
            await self._store.put_event(publication, body, delay_ms=LEASE_MS)
        self._sweep.take(user_event_of(publication))
        return publication

    async def hook(self, run: str) -> Hook | None:
        """The run's webhook, or None if it has none or the run is gone."""
        async with _store_errors():
            head = await self._store.load(run)
        if head is None:
            return None
        known = await self._folder.read(head)
        if known.origin.webhook is None:
            return None
        saved = json.loads(head.fields.get(_HOOK_FIELD, "{}"))
        return Hook(known.namespace, known.workflow, known.origin.webhook, **saved)

    async def save_hook(self, run: str, *, after: str, attempts: int) -> None:
        """Remember how far a webhook was pushed."""
        text = json.dumps({"after": after, "attempts": attempts})
        async with _store_errors():
            for _ in range(_HOOK_RACES):
                version = await self._store.version(run)
                if version is None:
                    return
                commit = Commit(run=run, expected=version, events=(), fields={_HOOK_FIELD: text})
                if isinstance(await self._store.commit(commit), Committed):
                    return
        message = f"The webhook cursor of run {run} could not be saved."
        raise Unavailable(message)

    async def ping(self) -> None:
        """Ask the store whether it takes writes."""
        async with _store_errors():
            await self._store.ping()

    async def _fold(self, run: str, make: Input) -> bool:
        try:
            return (await self._folder.fold(run, make)).applied
        except RunGone as error:
            raise UnknownRun(_unknown(run)) from error
        except Raced as error:
            message = f"Run {run} is changing too fast at this moment."
            raise Unavailable(message) from error
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error

    async def _of(self, namespace: str, run: str) -> Run:
        """The run as the store has it now, if it belongs to the namespace."""
        return await self._found(namespace, run, self._folder.fresh)

    async def _found(self, namespace: str, run: str, read: Callable[[str], Awaitable[Run]]) -> Run:
        if not is_run_id(run):
            raise UnknownRun(_unknown(run))
        try:
            known = await read(run)
        except RunGone as error:
            raise UnknownRun(_unknown(run)) from error
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error
        if known.namespace != namespace:
            raise UnknownRun(_unknown(run))
        return known

    async def _open(self, namespace: str, run: str) -> Run:
        known = await self._of(namespace, run)
        _refuse_ended(known)
        return known

    async def _listed(self, run: str) -> dict[str, Any] | None:
        try:
            known = await self._folder.fresh(run)
        except RunGone:
            return None
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error
        view = view_of(known, {})
        del view["output"], view["steps"]
        return view

    async def _attempt(self, attempt: Attempt, token: str) -> Run:
        slot = Slot(attempt.step, attempt.item)
        try:
            run = await self._folder.get(attempt.run)
            if run.live.get(slot) != attempt.number:
                run = await self._folder.fresh(attempt.run)
        except (RunGone, ValueError) as error:
            raise AttemptRefused(_not_running(attempt)) from error
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error
        proven = is_token_of(token, run.secret, attempt.step, attempt.item, attempt.number)
        if not proven or run.live.get(slot) != attempt.number:
            raise AttemptRefused(_not_running(attempt))
        return run


@asynccontextmanager
async def _store_errors() -> AsyncIterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise Unavailable(str(error)) from error


def _refuse_ended(run: Run) -> None:
    if run.is_terminal:
        message = f"Run {run.id} is {run.state}: it has ended."
        raise RunFinished(message)


def _group_of(state: str | None) -> Literal["active", "finished"] | None:
    if state is None:
        return None
    ended = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)
    return "finished" if state in (*ended, "finished") else "active"


def _unknown(run: str) -> str:
    return f"There is no run {run!r} in this namespace, or its time to live has ended."


def _not_running(attempt: Attempt) -> str:
    slot = Slot(attempt.step, attempt.item)
    return f"Attempt {attempt.number} of {slot} in run {attempt.run} is not running."
