"""Serves one Trigger: takes its events from the stream, filters, delivers, and settles them.

Talks to the stream and to the subscriber; what follows from an answer is decided by `delivery`.
Each Trigger has a loop of its own and at most ``concurrency`` deliveries at once, so that a slow
subscriber holds up nobody else.
An event that waits for its next attempt holds no place among them.
"""

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from agentworkflow.engine.delivery import (
    DeliveryPolicy,
    Done,
    GiveUp,
    Later,
    Lost,
    Progress,
    dead_letter,
    judge_sink,
    judge_subscriber,
    loop_failure,
    reserved,
)
from agentworkflow.engine.delivery_http import DeliveryClient
from agentworkflow.engine.lossy import Lossy, plan_fate
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import MalformedEvent, from_json, to_json
from agentworkflow.store.errors import StoreError, StoreUnavailable
from agentworkflow.store.streams import NoSuchGroup, Postponed, StreamEntry, Streams
from agentworkflow.store.tasks import end_tasks

_log = logging.getLogger(__name__)

LEASE: Final = 60.0
"""Seconds after which an entry that its engine neither settled nor renewed is anyone's."""

POSTPONED_MAX: Final = 10_000
"""While so many events of a Trigger wait for another attempt, it takes no new ones."""

_READ_AHEAD: Final = 64
_STORE_PAUSE: Final = 0.5
_FAULT_PAUSE: Final = 5.0


class Filter(Protocol):
    """What a Trigger's filters compile to."""

    @property
    def exact_types(self) -> frozenset[str]:
        """The types that the filters name exactly."""
        ...

    def matches(self, event: CloudEvent) -> bool:
        """Whether all filters let the event through."""
        ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """A Trigger as the broker needs it.

    Attributes:
        broker: ``<namespace>/<broker>``.
        group: ``<workflow>/<trigger>``; what waits for it is kept under this name.
        filter: which events it wants.
        url: the subscriber.
        dead_letter_url: where events go that it does not take; None drops them.
        concurrency: deliveries at once.
    """

    broker: str
    group: str
    filter: Filter
    url: str
    dead_letter_url: str | None = None
    policy: DeliveryPolicy = field(default_factory=DeliveryPolicy)
    concurrency: int = 10


@dataclass(slots=True)
class Counts:
    """What a Trigger has done since it was subscribed."""

    filtered: int = 0
    delivered: int = 0
    retried: int = 0
    dead_lettered: int = 0
    lost: int = 0


