"""Progress: entries that no fold reads, only from an attempt that is running."""

from collections.abc import Awaitable, Callable

import pytest

from agentworkflow.store import Commit, Finish, Guard, Store

Started = Callable[..., Awaitable[str]]
FIELDS = {"run": '{"st":"R"}', "s:a": '{"n":2,"st":"R"}', "i:each:3": '{"n":1,"st":"R"}'}


@pytest.mark.parametrize(
    "guard", [Guard("s:a", 2), Guard("s:a", 2, "R"), Guard("i:each:3", 1, "R")]
)
async def test_progress_of_the_current_attempt_is_appended(
    store: Store, started: Started, guard: Guard
) -> None:
    run = await started(store, fields=FIELDS)

    assert await store.append_progress(run, guard, '{"fraction":0.5}')

    assert await store.read_log(run, after="1-0") == [("1-1", '{"fraction":0.5}')]
    assert await store.version(run) == 1


@pytest.mark.parametrize(
    "guard",
    [
        Guard("s:a", 1),
        Guard("s:a", 3),
        Guard("s:a", 2, "S"),
        Guard("s:unknown", 1),
        Guard("i:each:4", 1),
    ],
)
async def test_progress_of_another_attempt_is_refused(
    store: Store, started: Started, guard: Guard
) -> None:
    run = await started(store, fields=FIELDS)

    assert not await store.append_progress(run, guard, "{}")

    assert await store.read_log(run, after="1-0") == []


async def test_progress_of_a_run_that_has_ended_is_refused(
    store: Store, started: Started, ending: Callable[..., Finish]
) -> None:
    run = await started(store, fields=FIELDS)
    await store.commit(Commit(run, 1, ("{}",), finished=ending()))

    assert not await store.append_progress(run, Guard("s:a", 2), "{}")


async def test_progress_of_no_run_is_refused(store: Store, run_id: Callable[..., str]) -> None:
    assert not await store.append_progress(run_id(), Guard("s:a", 1), "{}")


async def test_progress_and_entries_keep_their_order(store: Store, started: Started) -> None:
    run = await started(store, fields=FIELDS)
    for version in (1, 2):
        for _ in range(12):
            assert await store.append_progress(run, Guard("s:a", 2), "{}")
        await store.commit(Commit(run, version, ("{}",)))

    expected = ["1-0", *(f"1-{n}" for n in range(1, 13)), "2-0"]
    expected += [*(f"2-{n}" for n in range(1, 13)), "3-0"]
    assert [stream_id for stream_id, _ in await store.read_log(run)] == expected
