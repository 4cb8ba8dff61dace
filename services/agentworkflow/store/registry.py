"""What is published: each workflow with its definition and the addresses of its functions.

Few and read often, so a dispatcher keeps them all and reads again when the version changes.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agentworkflow.store import names
from agentworkflow.store.connection import Connection
from agentworkflow.store.errors import StoreUnavailable
from agentworkflow.store.growth import Growth

__all__ = ["Registry", "WorkflowRecord"]

_CHECK_EVERY: Final = 5.0
"""Seconds between looks at the version without a notice: a notice lost with a connection."""


@dataclass(frozen=True, slots=True)
class WorkflowRecord:
    """A published workflow.

    Attributes:
        resource: The AgentWorkflow as JSON value.
        functions: Name → `{"addresses": [url, …], "inputSchema": …}`; the pool's address first.
        triggers: What the publisher adds about triggers.
        broker: Where `run.*` events go, or None.
        published_ms: By the store's clock.
    """

    namespace: str
    name: str
    generation: int
    digest: str
    resource: Mapping[str, Any]
    functions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    triggers: Any = None
    broker: str | None = None
    published_ms: int = 0

    def to_json(self) -> str:
        """The record as JSON text, as it is kept."""
        return json.dumps(
            {
                "namespace": self.namespace,
                "name": self.name,
                "generation": self.generation,
                "digest": self.digest,
                "resource": self.resource,
                "functions": self.functions,
                "triggers": self.triggers,
                "broker": self.broker,
                "published": self.published_ms,
            },
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, record: str | bytes) -> "WorkflowRecord":
        """Read what `to_json` wrote."""
        found = json.loads(record)
        return cls(
            namespace=found["namespace"],
            name=found["name"],
            generation=found["generation"],
            digest=found["digest"],
            resource=found["resource"],
            functions=found.get("functions", {}),
            triggers=found.get("triggers"),
            broker=found.get("broker"),
            published_ms=found.get("published", 0),
        )


class Registry:
    """The published workflows of a store.  Part of `Store`."""

    def __init__(self, connection: Connection, growth: Growth) -> None:
        self._connection = connection
        self._growth = growth

    async def publish(self, record: WorkflowRecord) -> int:
        """Publish a workflow, in place of an older generation; returns the registry's version."""
        (version,) = await self._connection.script(
            "publish_workflow",
            [names.REGISTRY, names.REGISTRY_VERSION],
            [f"{record.namespace}/{record.name}", record.to_json(), names.REGISTRY_CHANGED],
        )
        return int(version)

    async def withdraw(self, namespace: str, name: str) -> bool:
        """Take a workflow back; False if it was not published."""
        (found,) = await self._connection.script(
            "withdraw_workflow",
            [names.REGISTRY, names.REGISTRY_VERSION],
            [f"{namespace}/{name}", names.REGISTRY_CHANGED],
        )
        return bool(found)

    async def get_workflow(self, namespace: str, name: str) -> WorkflowRecord | None:
        """Read one published workflow."""
        found = await self._connection.command("HGET", names.REGISTRY, f"{namespace}/{name}")
        return None if found is None else WorkflowRecord.from_json(found)

    async def list_workflows(self, namespace: str | None = None) -> list[WorkflowRecord]:
        """Read all published workflows, by namespace and name."""
        found = await self._connection.command("HVALS", names.REGISTRY)
        records = [WorkflowRecord.from_json(value) for value in found]
        return sorted(
            (record for record in records if namespace in (None, record.namespace)),
            key=lambda record: (record.namespace, record.name),
        )

    async def shared_secret(self, name: str) -> bytes:
        """A secret that all processes of an installation share; the first to ask makes it."""
        key = names.shared_secret(name)
        await self._connection.command("SET", key, secrets.token_bytes(32), "NX")
        found: bytes = await self._connection.command("GET", key)
        return found

    async def registry_version(self) -> int:
        """A number that changes with every publication and withdrawal."""
        return int(await self._connection.command("GET", names.REGISTRY_VERSION) or 0)

    async def watch_registry(self) -> AsyncIterator[int]:
        """Yield the registry's version now and after every change, for ever.

        While the store is away it waits; what changed meanwhile is one change.
        """
        seen: int | None = None
        async with self._growth.watch(names.REGISTRY_CHANGED) as changed:
            while True:
                changed.clear()
                with contextlib.suppress(StoreUnavailable):
                    version = await self.registry_version()
                    if version != seen:
                        seen = version
                        yield version
                try:
                    async with asyncio.timeout(_CHECK_EVERY):
                        await changed.wait()
                except TimeoutError:
                    continue
