"""The registry: what is published, and who is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from agentworkflow.store import Store, WorkflowRecord


def _record(
    name: str = "orders", namespace: str = "default", generation: int = 1
) -> WorkflowRecord:
    return WorkflowRecord(
        namespace=namespace,
        name=name,
        generation=generation,
        digest="sha256:d1",
        resource={"kind": "AgentWorkflow", "spec": {"description": "é"}},
        functions={"analyze": {"addresses": ["http://pool", "http://own"], "inputSchema": None}},
        triggers=[{"name": "upload"}],
        broker="http://broker",
        published_ms=5,
    )


async def test_a_published_workflow_is_read_as_it_was_written(store: Store) -> None:
    await store.publish(_record())

    assert await store.get_workflow("default", "orders") == _record()
    assert await store.get_workflow("default", "unknown") is None


async def test_a_newer_generation_replaces_the_older(store: Store) -> None:
    await store.publish(_record())
    await store.publish(_record(generation=2))

    assert await store.list_workflows() == [_record(generation=2)]


async def test_workflows_are_listed_by_namespace_and_name(store: Store) -> None:
    for namespace, name in (("b", "x"), ("a", "z"), ("a", "y")):
        await store.publish(_record(name, namespace))

    found = [(record.namespace, record.name) for record in await store.list_workflows()]
    assert found == [("a", "y"), ("a", "z"), ("b", "x")]
    assert [record.name for record in await store.list_workflows("a")] == ["y", "z"]


async def test_a_withdrawn_workflow_is_gone(store: Store) -> None:
    await store.publish(_record())

    assert await store.withdraw("default", "orders")
    assert not await store.withdraw("default", "orders")
    assert await store.list_workflows() == []


async def _next(changes: AsyncIterator[int]) -> int:
    async with asyncio.timeout(10):
        return await anext(changes)


async def test_a_watcher_is_told_of_what_is_there_and_of_each_change(
    open_store: Callable[..., Awaitable[Store]],
) -> None:
    publisher, watcher = await open_store(), await open_store()
    await publisher.publish(_record())
    changes = watcher.watch_registry()

    assert await _next(changes) == 1
    await publisher.publish(_record(generation=2))
    assert await _next(changes) == 2
    await publisher.withdraw("default", "orders")
    assert await _next(changes) == 3


async def test_a_withdrawal_of_nothing_is_no_change(store: Store) -> None:
    await store.publish(_record())

    await store.withdraw("default", "unknown")

    assert await store.registry_version() == 1


async def test_a_shared_secret_is_the_same_for_everyone_and_random(
    open_store: Callable[..., Awaitable[Store]],
) -> None:
    stores = [await open_store() for _ in range(3)]

    found = await asyncio.gather(*(store.shared_secret("event-port") for store in stores))

    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert await stores[0].shared_secret("other") != found[0]
