"""The shell around the fold: takes all that waits for one run, folds it, and commits it once.

Runs are independent of each other here: each has its own queue, and no run waits for another.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from agentworkflow.dispatcher.metrics import Metrics
from agentworkflow.dispatcher.shell.committing import (
    RESULTS_TTL_MS,
    Step,
    build_commit,
    build_surrender,
    saved,
)
from agentworkflow.dispatcher.shell.definitions import Definitions
from agentworkflow.dispatcher.shell.values import Loader
from agentworkflow.runs import due
from agentworkflow.runs.decide import decide, wanted
from agentworkflow.runs.events import Event, decode_event
from agentworkflow.runs.evolve import evolve
from agentworkflow.runs.head import digest_of_head, run_of_head
from agentworkflow.runs.ids import shard_of
from agentworkflow.runs.model import Run
from agentworkflow.store import (
    Commit,
    Committed,
    Conflict,
    Gone,
    Head,
    Store,
    StoreUnavailable,
)

_log = structlog.get_logger(__name__)

MAX_RACES: Final = 5
"""Commits of one batch that may lose against another dispatcher before the batch gives way."""

_TRIES: Final = 3
"""Times that a batch is tried when `evolve` or `decide` raises."""

_PAUSE: Final = 0.2
"""Seconds before an input that must not be lost is tried again."""

_KEPT_RUNS: Final = 1_000
"""Runs in memory; any other is read when something happens to it."""

Input = Callable[[Run, int], Event | None]
"""Makes an event of the run as it is now and the store's time; None for nothing to say."""


class RunGone(Exception):  # noqa: N818 - it names the state of the run
    """There is no such run, or no more."""


