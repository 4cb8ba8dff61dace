"""The schedule source: sends the events that Knative's PingSource sends, at the same times.

When is decided here from a cron expression and a time zone; the clock is passed in.
A tick is appended to the broker in the script that remembers it, so a restart in the same second
does not fire it again.
Ticks that were missed while no engine ran are not made up for: PingSource does not either.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.store.errors import StoreUnavailable
from agentworkflow.store.streams import StreamFull
from agentworkflow.store.tasks import end_tasks

_log = logging.getLogger(__name__)

PING_TYPE: Final = "dev.knative.sources.ping"

# A laptop that sleeps, or a clock that is set, is noticed after so many seconds.
_LOOK: Final = 30.0
_AGAIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class ScheduleSource:
    """One entry of `sources` with a schedule.

    Attributes:
        name: ``<workflow>--<source>``, the name that its PingSource has on a cluster.
        broker: ``<namespace>/<broker>`` that its events go to.
        data: of each event; None for events without data.
    """

    namespace: str
    name: str
    broker: str
    cron: str
    timezone: str = "UTC"
    data: Any = None

    @property
    def source(self) -> str:
        """The events' `source` attribute."""
        return f"/apis/v1/namespaces/{self.namespace}/pingsources/{self.name}"

    def next_tick(self, after_ms: int) -> int | None:
        """The first time after ``after_ms`` at which it fires, in ms; None if it never does."""
        after = datetime.fromtimestamp(after_ms / 1000, ZoneInfo(self.timezone))
        found = next(CronSim(self.cron, after), None)
        return None if found is None else int(found.timestamp() * 1000)

    def event(self, tick_ms: int) -> CloudEvent:
        """The event of one tick; its id is the same however often it is made."""
        tick = datetime.fromtimestamp(tick_ms / 1000, UTC)
        return CloudEvent(
            id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.source}#{tick_ms}")),
            source=self.source,
            type=PING_TYPE,
            time=tick.strftime("%Y-%m-%dT%H:%M:%SZ"),
            datacontenttype=None if self.data is None else "application/json",
            data=self.data,
        )


class TickSink(Protocol):
    """Where ticks go: the broker."""

    async def publish_tick(self, broker: str, source: str, tick_ms: int, event: CloudEvent) -> bool:
        """Append the event of a tick, once; False if it was appended before."""
        ...


def wall_clock_ms() -> int:
    """Now, by the machine's clock: schedules follow the wall, not the store."""
    return time.time_ns() // 1_000_000


class Schedules:
    """All schedules of one engine."""

    def __init__(
        self,
        sink: TickSink,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sink = sink
        self._now_ms = now_ms
        self._sleep = sleep
        self._running: dict[str, list[tuple[ScheduleSource, asyncio.Task[None]]]] = {}

    async def replace(self, owner: str, sources: Sequence[ScheduleSource]) -> None:
        """Run these schedules of a workflow (``<namespace>/<workflow>``) and no others of it.

        A schedule that did not change goes on as it is.
        """
        before = self._running.pop(owner, [])
        kept = [(source, task) for source, task in before if source in sources]
        await end_tasks(task for source, task in before if source not in sources)
        known = [source for source, _ in kept]
        new = [
            (source, asyncio.create_task(self._run(source), name=f"schedule {source.name}"))
            for source in sources
            if source not in known
        ]
        if kept or new:
            self._running[owner] = kept + new

    async def aclose(self) -> None:
        """Stop all schedules."""
        await end_tasks(task for running in self._running.values() for _, task in running)
        self._running.clear()

    async def _run(self, schedule: ScheduleSource) -> None:
        after = self._now_ms()
        while (tick := schedule.next_tick(after)) is not None:
            while (wait := tick - self._now_ms()) > 0:
                await self._sleep(min(wait / 1000, _LOOK))
            await self._fire(schedule, tick)
            # What passed while this machine slept is not made up for.
            after = max(tick, self._now_ms() - 1000)
        _log.warning("schedule %s has no further time: %s", schedule.name, schedule.cron)

    async def _fire(self, schedule: ScheduleSource, tick: int) -> None:
        if self._now_ms() - tick > _LOOK * 1000:
            _log.warning("schedule %s: the tick at %d ms was missed", schedule.name, tick)
            return
        while True:
            try:
                if await self._sink.publish_tick(
                    schedule.broker, schedule.name, tick, schedule.event(tick)
                ):
                    _log.info("schedule %s fired", schedule.name)
            except (StoreUnavailable, StreamFull) as error:
                _log.warning("schedule %s fires again soon: %s", schedule.name, error)
                await self._sleep(_AGAIN)
            else:
                return
