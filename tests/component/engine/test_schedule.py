"""The schedule source: PingSource's events, at times that the test drives."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from agentworkflow.engine.broker import Broker
from agentworkflow.engine.schedule import Schedules, ScheduleSource
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.store.errors import StoreUnavailable
from agentworkflow.store.streams import Streams

BROKER = "shop/default"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def nightly(**changes: Any) -> ScheduleSource:
    given: dict[str, Any] = {
        "namespace": "shop",
        "name": "insights--nightly",
        "broker": BROKER,
        "cron": "0 2 * * *",
        "data": {"period": "Day"},
    }
    return ScheduleSource(**(given | changes))


class Clock:
    """Time that moves only when everybody waits for it."""

    def __init__(self, text: str) -> None:
        self.now = ms(text)
        self._until: int | None = None
        self._arrived = asyncio.Event()

    def now_ms(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if self._until is not None and self.now + seconds * 1000 > self._until:
            self.now = self._until
            self._arrived.set()
            await asyncio.Event().wait()
        self.now += int(seconds * 1000)
        await asyncio.sleep(0)

    async def run_until(self, text: str) -> None:
        self._until = ms(text)
        self._arrived.clear()
        await asyncio.wait_for(self._arrived.wait(), 20)


class Sink:
    """Remembers ticks; fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.fired: list[tuple[str, int, CloudEvent]] = []
        self._failures = failures

    async def publish_tick(
        self,
        broker: str,  # noqa: ARG002 - the broker's own signature
        source: str,
        tick_ms: int,
        event: CloudEvent,
    ) -> bool:
        if self._failures:
            self._failures -= 1
            raise StoreUnavailable("Connection", "away")
        self.fired.append((source, tick_ms, event))
        return True


async def fire(schedule: ScheduleSource, start: str, end: str, sink: Sink) -> list[str]:
    clock = Clock(start)
    schedules = Schedules(sink, now_ms=clock.now_ms, sleep=clock.sleep)
    arrived = asyncio.create_task(clock.run_until(end))
    await asyncio.sleep(0)
    await schedules.replace("shop/insights", [schedule])
    await arrived
    await schedules.aclose()
    return [datetime.fromtimestamp(t / 1000, UTC).isoformat() for _, t, _ in sink.fired]


def test_the_event_is_pingsources() -> None:
    event = nightly().event(ms("2026-03-01T02:00:00+00:00"))
    assert event.type == "dev.knative.sources.ping"
    assert event.source == "/apis/v1/namespaces/shop/pingsources/insights--nightly"
    assert event.time == "2026-03-01T02:00:00Z"
    assert event.datacontenttype == "application/json"
    assert event.data == {"period": "Day"}
    assert event.subject is None
    assert event.extensions == {}


def test_the_event_of_a_tick_has_one_id_and_each_tick_its_own() -> None:
    schedule = nightly()
    assert schedule.event(1000).id == schedule.event(1000).id != schedule.event(2000).id


def test_without_data_the_event_has_none() -> None:
    event = nightly(data=None).event(0)
    assert (event.data, event.datacontenttype) == (None, None)


async def test_it_fires_at_each_time_of_its_cron() -> None:
    times = await fire(nightly(), "2026-03-01T01:00:00+00:00", "2026-03-03T03:00:00+00:00", Sink())
    assert times == [
        "2026-03-01T02:00:00+00:00",
        "2026-03-02T02:00:00+00:00",
        "2026-03-03T02:00:00+00:00",
    ]


async def test_it_follows_its_time_zone_over_the_change_to_summer_time() -> None:
    schedule = nightly(cron="0 9 * * *", timezone="Europe/Berlin")
    times = await fire(schedule, "2026-03-28T00:00:00+00:00", "2026-03-29T12:00:00+00:00", Sink())
    assert times == ["2026-03-28T08:00:00+00:00", "2026-03-29T07:00:00+00:00"]


async def test_what_was_missed_while_the_machine_slept_is_not_made_up_for() -> None:
    sink = Sink()
    clock = Clock("2026-03-01T01:59:59+00:00")

    async def sleep(seconds: float) -> None:
        if clock.now < ms("2026-03-01T02:00:00+00:00"):
            clock.now = ms("2026-03-03T01:00:00+00:00")
            return
        await clock.sleep(seconds)

    schedules = Schedules(sink, now_ms=clock.now_ms, sleep=sleep)
    arrived = asyncio.create_task(clock.run_until("2026-03-03T03:00:00+00:00"))
    await asyncio.sleep(0)
    await schedules.replace("shop/insights", [nightly()])
    await arrived
    await schedules.aclose()
    assert [tick for _, tick, _ in sink.fired] == [ms("2026-03-03T02:00:00+00:00")]


async def test_a_tick_waits_for_a_store_that_is_away() -> None:
    times = await fire(
        nightly(), "2026-03-01T01:00:00+00:00", "2026-03-01T03:00:00+00:00", Sink(failures=5)
    )
    assert times == ["2026-03-01T02:00:00+00:00"]


async def test_a_schedule_that_left_the_workflow_is_silent() -> None:
    sink = Sink()
    clock = Clock("2026-03-01T01:00:00+00:00")
    schedules = Schedules(sink, now_ms=clock.now_ms, sleep=clock.sleep)
    await schedules.replace("shop/insights", [nightly()])
    await schedules.replace("shop/other", [nightly(name="other--hourly", cron="0 * * * *")])
    await schedules.replace("shop/insights", [])
    await clock.run_until("2026-03-01T02:30:00+00:00")
    await schedules.aclose()
    assert {source for source, _, _ in sink.fired} == {"other--hourly"}


@pytest.fixture
async def broker(valkey: Any) -> AsyncIterator[Broker]:
    streams = await Streams.connect(valkey.url)
    made = Broker(streams, consumer="engine")
    made.create(BROKER)
    await streams.open_group(BROKER, "nobody")
    yield made
    await made.aclose()
    await streams.aclose()


async def test_a_restart_in_the_same_second_does_not_fire_again(
    broker: Broker, valkey: Any
) -> None:
    tick = ms("2026-03-01T02:00:00+00:00")
    schedule = nightly()
    assert await broker.publish_tick(BROKER, schedule.name, tick, schedule.event(tick))
    await valkey.kill()
    await valkey.start()
    assert not await broker.publish_tick(BROKER, schedule.name, tick, schedule.event(tick))
