"""Events of users until they are published, and dead letters until somebody looks at them."""

from collections.abc import Awaitable, Callable

import pytest

from agentworkflow.store import BadCursor, DeadLetterPage, Due, Store

KeysOf = Callable[[Store], Awaitable[list[str]]]


async def test_an_accepted_event_is_kept_and_due(store: Store, run_id: Callable[..., str]) -> None:
    publication = run_id()

    assert await store.put_event(publication, b"\xffbody")

    assert await store.get_event(publication) == b"\xffbody"
    (due,) = await store.lease(0, limit=9, lease_ms=1_000)
    assert due == Due(f"event|{publication}", due.due_ms)


async def test_whoever_accepts_an_event_may_lease_it_at_once(
    store: Store, run_id: Callable[..., str]
) -> None:
    await store.put_event(run_id(), b"x", delay_ms=60_000)

    assert await store.lease(0, limit=9, lease_ms=1_000) == []


async def test_an_event_accepted_twice_is_kept_once(
    store: Store, run_id: Callable[..., str]
) -> None:
    publication = run_id()
    await store.put_event(publication, b"first")

    assert not await store.put_event(publication, b"second")

    assert await store.get_event(publication) == b"first"


async def test_a_published_event_leaves_nothing(
    store: Store, run_id: Callable[..., str], keys_of: KeysOf
) -> None:
    publication = run_id()
    await store.put_event(publication, b"x")
    await store.again(f"event|{publication}", 1)

    assert await store.drop_event(publication)
    assert not await store.drop_event(publication)

    assert await keys_of(store) == []
    assert await store.get_event(publication) is None


async def test_a_dead_letter_is_kept_listed_shown_and_removed(
    store: Store, keys_of: KeysOf
) -> None:
    assert await store.add_dead_letter("default", "l1", '{"n":1}', 10)
    assert await store.add_dead_letter("default", "l2", '{"n":2}', 20)
    assert not await store.add_dead_letter("default", "l1", '{"again":1}', 30)

    assert await store.list_dead_letters("default") == DeadLetterPage(
        {"l2": '{"n":2}', "l1": '{"n":1}'}, None
    )
    assert await store.get_dead_letter("default", "l1") == '{"n":1}'
    assert await store.get_dead_letter("other", "l1") is None

    assert await store.remove_dead_letter("default", "l1")
    assert not await store.remove_dead_letter("default", "l1")
    assert await store.remove_dead_letter("default", "l2")
    assert await keys_of(store) == []


async def test_dead_letters_are_paged_newest_first(store: Store) -> None:
    for n in range(7):
        await store.add_dead_letter("default", f"l{n}", "{}", n)

    first = await store.list_dead_letters("default", limit=3)
    assert list(first.letters) == ["l6", "l5", "l4"]
    # What goes meanwhile, even the one that the cursor names, moves nothing.
    await store.remove_dead_letter("default", "l4")
    second = await store.list_dead_letters("default", limit=3, cursor=first.cursor)
    third = await store.list_dead_letters("default", limit=3, cursor=second.cursor)

    assert [*second.letters, *third.letters] == ["l3", "l2", "l1", "l0"]
    assert third.cursor is None


async def test_a_cursor_of_dead_letters_that_is_not_ours_is_refused(store: Store) -> None:
    with pytest.raises(BadCursor):
        await store.list_dead_letters("default", cursor="x")