class Raced(Exception):  # noqa: N818 - it names what happened
    """Other dispatchers were faster, five times. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Folded:
    """What came of an input.

    Attributes:
        run: the run after the commit.
        applied: False if the input was stale and changed nothing.
    """

    run: Run
    applied: bool


class Committer(Protocol):
    """Told of each commit, so that what it made due is done at once."""

    def on_commit(self, run: Run, now_due: Sequence[str], undue: Sequence[str]) -> None:
        """Act on `now_due`, which is leased to us, and give up what is `undue`."""
        ...

    def on_later(self, run: str, at: int) -> None:
        """Something of a run is due at `at`, in ms: look then, not only at the next sweep."""
        ...


@dataclass(slots=True)
class _Waiting:
    make: Input
    patient: bool
    done: asyncio.Future[Folded]


class Folder:
    """Loads, folds and commits runs."""

    def __init__(
        self, store: Store, definitions: Definitions, loader: Loader, metrics: Metrics
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._definitions = definitions
        self._loader = loader
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._queues: dict[str, deque[_Waiting]] = {}
        self._closing = False
        self._workers: set[asyncio.Task[None]] = set()
        self.committer: Committer | None = None

    async def aclose(self) -> None:
        """Let what is being committed end; what the store does not take now is dropped.

        An answer that is dropped comes again: its call is still due.
        """
        self._closing = True
        while self._workers:
            await asyncio.gather(*self._workers, return_exceptions=True)

    async def get(self, run: str) -> Run:
        """The run, perhaps as it was a moment ago.

        Raises:
            RunGone, StoreUnavailable.
        """
        known = self._runs.get(run)
        return await self._load(run) if known is None else known

    async def fresh(self, run: str) -> Run:
        """The run as the store has it now.

        Raises:
            RunGone, StoreUnavailable.
        """
        known = self._runs.get(run)
        if known is not None and (
            known.is_terminal or await self._store.version(run) == known.version
        ):
            return known
        return await self._load(run)

    def remember(self, run: Run) -> None:
        """Keep a run that was just stored."""
        self._runs[run.id] = run
        self._runs.move_to_end(run.id)
        while len(self._runs) > _KEPT_RUNS:
            self._runs.popitem(last=False)

    def forget(self, run: str) -> None:
        """Drop what is kept of a run."""
        self._runs.pop(run, None)

    async def fold(self, run: str, make: Input, *, patient: bool = False) -> Folded:
        """Fold one input into a run, together with whatever else waits for the run.

        Args:
            run: the run id.
            make: gives the event; it is asked again whenever the run has changed meanwhile.
            patient: the input must not be lost: it is tried until the store takes it.

        Raises:
            RunGone, Raced, StoreUnavailable: the last two only for an impatient input.
        """
        waiting = _Waiting(make, patient, asyncio.get_running_loop().create_future())
        queue = self._queues.get(run)
        if queue is None:
            self._queues[run] = deque([waiting])
            worker = asyncio.create_task(self._work(run), name=f"fold {run}")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        else:
            queue.append(waiting)
        return await waiting.done

    async def settle(self, step: Step, now: int) -> Step:
        """Decide and evolve until the run has to wait for something."""
        while True:
            values = await self._loader.load(step.run, wanted(step.run), step.fresh)
            commands = decide(step.run, values, now)
            if not commands:
                return step
            for command in commands:
                step = step.folded(command)

    async def _work(self, run: str) -> None:
        queue = self._queues[run]
        try:
            while queue:
                batch = list(queue)
                queue.clear()
                again = await self._fold_batch(run, batch)
                if again:
                    queue.extendleft(reversed(again))
                    if self._closing:
                        return
                    await asyncio.sleep(_PAUSE)
        finally:
            del self._queues[run]
            for waiting in queue:
                waiting.done.cancel()

    async def _fold_batch(self, run: str, batch: list[_Waiting]) -> list[_Waiting]:
        """Fold a batch; returns the inputs that have to be tried again."""
        for attempt in range(1, _TRIES + 1):
            try:
                await self._fold_once(run, batch)
            except (RunGone, Raced, StoreUnavailable) as error:
                return _refuse(batch, error)
            except Exception:  # noqa: BLE001 - whatever it is, the run has to end
                self.forget(run)
                _log.exception("fold failed", run=run, attempt=attempt)
            else:
                return []
        try:
            await self.give_up(run)
        except (RunGone, Raced, StoreUnavailable) as error:
            return _refuse(batch, error)
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever
            _log.exception("run could not be ended", run=run)
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
            return []
        return await self._fold_batch(run, batch)

    async def _fold_once(self, run_id: str, batch: Sequence[_Waiting]) -> None:
        run = await self.get(run_id)
        for _ in range(MAX_RACES):
            now = self._store.now_ms()
            step = Step(run)
            applied: list[bool] = []
            for waiting in batch:
                event = None if step.run.is_terminal else waiting.make(step.run, now)
                before = step
                step = step if event is None else step.folded(event)
                applied.append(step is not before)
            if step.events:
                step = await self.settle(step, now)
                commit = build_commit(step, now)
                result = await self._commit(commit)
                if isinstance(result, Conflict):
                    run = await self._catch_up(run, result)
                    continue
                run = self.stored(step, commit.events, now, result.next_run)
            elif await self._is_stale(run):
                # What we think of as stale may be news to the run as it is now.
                run = await self._load(run_id)
                continue
            for waiting, was_applied in zip(batch, applied, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(Folded(run, was_applied))
            return
        raise Raced(run_id)

    async def _is_stale(self, run: Run) -> bool:
        return not run.is_terminal and await self._store.version(run.id) != run.version

    async def _commit(self, commit: Commit) -> Committed | Conflict:
        try:
            result = await self._store.commit(commit)
        except StoreUnavailable as error:
            self.forget(commit.run)
            if not error.outcome_unknown:
                raise
            # The same commit again: the store knows it by its call id.
            await asyncio.sleep(_PAUSE)
            result = await self._store.commit(commit)
        self._metrics.commits.labels(type(result).__name__.lower()).inc()
        if isinstance(result, Gone):
            self.forget(commit.run)
            raise RunGone(commit.run)
        return result

    def stored(
        self, step: Step, texts: Sequence[str], now: int, next_run: str | None = None
    ) -> Run:
        """Go on from a step that is durable now: keep the run, and act on what became due."""
        run = saved(step.run)
        self.remember(run)
        self._loader.remember(run.id, step.fresh, step.sizes(texts))
        added = step.run.unsaved.due
        now_due = [member for member, at in added.items() if at <= now]
        if next_run is not None:
            now_due.append(due.start_of(next_run))
        if self.committer is not None:
            self.committer.on_commit(run, now_due, tuple(step.run.unsaved.undue))
            later = [at for at in added.values() if at > now]
            if later:
                self.committer.on_later(run.id, min(later))
        return run

    async def _catch_up(self, run: Run, conflict: Conflict) -> Run:
        if conflict.version < run.version or len(conflict.events) != conflict.version - run.version:
            self.forget(run.id)
            return await self._load(run.id)
        for text in conflict.events:
            event = decode_event(text)
            if event is not None:
                run = saved(evolve(run, event))
        self.remember(run)
        return run

    async def _load(self, run: str) -> Run:
        head = await self._store.load(run)
        if head is None:
            self.forget(run)
            raise RunGone(run)
        loaded = await self.read(head)
        self.remember(loaded)
        return loaded

    async def read(self, head: Head) -> Run:
        """The run that a head describes."""
        digest = digest_of_head(head.fields)
        definition = await self._definitions.get(shard_of(head.run), digest)
        return run_of_head(head.run, head.secret, head.version, head.fields, definition)

    async def give_up(self, run: str) -> None:
        """End a run that the fold cannot go on with, by a commit that needs no fold."""
        for _ in range(MAX_RACES):
            head = await self._store.load(run)
            if head is None:
                raise RunGone(run)
            if head.finished_ms is not None:
                return
            ttl = await self._results_ttl(head)
            commit = build_surrender(head, self._store.now_ms(), ttl)
            result = await self._store.commit(commit)
            self.forget(run)
            if isinstance(result, Committed):
                _log.error("run ended as InternalError", run=run)
                if self.committer is not None:
                    self.committer.on_later(run, 0)
                return
        raise Raced(run)

    async def _results_ttl(self, head: Head) -> int:
        try:
            definition = await self._definitions.get(shard_of(head.run), head.digest)
        except (LookupError, ValueError):
            # The definition itself may be what the run cannot go on with.
            return RESULTS_TTL_MS
        return definition.results_ttl_ms


def _refuse(batch: Sequence[_Waiting], error: Exception) -> list[_Waiting]:
    """Refuse the impatient; the patient are tried again, unless the run is gone."""
    again = []
    for waiting in batch:
        if waiting.patient and not isinstance(error, RunGone):
            again.append(waiting)
        elif not waiting.done.done():
            waiting.done.set_exception(error)
    return again
