"""What a crash of the server may cost is read from its settings and said."""

import pytest
from redis.asyncio import Redis

from agentworkflow.engine.valkey import EmbeddedValkey
from agentworkflow.store import Durability, Store


@pytest.mark.parametrize(
    ("settings", "window", "advice"),
    [
        ({}, "None", "Every answer is on disk (appendfsync always)."),
        ({"appendfsync": "everysec"}, "OneSecond", "may lose the last second"),
        ({"appendfsync": "no"}, "Unbounded", "not told to write"),
        ({"appendonly": "no"}, "Snapshot", "everything since its last snapshot"),
    ],
)
async def test_the_loss_window_is_named(
    server: EmbeddedValkey, settings: dict[str, str], window: str, advice: str
) -> None:
    async with await Store.connect(server.url) as store:
        for name, value in settings.items():
            await store._connection.command("CONFIG SET", name, value)

        found = await store.durability()

    assert (found.window, found.evicts) == (window, False)
    assert advice in found.message


async def test_a_server_that_drops_live_keys_is_named(server: EmbeddedValkey) -> None:
    async with await Store.connect(server.url) as store:
        await store._connection.command("CONFIG SET", "maxmemory", "1gb")
        await store._connection.command("CONFIG SET", "maxmemory-policy", "allkeys-lru")

        assert await store.durability() == Durability(
            "None",
            "Every answer is on disk (appendfsync always). Redis drops live keys when its memory "
            "is full (allkeys-lru); set maxmemory-policy noeviction.",
            evicts=True,
        )


@pytest.mark.parametrize(("appendonly", "window"), [("yes", "Unknown"), ("no", "Snapshot")])
async def test_a_server_that_hides_its_settings_is_asked_otherwise(
    server: EmbeddedValkey, appendonly: str, window: str
) -> None:
    async with Redis.from_url(server.url) as client:
        await client.config_set("appendonly", appendonly)
        await client.acl_setuser(
            "guest",
            enabled=True,
            passwords=["+pw"],
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
            commands=["-config"],
        )
    async with await Store.connect(f"{server.url}?username=guest&password=pw") as store:
        assert (await store.durability()).window == window
