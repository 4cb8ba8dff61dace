"""The embedded engine: every part of agentworkflow in one process, and its life from start to end.

`start` takes the data directory and the ports and brings up the store; the first `apply` opens the
doors, because what waits in the store must not be called at the addresses of an earlier engine.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from agentworkflow.dispatcher.core import Core
from agentworkflow.dispatcher.doors import Doors
from agentworkflow.dispatcher.keys import require_safe_address
from agentworkflow.dispatcher.workflow_routes import build_route_table
from agentworkflow.engine.broker import Broker
from agentworkflow.engine.broker_ingress import build_ingress
from agentworkflow.engine.data_dir import DataDir
from agentworkflow.engine.hosts import Hosts
from agentworkflow.engine.rendering import Places
from agentworkflow.engine.schedule import Schedules
from agentworkflow.engine.servers import Server, address_of, bind
from agentworkflow.engine.settings import EngineSettings
from agentworkflow.engine.supervisor import ValkeySupervisor
from agentworkflow.engine.valkey import EmbeddedValkey
from agentworkflow.engine.workflows import LocalWorkflow, Parts, Workflows
from agentworkflow.store import Store
from agentworkflow.store.streams import Streams
from agentworkflow.workflow.models import Route

__all__ = ["Engine", "LocalWorkflow"]

_log = logging.getLogger(__name__)

DEFAULT_BROKER = "default/default"


class Engine:
    """One engine on one data directory. Use it as an async context manager, or `start` and `stop`.

    It must be started from the thread that lives longest: on Linux its child processes die with
    the thread that made them.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._stack = contextlib.AsyncExitStack()
        self._turn = asyncio.Lock()
        self._supervisor: ValkeySupervisor | None = None
        self._parts: Parts | None = None
        self._workflows: Workflows | None = None
        self._servers: tuple[Server, ...] = ()
        self._urls: dict[str, str] = {}
        self._open = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def urls(self) -> Mapping[str, str]:
        """Base URLs: ``api``, ``events`` (the event port) and ``broker`` (the ingress)."""
        return dict(self._urls)

    @property
    def webhook_secret_file(self) -> Path:
        """Where the secret is that signs webhooks, if none was given."""
        return DataDir(self._settings.data_dir).webhook_secret_file

    @property
    def pids(self) -> Mapping[str, int]:
        """The function hosts that run now, by key, with their processes."""
        return {} if self._parts is None else self._parts.hosts.pids()

    @property
    def served(self) -> Mapping[str, LocalWorkflow]:
        """The workflows that are served, by ``<namespace>/<name>``."""
        return {} if self._workflows is None else self._workflows.served

    def holder_of(self, route: Route) -> str | None:
        """Which workflow answers at a route, as ``<namespace>/<name>``: the first to claim it."""
        if self._parts is None:
            return None
        table = build_route_table(self._parts.core.catalog.workflows())
        claim = table.find(route.host or "", route.path).get(route.method)
        return None if claim is None else f"{claim.workflow.namespace}/{claim.workflow.name}"

    async def start(self) -> None:
        """Bring everything up, but for the doors.

        Raises:
            DataDirInUse: another engine works on the data directory; it names the process.
            DataDirError: the data directory cannot be used.
            PortInUse: a port is taken; it names the port and what it was wanted for.
            EmbeddedValkeyError: the embedded store did not start.
            StoreUnavailable: the Redis of ``redis_url`` does not answer.
            UnsafeAddressError: the API would be open to others without a key.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def apply(
        self, workflows: Sequence[LocalWorkflow], *, code_changed: bool = False
    ) -> None:
        """Serve workflows, or serve them as they are now; the others stay as they are.

        Args:
            workflows: what to serve.
            code_changed: the handlers' code is another than before: hosts are replaced, once what
                is in flight in them is done.

        Raises:
            ApplyRefused: a workflow is not valid or cannot be served here; nothing was changed.
        """
        async with self._turn:
            served = self._running()
            await served.apply(workflows, code_changed=code_changed)
            if not self._open:
                await served.adopt()
                await self._open_doors()

    async def withdraw(self, namespace: str, name: str) -> None:
        """Stop serving a workflow; its runs in flight end as Cancelled, WorkflowDeleted."""
        async with self._turn:
            await self._running().withdraw(namespace, name)

    async def wait_failed(self) -> None:
        """Wait until the engine cannot go on.

        Raises:
            StoreLost: the embedded store died again and again.
        """
        if self._supervisor is None or self._supervisor.lost is None:
            await asyncio.Event().wait()
        else:
            raise await asyncio.shield(self._supervisor.lost)

    async def stop(self) -> None:
        """End everything; no process is left. What is in flight goes on at the next start."""
        self._open = False
        await self._stack.aclose()
        self._parts = self._workflows = None

    def _running(self) -> Workflows:
        if self._workflows is None:
            raise RuntimeError("the engine is not started")
        return self._workflows

    async def _start(self) -> None:
        settings, stack = self._settings, self._stack
        require_safe_address(replace(settings.dispatcher, host=settings.host))
        data = DataDir(settings.data_dir)
        data.open()
        stack.callback(data.close)
        name, secret = data.identity()
        listeners = []
        for host, port, what in (
            (settings.host, settings.port, "the API"),
            ("127.0.0.1", settings.event_port, "the event port"),
            ("127.0.0.1", settings.broker_port, "the broker"),
        ):
            listeners.append(bind(host, port, what))
            stack.callback(listeners[-1].close)
        api_url, events_url, broker_url = map(address_of, listeners)
        self._urls = {"api": api_url, "events": events_url, "broker": broker_url}

        redis_url = settings.redis_url or await self._start_valkey(data)
        store = await Store.connect(redis_url, client_name="agentworkflow-engine")
        stack.push_async_callback(store.aclose)
        streams = await Streams.connect(redis_url)
        stack.push_async_callback(streams.aclose)

        hosts = Hosts(data, commands=settings.commands, on_line=settings.on_line)
        stack.push_async_callback(hosts.aclose)
        pushing = settings.dispatcher
        if pushing.webhook_hosts and pushing.webhook_secret is None:
            pushing = replace(pushing, webhook_secret=data.webhook_secret())
        dispatching = replace(
            pushing,
            redis_url=redis_url,
            shards=1,
            host=settings.host,
            port=settings.port,
            broker_url=f"{broker_url}/{{namespace}}/{{broker}}",
            event_secret=secret,
        )
        core = Core.build(store, broker_url=dispatching.broker_url)
        stack.push_async_callback(core.aclose)
        doors = Doors.build(core, dispatching)
        stack.push_async_callback(doors.aclose)
        api = Server(doors.api, listeners[0], "the API")
        events = Server(doors.event_port, listeners[1], "the event port")
        stack.push_async_callback(_close_doors, doors, (api, events))
        # Closed before the doors: a delivery to a closed event port would count as failed.
        broker = Broker(streams, consumer=f"engine-{name}", lossy=settings.lossy)
        stack.push_async_callback(broker.aclose)
        broker.create(DEFAULT_BROKER)
        schedules = Schedules(broker)
        stack.push_async_callback(schedules.aclose)
        ingress = Server(build_ingress(broker), listeners[2], "the broker")
        stack.push_async_callback(ingress.stop)
        self._servers = (events, ingress, api)

        places = Places(events_url, broker_url, secret.encode())
        self._parts = Parts(settings, data, store, streams, core, broker, hosts, schedules, places)
        self._workflows = Workflows(self._parts)
        stack.push_async_callback(self._workflows.aclose)

    async def _start_valkey(self, data: DataDir) -> str:
        self._supervisor = ValkeySupervisor(EmbeddedValkey(data.store))
        self._stack.push_async_callback(self._supervisor.stop)
        return await self._supervisor.start()

    async def _open_doors(self) -> None:
        """Act on what is due, answer requests, and say so."""
        if self._parts is None:
            raise RuntimeError("the engine is not started")
        await self._parts.core.start()
        for server in self._servers:
            await server.start()
        self._open = True
        self._parts.data.announce_engine(self._urls)
        _log.info("the engine is up: %s", self._urls)


async def _close_doors(doors: Doors, servers: Sequence[Server]) -> None:
    doors.close()
    await asyncio.gather(*(server.stop() for server in servers))
