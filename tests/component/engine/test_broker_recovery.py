"""What the broker has accepted outlives the engine and the store, and a lossy one says how."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentworkflow.engine.broker import Broker
from agentworkflow.engine.broker_trigger import Subscription
from agentworkflow.engine.delivery import DeliveryPolicy
from agentworkflow.engine.lossy import Fate, Lossy, plan_fate
from agentworkflow.engine.servers import Server, bind
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.filters import compile_filters
from agentworkflow.events.http import encode_binary
from agentworkflow.store.streams import Streams

BROKER = "default/default"
EVENTS = 60


class Ledger:
    """A subscriber that outlives brokers: counts what it got, fails every third at first."""

    def __init__(self) -> None:
        self.got: Counter[str] = Counter()
        self.order: list[str] = []
        self.failing = True
        self._server: Server | None = None

    async def start(self) -> str:
        app = Starlette(routes=[Route("/", self._take, methods=["POST"])])
        self._server = Server(app, bind("127.0.0.1", 0, "the ledger"), "the ledger")
        await self._server.start()
        return self._server.url + "/"

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    async def _take(self, request: Request) -> Response:
        name = request.headers["ce-id"]
        if self.failing and int(name) % 3 == 0:
            return Response(status_code=503)
        await asyncio.sleep(0.02)
        self.got[name] += 1
        self.order.append(name)
        return Response(status_code=202)


async def until(condition: Callable[[], Any], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.02)


# One engine's broker as a process of its own, so that it can be killed.
PROGRAM = """
    import asyncio, sys
    from agentworkflow.engine.broker import Broker
    from agentworkflow.engine.broker_ingress import build_ingress
    from agentworkflow.engine.broker_trigger import Subscription
    from agentworkflow.engine.delivery import DeliveryPolicy
    from agentworkflow.engine.servers import Server, bind
    from agentworkflow.events.filters import compile_filters
    from agentworkflow.store.streams import Streams

    async def main(redis_url, subscriber):
        broker = Broker(await Streams.connect(redis_url), consumer="engine")
        policy = DeliveryPolicy(delay=0.3, delay_max=0.5, timeout=10)
        await broker.subscribe(
            Subscription("default/default", "w/t", compile_filters([]), subscriber, policy=policy)
        )
        server = Server(build_ingress(broker), bind("127.0.0.1", 0, "i"), "i")
        await server.start()
        print(server.url, flush=True)
        await asyncio.Event().wait()

    asyncio.run(main(*sys.argv[1:]))
"""


def start_engine(redis_url: str, subscriber: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), redis_url, subscriber],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


async def post(client: httpx2.AsyncClient, url: str, number: int) -> None:
    headers, body = encode_binary(CloudEvent(id=str(number), source="/t", type="t", data=number))
    answer = await client.post(f"{url}/{BROKER}", headers=headers, content=body)
    assert answer.status_code == 202


async def test_every_accepted_event_is_delivered_though_engine_and_store_are_killed(
    valkey: Any,
) -> None:
    ledger = Ledger()
    subscriber = await ledger.start()
    engine, url = await asyncio.to_thread(start_engine, valkey.url, subscriber)
    async with httpx2.AsyncClient(trust_env=False) as client:
        await asyncio.gather(*(post(client, url, n) for n in range(EVENTS)))
    await until(lambda: len(ledger.got) >= 5)
    # Some are delivered, some in flight, some wait for their next attempt.
    engine.send_signal(signal.SIGKILL)
    engine.communicate()
    await valkey.kill()
    await valkey.start()
    ledger.failing = False
    engine, _ = await asyncio.to_thread(start_engine, valkey.url, subscriber)
    await until(lambda: len(ledger.got) == EVENTS)
    engine.kill()
    engine.communicate()
    await ledger.stop()
    # Only what was in flight at the kill may come twice.
    assert sum(ledger.got.values()) <= EVENTS + 10


async def test_the_store_may_die_under_a_running_broker(valkey: Any) -> None:
    ledger = Ledger()
    ledger.failing = False
    streams = await Streams.connect(valkey.url)
    broker = Broker(streams, consumer="engine")
    await broker.subscribe(
        Subscription(BROKER, "w/t", compile_filters([]), await ledger.start(), concurrency=2)
    )
    events = [CloudEvent(id=str(n), source="/t", type="t") for n in range(EVENTS)]
    await broker.publish(BROKER, events)
    await until(lambda: len(ledger.got) >= 5)
    await valkey.kill()
    await valkey.start()
    await until(lambda: len(ledger.got) == EVENTS)
    await broker.aclose()
    await streams.aclose()
    await ledger.stop()


async def test_a_lossy_broker_drops_duplicates_and_reorders_the_same_by_the_same_seed(
    valkey: Any,
) -> None:
    lossy = Lossy(seed=7, drop=0.2, duplicate=0.3, reorder=0.5, hold=0.5)
    events = [CloudEvent(id=str(n), source="/t", type="t") for n in range(EVENTS)]
    expected = {each.id: len(plan_fate(lossy, "w/t", each).holds) for each in events}
    ledger = Ledger()
    ledger.failing = False
    streams = await Streams.connect(valkey.url)
    broker = Broker(streams, consumer="engine", lossy=lossy)
    await broker.subscribe(
        Subscription(BROKER, "w/t", compile_filters([]), await ledger.start(), concurrency=1)
    )
    await broker.publish(BROKER, events)
    await until(lambda: sum(ledger.got.values()) == sum(expected.values()))
    await broker.aclose()
    await streams.aclose()
    await ledger.stop()
    assert dict(ledger.got) == {name: copies for name, copies in expected.items() if copies}
    assert 0 in expected.values()
    assert 2 in expected.values()
    assert ledger.order != sorted(ledger.order, key=int)


def test_a_fate_without_accidents_is_one_delivery_at_once() -> None:
    calm = Lossy(drop=0, duplicate=0, reorder=0)
    assert plan_fate(calm, "g", CloudEvent(id="1", source="/t", type="t")) == Fate((0.0,))


def test_a_policy_waits_exponentially_up_to_its_bound() -> None:
    policy = DeliveryPolicy()
    assert policy.retry == 12
    waits = [policy.wait_before(n, None) for n in range(1, 13)]
    assert waits == [0.2 * 2**n for n in range(12)]
    assert DeliveryPolicy(delay=100).wait_before(12, None) == 600
    assert DeliveryPolicy(backoff="Linear", delay=2).wait_before(3, None) == 6
    assert policy.wait_before(1, 30.0) == 30
    assert policy.wait_before(12, 1.0) == waits[-1]
