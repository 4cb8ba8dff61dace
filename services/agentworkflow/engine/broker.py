"""The embedded broker: takes events durably and keeps a loop for each Trigger.

Talks to the streams of the store.
It stands where a Knative Broker stands on a cluster, and keeps to the same contract.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from agentworkflow.engine.broker_trigger import Counts, Subscription, TriggerLoop, dump_event
from agentworkflow.engine.delivery_http import DeliveryClient
from agentworkflow.engine.lossy import Lossy
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.store.errors import StoreError
from agentworkflow.store.streams import Streams
from agentworkflow.store.tasks import end_tasks

_log = logging.getLogger(__name__)

MAX_EVENTS: Final = 20_000
"""So many events may wait in one broker; then producers are told to come again (429)."""

# Below redis-py's own timeout for a silent socket.
_BLOCK_MS: Final = 5_000
_TRIM_PAUSE: Final = 0.5
_STORE_PAUSE: Final = 0.5


class UnknownBroker(LookupError):  # noqa: N818 - it names what was asked for
    """No broker of this name was created."""


class Broker:
    """All brokers of one engine.

    ``consumer`` names the engine: what it held when it was killed comes back to the same name.
    """

    def __init__(
        self,
        streams: Streams,
        *,
        consumer: str,
        lossy: Lossy | None = None,
        max_events: int = MAX_EVENTS,
    ) -> None:
        self._streams = streams
        self._consumer = consumer
        self._lossy = lossy
        self._max_events = max_events
        self._client = DeliveryClient()
        self._triggers: dict[tuple[str, str], tuple[TriggerLoop, asyncio.Task[None]]] = {}
        self._watchers: dict[str, list[asyncio.Task[None]]] = {}
        self._settled: dict[str, asyncio.Event] = {}

    @property
    def names(self) -> frozenset[str]:
        """The brokers that exist, as ``<namespace>/<name>``."""
        return frozenset(self._watchers)

    def counts(self) -> Mapping[tuple[str, str], Counts]:
        """What each Trigger, by broker and group, has done."""
        return {key: loop.counts for key, (loop, _) in self._triggers.items()}

    def subscriptions(self) -> frozenset[tuple[str, str]]:
        """The Triggers that are served, by broker and group."""
        return frozenset(self._triggers)

    def create(self, broker: str) -> None:
        """Create a broker; one that exists stays as it is."""
        if broker in self._watchers:
            return
        self._settled[broker] = asyncio.Event()
        self._watchers[broker] = [
            asyncio.create_task(self._watch(broker), name=f"watch {broker}"),
            asyncio.create_task(self._trim(broker), name=f"trim {broker}"),
        ]

    async def publish(self, broker: str, events: Sequence[CloudEvent]) -> None:
        """Append events, all or none; when this returns they are on disk.

        Raises:
            UnknownBroker: no such broker.
            StreamFull: as many events wait as may.
            StoreUnavailable: nothing is known about what was appended.
        """
        self._check(broker)
        await self._streams.append(
            broker, [dump_event(event) for event in events], limit=self._max_events
        )
        self._ring(broker)

    async def publish_tick(self, broker: str, source: str, tick_ms: int, event: CloudEvent) -> bool:
        """Append what a schedule fires, once for each tick; raises as `publish` does."""
        self._check(broker)
        appended = await self._streams.append_tick(
            broker, source, tick_ms, dump_event(event), limit=self._max_events
        )
        self._ring(broker)
        return appended

    async def subscribe(self, subscription: Subscription) -> None:
        """Serve a Trigger from now on, or serve it differently; what waits for it is kept."""
        self.create(subscription.broker)
        key = (subscription.broker, subscription.group)
        if key in self._triggers:
            self._triggers[key][0].subscription = subscription
            return
        await self._streams.open_group(*key)
        loop = TriggerLoop(
            subscription,
            streams=self._streams,
            client=self._client,
            consumer=self._consumer,
            settled=self._settled[subscription.broker].set,
            lossy=self._lossy,
        )
        self._triggers[key] = (loop, asyncio.create_task(loop.run(), name=f"trigger {key[1]}"))

    async def unsubscribe(self, broker: str, group: str) -> None:
        """Stop serving a Trigger and drop what waits for it."""
        served = self._triggers.pop((broker, group), None)
        if served is not None:
            await end_tasks([served[1]])
        await self._streams.drop_group(broker, group)
        if broker in self._settled:
            self._settled[broker].set()

    async def aclose(self) -> None:
        """Stop all loops; what is under way is taken up again at the next start."""
        tasks = [task for _, task in self._triggers.values()]
        tasks += [task for watchers in self._watchers.values() for task in watchers]
        await end_tasks(tasks)
        self._triggers.clear()
        self._watchers.clear()
        await self._client.aclose()

    def _check(self, broker: str) -> None:
        if broker not in self._watchers:
            raise UnknownBroker(
                f"there is no broker {broker}; there are: {', '.join(sorted(self._watchers))}"
            )

    def _ring(self, broker: str) -> None:
        for (name, _), (loop, _) in self._triggers.items():
            if name == broker:
                loop.ring()

    async def _watch(self, broker: str) -> None:
        """Ring for what others append: a reply of ours, another engine on the same Redis."""
        while True:
            try:
                last = await self._streams.position(broker)
                self._ring(broker)
                while True:
                    seen = await self._streams.wait(broker, last, block_ms=_BLOCK_MS)
                    if seen != last:
                        last = seen
                        self._ring(broker)
            except StoreError as error:
                _log.warning("broker %s waits for the store: %s", broker, error)
                await asyncio.sleep(_STORE_PAUSE)

    async def _trim(self, broker: str) -> None:
        settled = self._settled[broker]
        while True:
            await settled.wait()
            settled.clear()
            groups = [group for name, group in self._triggers if name == broker]
            try:
                await self._streams.trim(broker, groups, room=self._max_events // 2)
            except StoreError as error:
                _log.warning("broker %s is trimmed later: %s", broker, error)
                settled.set()
            await asyncio.sleep(_TRIM_PAUSE)
