"""Every published workflow in memory, compiled, kept in step with the store's registry."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from agentworkflow.dispatcher.ports import Published, UnknownWorkflow
from agentworkflow.store import Store, StoreError
from agentworkflow.store.registry import WorkflowRecord
from agentworkflow.store.tasks import end_tasks
from agentworkflow.workflow.definition import compile_definition
from agentworkflow.workflow.models import AgentWorkflow

_PAUSE: Final = 1.0
"""Seconds before the registry is asked again after a failure."""

_log = structlog.get_logger(__name__)

_Name = tuple[str, str]


class RegistryCatalog:
    """The catalog of one dispatcher. Implements `ports.Catalog`.

    Start it before it is read, and close it at the end.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._published: dict[_Name, Published] = {}
        self._refused: dict[_Name, WorkflowRecord] = {}
        # When a workflow was first seen: a new generation does not lose its claims to routes.
        self._claimed: dict[_Name, int] = {}
        self._version = 0
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    def workflows(self, namespace: str | None = None) -> Sequence[Published]:
        """What is published, oldest publication first."""
        found = [each for each in self._published.values() if namespace in (None, each.namespace)]
        return sorted(found, key=lambda each: (self._claimed[_name(each)], _name(each)))

    def get(self, namespace: str, name: str) -> Published:
        """One workflow. Raises: UnknownWorkflow."""
        found = self._published.get((namespace, name))
        if found is None:
            near = sorted(each for space, each in self._published if space == namespace)
            known = f" Published are: {', '.join(near[:10])}." if near else ""
            raise UnknownWorkflow(
                f"No workflow {name} is published in namespace {namespace}.{known}"
            )
        return found

    async def start(self) -> None:
        """Read the registry once, then follow it.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        await self.refresh()
        self._task = asyncio.create_task(self._follow(), name="catalog")

    async def aclose(self) -> None:
        """Stop following."""
        if self._task is not None:
            await end_tasks([self._task])

    async def refresh(self) -> None:
        """Read the registry now: whoever has just published need not wait for the news."""
        async with self._turn:
            await self._read()

    async def _follow(self) -> None:
        while True:
            try:
                async for _ in self._store.watch_registry():
                    await self.refresh()
            except StoreError as error:
                _log.warning("catalog.unread", error=str(error))
                await asyncio.sleep(_PAUSE)

    async def _read(self) -> None:
        records = {
            (record.namespace, record.name): record for record in await self._store.list_workflows()
        }
        changed = False
        for gone in set(self._published) - set(records):
            del self._published[gone]
            self._claimed.pop(gone, None)
            changed = True
        for name, record in records.items():
            known = self._published.get(name)
            if known is not None and known.record == record.to_json():
                continue
            if self._refused.get(name) == record:
                continue
            try:
                published = build_published(record)
            except ValueError as error:
                # One that cannot be read takes no other with it; its older generation stays.
                self._refused[name] = record
                _log.error("catalog.unusable", workflow="/".join(name), error=str(error))
                continue
            self._published[name] = published
            self._claimed.setdefault(name, record.published_ms)
            changed = True
            # Compiling takes milliseconds: others get their turn between two workflows.
            await asyncio.sleep(0)
        if changed:
            self._version += 1


def build_published(record: WorkflowRecord) -> Published:
    """A registry's record with its definition compiled.

    Raises:
        ValueError: the resource is not one that this release understands.
    """
    resource = AgentWorkflow.model_validate(record.resource)
    definition = compile_definition(resource)
    return Published(
        namespace=record.namespace,
        name=record.name,
        generation=record.generation,
        digest=definition.digest,
        resource=resource,
        definition=definition,
        functions={
            name: tuple(function.get("addresses", ()))
            for name, function in record.functions.items()
        },
        broker=record.broker,
        published_ms=record.published_ms,
        record=record.to_json(),
    )


def _name(published: Published) -> _Name:
    return published.namespace, published.name
