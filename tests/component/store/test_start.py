"""Creating a run: once per id, whoever asks and however often."""

import asyncio
from collections.abc import Awaitable, Callable

from agentworkflow.store import (
    Created,
    Existing,
    Head,
    Start,
    Store,
    StoreError,
)


async def test_a_created_run_has_the_head_and_log_it_was_given(
    store: Store, start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    run = run_id()
    start = start_of(
        run,
        events=('{"type":"run.created"}', '{"type":"step.requested"}'),
        fields={"run": '{"st":"R"}', "s:a": '{"n":1}'},
        due={f"call|{run}|a||1": 1},
        blobs={"sha256:b": b"\x00big"},
        created_ms=1234,
    )

    assert await store.start(start) == Created(run, 2)

    assert await store.load(run) == Head(
        run=run,
        version=2,
        fields={"run": '{"st":"R"}', "s:a": '{"n":1}'},
        secret="only-the-store-knows",
        namespace="default",
        workflow="orders",
        digest="sha256:d1",
        session=None,
        created_ms=1234,
        finished_ms=None,
    )
    assert await store.read_log(run) == [
        ("1-0", '{"type":"run.created"}'),
        ("2-0", '{"type":"step.requested"}'),
    ]
    assert await store.get_blob(run, "sha256:b") == b"\x00big"
    assert await store.version(run) == 2
    assert [due.member for due in await store.lease(0, limit=9, lease_ms=1)] == [f"call|{run}|a||1"]


async def test_an_unknown_run_has_no_head_and_an_empty_log(
    store: Store, run_id: Callable[..., str]
) -> None:
    run = run_id()

    assert await store.load(run) is None
    assert await store.version(run) is None
    assert await store.read_log(run) == []


async def test_the_same_id_with_the_same_request_names_the_same_run(
    store: Store, start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    run = run_id()
    await store.start(start_of(run, request_hash="h1", named=True))

    again = await store.start(start_of(run, request_hash="h1", named=True))

    assert again == Existing(run, same_request=True)
    assert await store.version(run) == 1


async def test_the_same_id_with_another_request_is_told_apart(
    store: Store, start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    run = run_id()
    await store.start(start_of(run, request_hash="h1", named=True))

    again = await store.start(start_of(run, request_hash="h2", named=True))

    assert again == Existing(run, same_request=False)


async def test_a_repeated_event_is_never_compared(
    store: Store, start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    run = run_id()
    await store.start(start_of(run, named=True))

    again = await store.start(start_of(run, named=True, events=('{"other":1}',)))

    assert again == Existing(run, same_request=True)


async def test_the_very_same_call_repeated_says_created_again(
    store: Store, start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    start = start_of(run_id())

    assert await store.start(start) == await store.start(start) == Created(start.run, 1)
    assert len(await store.read_log(start.run)) == 1


async def test_of_many_racing_starts_exactly_one_creates_the_run(
    store: Store, start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    run = run_id()

    results = await asyncio.gather(*(store.start(start_of(run)) for _ in range(20)))

    assert results.count(Created(run, 1)) == 1
    assert results.count(Existing(run, same_request=True)) == 19


async def test_a_definition_is_kept_once_per_shard_and_sent_once(
    store: Store, started: Callable[..., Awaitable[str]]
) -> None:
    await started(store, definition='{"first":true}')
    # The second start need not send it: were it sent and stored, the text would differ now.
    await started(store, definition='{"second":true}')

    assert await store.get_definition(0, "sha256:d1") == '{"first":true}'
    assert await store.get_definition(0, "sha256:other") is None


async def test_a_definition_that_was_purged_meanwhile_is_sent_again(
    store: Store, started: Callable[..., Awaitable[str]]
) -> None:
    await started(store)
    await store._connection.command("DEL", "awf:{00}:def:sha256:d1")

    await started(store, definition='{"again":true}')

    assert await store.get_definition(0, "sha256:d1") == '{"again":true}'


async def test_ten_thousand_fields_and_due_entries_fit_in_one_start(
    store: Store, start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    run = run_id()
    fields = {f"i:each:{n}": '{"n":1}' for n in range(10_000)}
    due = {f"call|{run}|each|{n}|1": 1 for n in range(10_000)}

    assert await store.start(start_of(run, fields=fields, due=due)) == Created(run, 1)

    head = await store.load(run)
    assert head is not None
    assert head.fields == fields
    assert len(await store.lease(0, limit=20_000, lease_ms=1_000)) == 10_000


async def test_a_head_field_of_the_stores_own_is_refused_by_name(
    store: Store, start_of: Callable[..., Start], run_id: Callable[..., str]
) -> None:
    run = run_id()
    try:
        await store.start(start_of(run, fields={"secret": "x"}))
    except StoreError as error:
        message = str(error)

    assert message == (
        f"the head of {run} cannot have a field 'secret': "
        "that name belongs to the store; choose another"
    )
