"""Applies workflows to the running parts (hosts, registry, triggers, schedules), and withdraws.

The order is the operator's: hosts first, then the publication, then the triggers.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from agentworkflow.dispatcher.core import Core
from agentworkflow.engine.activator import host_environment
from agentworkflow.engine.broker import Broker
from agentworkflow.engine.data_dir import DataDir
from agentworkflow.engine.environment import SecretFiles, resolve_environment
from agentworkflow.engine.hosts import Hosts
from agentworkflow.engine.rendering import (
    HostPlan,
    Places,
    addresses,
    broker_of,
    build_schedules,
    build_subscriptions,
    owner_of,
    plan_hosts,
)
from agentworkflow.engine.schedule import Schedules
from agentworkflow.engine.settings import EngineSettings
from agentworkflow.engine.windows import pool_size
from agentworkflow.store import Store, StoreUnavailable
from agentworkflow.store.registry import WorkflowRecord
from agentworkflow.store.streams import Streams
from agentworkflow.store.tasks import end_tasks
from agentworkflow.workflow.definition import compile_definition
from agentworkflow.workflow.models import AgentWorkflow
from agentworkflow.workflow.models_functions import Container
from agentworkflow.workflow.validation import validate_resource

_log = logging.getLogger(__name__)

_LOOK: Final = 15.0
_DRAIN: Final = 2.0


class ApplyRefused(Exception):  # noqa: N818 - what happened to the request
    """Workflows that cannot be served here; nothing of them was changed.

    Attributes:
        findings: a sentence for each fault, with the path it is at.
    """

    def __init__(self, findings: Sequence[str]) -> None:
        super().__init__("\n".join(findings))
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class LocalWorkflow:
    """A workflow and the folder that its handlers are imported from (and ``src/`` in it)."""

    resource: AgentWorkflow
    folder: Path


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A workflow with all that is needed to serve it."""

    workflow: LocalWorkflow
    plans: tuple[HostPlan, ...]
    environments: Mapping[str, Mapping[str, str]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts that workflows are applied to."""

    settings: EngineSettings
    data: DataDir
    store: Store
    streams: Streams
    core: Core
    broker: Broker
    hosts: Hosts
    schedules: Schedules
    places: Places


class Workflows:
    """The workflows that one engine serves."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._served: dict[str, LocalWorkflow] = {}
        self._folders = parts.data.read_applied()
        self._code: dict[str, int] = {}
        self._releases: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    @property
    def served(self) -> Mapping[str, LocalWorkflow]:
        """What is served, by ``<namespace>/<name>``."""
        return dict(self._served)

    async def apply(self, workflows: Sequence[LocalWorkflow], *, code_changed: bool) -> None:
        """Serve these workflows, or serve them as they are now."""
        prepared = self._prepare(workflows)
        for each in prepared:
            owner = owner_of(each.workflow.resource)
            if code_changed:
                self._code[owner] = self._code.get(owner, 0) + 1
            await self._serve(each)
            self._served[owner] = each.workflow
            self._folders[owner] = str(each.workflow.folder.resolve())
        self._remember()
        await self._parts.core.catalog.refresh()
        for each in prepared:
            await self._wire(each)
        # What is called from now on is to meet the new code, also over a connection that is kept.
        await self._parts.hosts.drained(_DRAIN)
        self._watch_pools()

    async def adopt(self) -> None:
        """Take care of what this directory served before and was not applied now.

        Its runs in flight need their hosts at the addresses of today; without any, the workflow
        is no longer offered.
        Its triggers and schedules stay quiet either way: nobody asked for them.
        """
        for owner, folder in list(self._folders.items()):
            if owner in self._served:
                continue
            namespace, name = owner.split("/", 1)
            record = await self._parts.store.get_workflow(namespace, name)
            if record is None:
                continue
            try:
                resource = AgentWorkflow.model_validate(record.resource)
                if not await self._has_active_runs(owner) or not _is_folder(folder):
                    raise ApplyRefused(["it has no run in flight, or its folder is gone"])
                (prepared,) = self._prepare([LocalWorkflow(resource, Path(folder))])
            except (ValueError, ApplyRefused) as error:
                _log.info("workflow %s is not served any more: %s", owner, error)
                await self._parts.store.withdraw(namespace, name)
                del self._folders[owner]
                continue
            _log.info("workflow %s was not named, and goes on with its runs in flight", owner)
            await self._serve(prepared)
        self._remember()

    async def withdraw(self, namespace: str, name: str) -> None:
        """Stop serving a workflow; its runs in flight end as Cancelled, WorkflowDeleted."""
        owner = f"{namespace}/{name}"
        await self._keep_hosts(owner)
        served = self._served.pop(owner, None)
        self._folders.pop(owner, None)
        await self._parts.schedules.replace(owner, [])
        if served is not None:
            await self._drop_triggers(served.resource, keep=frozenset())
        await self._parts.store.withdraw(namespace, name)
        await self._parts.core.catalog.refresh()
        await self._parts.core.runs.cancel_all(namespace, name, "WorkflowDeleted")
        await self._parts.hosts.close(self._parts.hosts.keys_of(owner))
        self._remember()

    async def aclose(self) -> None:
        """Stop what goes on beside."""
        watching = [] if self._watch is None else [self._watch]
        await end_tasks([*self._releases.values(), *watching])

    # --- preparing: nothing is changed yet --------------------------------------------------

    def _prepare(self, workflows: Sequence[LocalWorkflow]) -> tuple[_Prepared, ...]:
        faults: list[str] = []
        prepared = []
        for workflow in workflows:
            resource = workflow.resource
            name = owner_of(resource)
            found = json.loads(compile_definition(resource).resource_json)
            faults += [f"{name}: {each}" for each in validate_resource(found).findings]
            plans = plan_hosts(resource, workflow.folder.resolve(), self._parts.places.events)
            environments = {}
            for plan in plans:
                resolved, missing = self._environment(resource, plan)
                faults += [f"{name}: {plan.key.rsplit('/', 1)[1]}: {each}" for each in missing]
                environments[plan.key] = resolved
            prepared.append(_Prepared(workflow, plans, environments))
        if faults:
            raise ApplyRefused(faults)
        return tuple(prepared)

    def _environment(
        self, resource: AgentWorkflow, plan: HostPlan
    ) -> tuple[Mapping[str, str], list[str]]:
        containers: list[Container] = [resource.spec.runtime] if resource.spec.runtime else []
        (first, *_) = (f for f in resource.spec.functions if f.name in plan.functions)
        if plan.role == "own":
            containers.append(first)
        files = SecretFiles(self._parts.settings.secrets_dir, os.environ)
        resolved = resolve_environment(containers, files)
        missing = list(resolved.missing)
        if plan.table is None and first.name not in self._parts.settings.commands:
            missing.append(
                "it has no handler, so only its image can serve it: "
                f"name a command that does, with --command {first.name}=…"
            )
        return host_environment(resolved.variables), missing

    # --- serving ----------------------------------------------------------------------------

    async def _serve(self, prepared: _Prepared) -> None:
        """Open the hosts and publish the workflow."""
        parts, resource = self._parts, prepared.workflow.resource
        owner = owner_of(resource)
        # What was to be closed later may be served again from now on.
        await self._keep_hosts(owner)
        urls = {}
        for plan in prepared.plans:
            urls[plan.key] = await parts.hosts.open(
                plan,
                resource,
                folder=prepared.workflow.folder.resolve(),
                environment=prepared.environments[plan.key],
                code=self._code.get(owner, 0),
            )
        schemas = {each.name: each.input_schema for each in resource.spec.functions}
        functions: dict[str, Mapping[str, Any]] = {
            name: {"addresses": found, "inputSchema": schemas[name]}
            for name, found in addresses(prepared.plans, urls).items()
        }
        before = await parts.store.get_workflow(resource.metadata.namespace, resource.metadata.name)
        left = parts.hosts.keys_of(owner) - set(urls)
        if left and before is not None and await self._has_active_runs(owner):
            # Runs in flight keep their plan, which may name functions that left the resource.
            functions = dict(before.functions) | functions
            self._release_later(owner, left)
        else:
            await parts.hosts.close(left)
        await self._publish(resource, functions, before)

    async def _publish(
        self,
        resource: AgentWorkflow,
        functions: Mapping[str, Mapping[str, Any]],
        before: WorkflowRecord | None,
    ) -> None:
        definition = compile_definition(resource)
        changed = before is None or before.digest != definition.digest
        record = WorkflowRecord(
            namespace=resource.metadata.namespace,
            name=resource.metadata.name,
            generation=(0 if before is None else before.generation) + changed,
            digest=definition.digest,
            resource=json.loads(definition.resource_json),
            functions=functions,
            broker=f"{self._parts.places.brokers}/{broker_of(resource)}",
            published_ms=self._parts.store.now_ms() if before is None else before.published_ms,
        )
        if record != before:
            await self._parts.store.publish(record)

    async def _wire(self, prepared: _Prepared) -> None:
        """Connect the triggers and schedules of a published workflow."""
        parts, resource = self._parts, prepared.workflow.resource
        owner = owner_of(resource)
        parts.broker.create(broker_of(resource))
        urls = parts.hosts.urls_of(owner)
        subscriptions = build_subscriptions(resource, urls, parts.places)
        kept = frozenset((each.broker, each.group) for each in subscriptions)
        await self._drop_triggers(resource, keep=kept)
        for subscription in subscriptions:
            await parts.broker.subscribe(subscription)
        await parts.schedules.replace(owner, build_schedules(resource))

    async def _drop_triggers(
        self, resource: AgentWorkflow, *, keep: frozenset[tuple[str, str]]
    ) -> None:
        """Drop the triggers that a workflow has no more, also since an earlier engine."""
        broker, prefix = broker_of(resource), f"{resource.metadata.name}/"
        namespace = f"{resource.metadata.namespace}/"
        known = {(broker, group) for group in await self._parts.streams.groups(broker)}
        # Another broker than before: those at the old one are served until now.
        known |= {key for key in self._parts.broker.subscriptions() if key[0].startswith(namespace)}
        for key in known - keep:
            if key[1].startswith(prefix):
                await self._parts.broker.unsubscribe(*key)

    def _remember(self) -> None:
        self._parts.data.write_applied(self._folders)

    # --- what follows later -----------------------------------------------------------------

    async def _has_active_runs(self, owner: str) -> bool:
        namespace, name = owner.split("/", 1)
        page = await self._parts.store.list_runs(namespace, name, state="active", limit=1)
        return bool(page.runs)

    async def _keep_hosts(self, owner: str) -> None:
        releasing = self._releases.pop(owner, None)
        if releasing is not None:
            await end_tasks([releasing])

    def _release_later(self, owner: str, keys: frozenset[str]) -> None:
        self._releases[owner] = asyncio.create_task(
            self._release(owner, keys), name=f"release {owner}"
        )

    async def _release(self, owner: str, keys: frozenset[str]) -> None:
        """Close the hosts of functions that left a workflow, once no run can name them."""
        while True:
            await asyncio.sleep(_LOOK)
            with contextlib.suppress(StoreUnavailable):
                if await self._has_active_runs(owner):
                    continue
                namespace, name = owner.split("/", 1)
                record = await self._parts.store.get_workflow(namespace, name)
                if record is not None:
                    names = {each["name"] for each in record.resource["spec"]["functions"]}
                    kept = {key: value for key, value in record.functions.items() if key in names}
                    await self._parts.store.publish(replace(record, functions=kept))
                await self._parts.hosts.close(keys)
                return

    def _watch_pools(self) -> None:
        pools = any(
            each.resource.spec.warm_pool and each.resource.spec.warm_pool.windows
            for each in self._served.values()
        )
        if pools and self._watch is None:
            self._watch = asyncio.create_task(self._follow_windows(), name="pool windows")

    async def _follow_windows(self) -> None:
        while True:
            now = datetime.now(UTC)
            for owner, each in self._served.items():
                pool = each.resource.spec.warm_pool
                if pool is not None and pool.windows:
                    self._parts.hosts.keep_warm(f"{owner}/pool", pool_size(pool, now) > 0)
            await asyncio.sleep(_LOOK)


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()
