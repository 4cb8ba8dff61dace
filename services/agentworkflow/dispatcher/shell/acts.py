"""What is done for each kind of due entry."""

import json
from collections.abc import Awaitable, Callable

from agentworkflow.dispatcher.shell.calls import Calls
from agentworkflow.dispatcher.shell.folding import Folder
from agentworkflow.dispatcher.shell.publications import Publications
from agentworkflow.runs.decide import elapsed
from agentworkflow.runs.due import DueEntry, webhook_of
from agentworkflow.runs.events import DeadlineReached, Event, RunStarted, StepFailed
from agentworkflow.runs.model import Run
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.values import Inline
from agentworkflow.store import Store


class Acts:
    """Acts on due entries, each by its kind."""

    def __init__(
        self,
        store: Store,
        folder: Folder,
        calls: Calls,
        publications: Publications,
    ) -> None:
        self._store = store
        self._folder = folder
        self._calls = calls
        self._publications = publications
        self.push: Callable[[str], Awaitable[float | None]] | None = None

    async def act(self, entry: DueEntry) -> bool:
        """Act on an entry; False if it is of no use any more."""
        slot = entry.slot or Slot("")
        match entry.kind:
            case "call":
                return await self._calls.call(entry.run, slot, entry.number)
            case "attempt":
                return await self._fold(entry.run, _attempt_over(slot, entry.number))
            case "deadline":
                return await self._fold(entry.run, _deadline_over)
            case "wait":
                return await self._fold(entry.run, _wait_over(slot.step))
            case "start":
                return await self._start(entry.run)
            case "pub":
                return await self._publications.publish_news(entry.run, entry.number)
            case "event":
                return await self._publications.publish_event(entry.run)
            case "hook":
                return await self._deliver(entry.run)
        await self._store.purge(entry.run)
        self._folder.forget(entry.run)
        return False

    async def _deliver(self, run: str) -> bool:
        if self.push is None:
            # The doors are not built yet, or this dispatcher has none: it stays due.
            return True
        version = await self._store.version(run)
        delay = await self.push(run)
        if version is None:
            return False
        if delay is None:
            # What a commit has added meanwhile is still owed.
            await self._store.settle(webhook_of(run), version)
            return True
        await self._store.again(webhook_of(run), round(delay * 1000))
        return True

    async def _fold(self, run: str, make: Callable[[Run, int], Event | None]) -> bool:
        folded = await self._folder.fold(run, make, patient=True)
        # A timer that changed something was removed by that commit; a stale one is of no use.
        return folded.applied

    async def _start(self, run: str) -> bool:
        waiting = await self._folder.fresh(run)
        if waiting.session is None or waiting.started is not None:
            return False
        state = await self._store.read_session(waiting.namespace, waiting.workflow, waiting.session)
        if state.active != run:
            return False
        value = None if state.value is None else json.loads(state.value)

        def make(_run: Run, now: int) -> Event:
            return RunStarted(time=now, session=Inline(value))

        return await self._fold(run, make)


def _attempt_over(slot: Slot, attempt: int) -> Callable[[Run, int], Event | None]:
    def make(run: Run, now: int) -> Event:
        spec = run.spec(slot.step)
        allowed = (spec.timeout_ms + spec.start_timeout_ms) / 1000
        problem = {
            "type": "https://agentworkflow.dev/problems/DeadlineExceeded",
            "title": "The attempt did not answer in time",
            "detail": f"`timeout` and `startTimeout` of function {spec.function!r} allow "
            f"{allowed:g} s.",
            "reason": "DeadlineExceeded",
        }
        return StepFailed(
            time=now,
            step=slot.step,
            item=slot.item,
            attempt=attempt,
            reason="DeadlineExceeded",
            problem=problem,
        )

    return make


def _deadline_over(run: Run, now: int) -> Event | None:
    # The store's clock said that it is due; ours, read a moment later, may be a little behind.
    return None if run.deadline is None else DeadlineReached(time=now)


def _wait_over(step: str) -> Callable[[Run, int], Event | None]:
    def make(run: Run, now: int) -> Event:
        return elapsed(run, step, now)

    return make