class TriggerLoop:
    """The loop of one subscription; ``subscription`` may be replaced while it runs."""

    def __init__(
        self,
        subscription: Subscription,
        *,
        streams: Streams,
        client: DeliveryClient,
        consumer: str,
        settled: Callable[[], None],
        lossy: Lossy | None = None,
    ) -> None:
        self.subscription = subscription
        self.counts = Counts()
        self._streams = streams
        self._client = client
        self._consumer = consumer
        self._settled = settled
        self._lossy = lossy
        self._bell = asyncio.Event()
        self._backlog: deque[StreamEntry] = deque()
        self._deliveries: dict[str, asyncio.Task[None]] = {}
        self._postponed = 0

    def ring(self) -> None:
        """Say that the stream has grown."""
        self._bell.set()

    async def run(self) -> None:
        """Serve until cancelled; then what is under way is left to be taken up again."""
        renewal = asyncio.create_task(self._renew())
        try:
            while True:
                try:
                    await self._streams.open_group(self._broker, self._group)
                    held = await self._streams.recover(self._broker, self._group, self._consumer)
                    self._backlog.extend(entry for entry in held if not self._holds(entry.id))
                    await self._serve()
                except StoreUnavailable as error:
                    _log.warning("trigger %s waits for the store: %s", self._group, error)
                    await asyncio.sleep(_STORE_PAUSE)
                except NoSuchGroup:
                    _log.warning("trigger %s: its place in the stream was gone", self._group)
                except StoreError:
                    _log.exception("trigger %s goes on after a pause", self._group)
                    await asyncio.sleep(_FAULT_PAUSE)
        finally:
            await end_tasks([renewal, *self._deliveries.values()])

    @property
    def _broker(self) -> str:
        return self.subscription.broker

    @property
    def _group(self) -> str:
        return self.subscription.group

    def _holds(self, entry_id: str) -> bool:
        return entry_id in self._deliveries or any(e.id == entry_id for e in self._backlog)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        look_for_abandoned = loop.time() + LEASE
        while True:
            self._bell.clear()
            next_due = await self._fill()
            while self._backlog and self._has_place():
                self._begin(self._backlog.popleft())
            if not self._has_place():
                next_due = None  # the end of a delivery rings
            elif next_due == 0:
                continue
            wait = LEASE if next_due is None else min(next_due / 1000, LEASE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._bell.wait()
            if loop.time() >= look_for_abandoned:
                look_for_abandoned = loop.time() + LEASE
                await self._take_over()

    def _has_place(self) -> bool:
        return len(self._deliveries) < self.subscription.concurrency

    async def _take_over(self) -> None:
        """Go on with what another engine, or a delivery that failed in this one, has left."""
        abandoned = await self._streams.claim_abandoned(
            self._broker,
            self._group,
            self._consumer,
            idle_ms=int(LEASE * 1000),
            limit=_READ_AHEAD,
        )
        self._backlog.extend(entry for entry in abandoned if not self._holds(entry.id))

    async def _fill(self) -> int | None:
        """Take what there is place for; returns ms until the next postponed entry is due."""
        free = self.subscription.concurrency - len(self._deliveries)
        if free <= 0 or self._backlog:
            return None
        full = self._postponed >= POSTPONED_MAX
        taken = await self._streams.take(
            self._broker,
            self._group,
            self._consumer,
            fresh=0 if full else max(free, _READ_AHEAD),
            postponed=max(1, free // 2),
            lease_ms=int(LEASE * 1000),
        )
        self._postponed = taken.postponed
        new = [entry for entry in taken.entries if not self._holds(entry.id)]
        passed = [entry for entry in new if self._passes_by(entry)]
        if passed:
            self.counts.filtered += len(passed)
            await self._settle([entry.id for entry in passed])
        # What was postponed has waited longest.
        self._backlog.extendleft(e for e in reversed(new) if e.state)
        self._backlog.extend(e for e in new if not e.state and e not in passed)
        if len(taken.entries) >= _READ_AHEAD:
            return 0
        return taken.next_due_ms

    def _passes_by(self, entry: StreamEntry) -> bool:
        """Whether a new entry is none of this Trigger's business."""
        if entry.state:
            return False
        event = _event_of(entry)
        if event is None:
            return True
        wanted = self.subscription.filter
        try:
            return reserved(event, wanted.exact_types) or not wanted.matches(event)
        except Exception:  # noqa: BLE001 - a fault of one filter must not end its loop
            # As on Knative, an event that a filter cannot judge does not pass; the rest goes on.
            _log.exception("trigger %s: its filter failed at event %s", self._group, event.id)
            return True

    def _begin(self, entry: StreamEntry) -> None:
        task = asyncio.create_task(self._deliver(entry), name=f"deliver {self._group} {entry.id}")
        self._deliveries[entry.id] = task
        task.add_done_callback(lambda done: self._ended(entry, done))

    def _ended(self, entry: StreamEntry, task: asyncio.Task[None]) -> None:
        del self._deliveries[entry.id]
        self._bell.set()
        if not task.cancelled() and task.exception() is not None:
            # It stays pending in the stream and is taken up again, here or after a restart.
            _log.error(
                "trigger %s: delivery of entry %s failed in the engine",
                self._group,
                entry.id,
                exc_info=task.exception(),
            )

    async def _deliver(self, entry: StreamEntry) -> None:
        event = _event_of(entry)
        if event is None:
            await self._settle([entry.id])
            return
        progress = Progress.load(entry.state)
        if self._lossy is not None and not entry.state:
            await self._meet_fate(self._lossy, entry, event)
            return
        if progress.failure is None:
            failure = loop_failure(event, self.subscription.url)
            progress = Progress(progress.failed, failure)
        if progress.failure is None:
            now_dead = await self._to_subscriber(entry, event, progress)
            if now_dead is None:
                return
            progress = now_dead
        await self._to_sink(entry, event, progress)

    async def _meet_fate(self, lossy: Lossy, entry: StreamEntry, event: CloudEvent) -> None:
        holds = plan_fate(lossy, self._group, event).holds
        state = Progress().dump()
        copies = [
            Postponed(f"{entry.id}/{n}", entry.body, state, int(hold * 1000))
            for n, hold in enumerate(holds)
        ]
        if not copies:
            self.counts.lost += 1
        await self._settle([entry.id], postpone=copies)

    async def _to_subscriber(
        self, entry: StreamEntry, event: CloudEvent, progress: Progress
    ) -> Progress | None:
        """Deliver to the subscriber; returns the progress if the event must go to the sink."""
        subscription = self.subscription
        answer = await self._client.post(
            subscription.url, event, seconds=subscription.policy.timeout, take_reply=True
        )
        verdict = judge_subscriber(subscription.policy, progress, answer, event, subscription.url)
        match verdict:
            case Done(reply):
                self.counts.delivered += 1
                replies = [] if reply is None else [dump_event(reply)]
                await self._settle([entry.id], replies=replies)
            case Later():
                self.counts.retried += 1
                await self._postpone(entry, verdict)
            case GiveUp(dead):
                # Not its address: that of a start is signed, and a log is no place for it.
                _log.warning(
                    "trigger %s: its subscriber answered %s to event %s of %s; "
                    "it goes to the dead letters",
                    self._group,
                    answer.status,
                    event.id,
                    event.source,
                )
                return dead
        return None

    async def _to_sink(self, entry: StreamEntry, event: CloudEvent, progress: Progress) -> None:
        subscription = self.subscription
        failure = progress.failure
        if subscription.dead_letter_url is None or failure is None:
            self.counts.lost += 1
            await self._settle([entry.id])
            return
        letter = dead_letter(event, failure)
        answer = await self._client.post(
            subscription.dead_letter_url,
            letter,
            seconds=subscription.policy.timeout,
            take_reply=False,
        )
        verdict = judge_sink(subscription.policy, progress, answer)
        if isinstance(verdict, Later):
            await self._postpone(entry, verdict)
            return
        if isinstance(verdict, Lost):
            self.counts.lost += 1
            _log.error(
                "trigger %s: the dead-letter sink answered %s; event %s of %s is lost",
                self._group,
                answer.status,
                event.id,
                event.source,
            )
        else:
            self.counts.dead_lettered += 1
        await self._settle([entry.id])

    async def _postpone(self, entry: StreamEntry, verdict: Later) -> None:
        later = Postponed(entry.id, entry.body, verdict.progress.dump(), int(verdict.delay * 1000))
        await self._settle([], postpone=[later])

    async def _settle(
        self,
        done: Sequence[str],
        *,
        postpone: Sequence[Postponed] = (),
        replies: Sequence[str] = (),
    ) -> None:
        """Settle, however long the store takes to come back: the event was delivered."""
        while True:
            try:
                await self._streams.settle(
                    self._broker, self._group, done, postpone=postpone, replies=replies
                )
            except StoreUnavailable:
                await asyncio.sleep(_STORE_PAUSE)
            else:
                self._settled()
                return

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            held = [*self._deliveries, *(entry.id for entry in self._backlog)]
            if held:
                with contextlib.suppress(StoreError):
                    await self._streams.renew(
                        self._broker,
                        self._group,
                        self._consumer,
                        held,
                        lease_ms=int(LEASE * 1000),
                    )


def dump_event(event: CloudEvent) -> str:
    """Write an event as an entry of the stream holds it: structured JSON on one line."""
    return json.dumps(to_json(event), separators=(",", ":"), ensure_ascii=False)


def _event_of(entry: StreamEntry) -> CloudEvent | None:
    try:
        return from_json(json.loads(entry.body))
    except (ValueError, MalformedEvent):
        _log.exception("entry %s of the stream is no event and is dropped", entry.id)
        return None
