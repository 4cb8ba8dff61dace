"""Which servers the tests of the store ran against, and what to do for the others."""

import os
import shutil

import pytest

from agentworkflow.store import Store


def test_debians_redis_is_among_the_servers() -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server is installed: apt-get install redis-server")


def test_a_redis_named_by_the_environment_is_among_the_servers() -> None:
    if not os.environ.get("AGENTWORKFLOW_TEST_REDIS_URL"):
        pytest.skip(
            "AGENTWORKFLOW_TEST_REDIS_URL names no Redis, e.g. redis://localhost:6379 "
            "(its databases from 1 on are emptied)"
        )


async def test_the_server_answers_and_its_clock_is_known(store: Store) -> None:
    before = store.now_ms()
    await store.ping()

    assert before <= store.now_ms() < before + 60_000
