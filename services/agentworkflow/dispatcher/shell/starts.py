"""Starts of runs: one script that creates the run with its first call already due."""

import asyncio
import json
import secrets
from dataclasses import replace
from typing import Final

from agentworkflow.dispatcher.ports import (
    MAX_DEPTH,
    Catalog,
    InvalidInput,
    KeyReused,
    LoopDetected,
    RunExpired,
    StartCommand,
    Ticket,
    Unavailable,
)
from agentworkflow.dispatcher.shell.committing import Step, build_opening, leased, request_hash
from agentworkflow.dispatcher.shell.definitions import Definitions
from agentworkflow.dispatcher.shell.folding import Folder
from agentworkflow.events.http import to_json
from agentworkflow.runs.events import RunRequested, RunStarted, encode_event
from agentworkflow.runs.head import unsaved_fields
from agentworkflow.runs.ids import run_id_of_event, run_id_of_request
from agentworkflow.runs.model import blank
from agentworkflow.runs.values import EventData, Inline, Value
from agentworkflow.store import (
    Created,
    Existing,
    SessionBusy,
    SessionChanged,
    SessionState,
    Start,
    StartResult,
    Store,
    StoreUnavailable,
    Tombstoned,
)
from agentworkflow.workflow.definition import Definition

_RACES: Final = 5
_SECRET_BYTES: Final = 24
_PAUSE: Final = 0.05


class Starts:
    """Creates runs."""

    def __init__(
        self, store: Store, folder: Folder, definitions: Definitions, catalog: Catalog
    ) -> None:
        self._store = store
        self._folder = folder
        self._definitions = definitions
        self._catalog = catalog

    async def start(self, command: StartCommand) -> Ticket:
        """Make a run durable, once for each key or event.

        Raises:
            UnknownWorkflow, InvalidInput, LoopDetected, KeyReused, RunExpired, Unavailable,
            StoreUnavailable.
        """
        definition = self._catalog.get(command.namespace, command.workflow).definition
        _check(command, definition)
        self._definitions.remember(definition)
        command = await self._claimed(command, definition)
        run = _run_id(command, self._store.shards)
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        state = SessionState()
        if command.session is not None:
            state = await self._store.read_session(
                command.namespace, command.workflow, command.session
            )
        for _ in range(_RACES):
            now = self._store.now_ms()
            requested = Step(blank(run, secret, definition)).folded(
                _requested(command, definition, now)
            )
            value = None if state.value is None else json.loads(state.value)
            begun = await self._folder.settle(
                requested.folded(RunStarted(time=now, session=Inline(value))), now
            )
            start = _build_start(command, definition, requested, begun, state, now)
            result = await self._ask(start)
            if isinstance(result, SessionChanged):
                state = result.state
                continue
            return self._ticket(result, start, requested, begun, now)
        message = f"Session {command.session!r} is changing too fast at this moment."
        raise Unavailable(message)

    async def _claimed(self, command: StartCommand, definition: Definition) -> StartCommand:
        """The start with the session that the event's first start had.

        A run lives in its session's shard, so triggers that give one event different sessions would
        make runs in different shards, where no script sees both. The first start says in the
        shard of the event alone which session it is.
        """
        event = command.started_by.event
        may_differ = any(trigger.session is not None for trigger in definition.triggers.values())
        if event is None or self._store.shards == 1 or not may_differ:
            return command
        anchor = _run_id(replace(command, session=None), self._store.shards)
        claim = await self._store.claim_event(anchor, json.dumps(command.session))
        return replace(command, session=json.loads(claim))

    async def _ask(self, start: Start) -> StartResult:
        try:
            return await self._store.start(start)
        except StoreUnavailable as error:
            if not error.outcome_unknown:
                raise
        # The same start again: the store knows it by its call id.
        await asyncio.sleep(_PAUSE)
        return await self._store.start(start)

    def _ticket(
        self, result: StartResult, start: Start, requested: Step, begun: Step, now: int
    ) -> Ticket:
        match result:
            case Created():
                self._folder.stored(begun, start.events, now)
                return Ticket(result.run, created=True)
            case SessionBusy():
                self._folder.stored(requested, start.events[:1], now)
                return Ticket(result.run, created=True)
            case Existing() if not result.same_request:
                message = (
                    "This Idempotency-Key was used for another request; "
                    f"it names run {result.run}. Use a new key."
                )
                raise KeyReused(message)
            case Tombstoned():
                message = (
                    f"Run {result.run} had this key or event, and its time to live has ended. "
                    "Use a new key."
                )
                raise RunExpired(message)
        return Ticket(start.run, created=False)


def _check(command: StartCommand, definition: Definition) -> None:
    if command.started_by.depth > MAX_DEPTH:
        message = (
            f"The start lies {command.started_by.depth} events deep; {MAX_DEPTH} are allowed. "
            "Look for a workflow whose own events start it again."
        )
        raise LoopDetected(message)
    if not definition.plan.steps:
        message = f"Workflow {definition.name!r} has no steps: events start its functions alone."
        raise InvalidInput(message)


def _run_id(command: StartCommand, shards: int) -> str:
    event = command.started_by.event
    if event is not None:
        return run_id_of_event(
            command.namespace,
            command.workflow,
            command.session,
            event.source,
            event.id,
            shards=shards,
        )
    return run_id_of_request(
        command.namespace,
        command.workflow,
        command.session,
        command.idempotency_key,
        shards=shards,
    )


def _requested(command: StartCommand, definition: Definition, now: int) -> RunRequested:
    origin = command.started_by
    event: Value | None = None
    value: Value = Inline(command.input)
    cause = None
    if origin.event is not None:
        event = Inline(to_json(origin.event))
        cause = {
            "source": origin.event.source,
            "id": origin.event.id,
            "type": origin.event.type,
        }
        if command.input == origin.event.data:
            # The default input is the event's data: it is stored once.
            value = EventData()
    deadline = definition.deadline_ms
    return RunRequested(
        time=now,
        digest=definition.digest,
        input=value,
        kind=origin.kind,
        trigger=origin.trigger,
        event=event,
        cause=cause,
        session=command.session,
        webhook=command.webhook,
        depth=origin.depth,
        deadline=None if deadline is None else now + deadline,
        random=origin.event is None and command.idempotency_key is None,
        trace=origin.trace,
    )


def _build_start(
    command: StartCommand,
    definition: Definition,
    requested: Step,
    begun: Step,
    state: SessionState,
    now: int,
) -> Start:
    run = begun.run
    is_event = command.started_by.event is not None
    in_session = command.session is not None
    return Start(
        run=run.id,
        namespace=command.namespace,
        workflow=command.workflow,
        digest=definition.digest,
        definition=definition.resource_json,
        secret=run.secret,
        created_ms=run.created,
        events=tuple(encode_event(event) for event in begun.events),
        fields=unsaved_fields(run),
        due={member: leased(at, now) for member, at in run.unsaved.due.items()},
        blobs=begun.blobs,
        named=not run.origin.random,
        request_hash=None
        if is_event
        else request_hash(command.input, command.session, command.webhook),
        session=command.session,
        session_version=state.version if in_session else None,
        queued=build_opening(requested, now) if in_session else None,
    )
