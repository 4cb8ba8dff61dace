"""Watching a run: server-sent events and WebSocket."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

RUNS = "/v1/namespaces/default/runs"
HELD = {
    "steps": [{"name": "hold", "waitFor": {"signal": "go"}}],
    "output": "${steps.hold.output}",
}


@pytest.fixture
async def published(dispatcher: Any) -> Any:
    await dispatcher.publish("held", HELD)
    return dispatcher


class Stream:
    """Events of a stream as (id, type, data); comments are kept apart."""

    def __init__(self, response: Any) -> None:
        self._lines = response.aiter_lines()
        self.comments: list[str] = []

    async def __aiter__(self) -> AsyncIterator[tuple[str, str, Any]]:
        found: dict[str, str] = {}
        async for line in self._lines:
            if line.startswith(":"):
                self.comments.append(line[1:].strip())
            elif line:
                name, _, value = line.partition(": ")
                found[name] = value
            elif "data" in found:
                yield found["id"], found["event"], json.loads(found["data"])
                found = {}


@asynccontextmanager
async def watch(dispatcher: Any, run: str, **request: Any) -> AsyncIterator[Stream]:
    async with dispatcher.api.stream("GET", f"{RUNS}/{run}/events", **request) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


async def signal(dispatcher: Any, run: str, value: Any = None) -> None:
    response = await dispatcher.api.post(f"{RUNS}/{run}/signals/go", json=value)
    assert response.status_code == 202


async def test_the_stream_has_what_was_and_then_what_comes_and_ends(published: Any) -> None:
    run = await published.start("held")
    seen = []
    async with asyncio.timeout(20), watch(published, run) as stream:
        async for identifier, kind, data in stream:
            seen.append((identifier, kind))
            assert data["type"] == kind
            if kind == "step.waiting":
                await signal(published, run)
    assert seen == [
        ("1-0", "run.requested"),
        ("2-0", "run.started"),
        ("3-0", "step.waiting"),
        ("4-0", "signal.received"),
        ("5-0", "run.finished"),
    ]


async def test_a_stream_is_resumed_after_the_last_entry_that_was_seen(published: Any) -> None:
    run = await published.start("held")
    await published.until(run, "Waiting")
    await signal(published, run)
    await published.finished(run)
    async with asyncio.timeout(20):
        for request in ({"headers": {"last-event-id": "3-0"}}, {"params": {"after": "3-0"}}):
            async with watch(published, run, **request) as stream:
                assert [identifier async for identifier, _, _ in stream] == ["4-0", "5-0"]


async def test_any_dispatcher_resumes_any_client(published: Any, start_dispatcher: Any) -> None:
    other = await start_dispatcher()
    run = await published.start("held")
    async with asyncio.timeout(20), watch(other, run, headers={"last-event-id": "2-0"}) as stream:
        seen = []
        async for identifier, kind, _ in stream:
            seen.append(identifier)
            if kind == "step.waiting":
                await signal(published, run)
    assert seen == ["3-0", "4-0", "5-0"]


async def test_a_client_that_has_seen_all_is_told_not_to_come_back(published: Any) -> None:
    run = await published.start("held")
    await signal(published, run)
    await published.finished(run)
    response = await published.api.get(f"{RUNS}/{run}/events", headers={"last-event-id": "5-0"})
    assert response.status_code == 204


async def test_a_silent_stream_is_kept_open_by_comments(start_dispatcher: Any) -> None:
    dispatcher = await start_dispatcher(heartbeat=0.05)
    await dispatcher.publish("held", HELD)
    run = await dispatcher.start("held")
    async with asyncio.timeout(20), watch(dispatcher, run) as stream:
        async for _, kind, _ in stream:
            if kind == "step.waiting":
                break
        async for line in stream._lines:
            if line.startswith(": still watching"):
                break


@pytest.mark.parametrize("cursor", ["yesterday", "1-0-0", "-", "9" * 50, "9" * 20, "1-" + "9" * 20])
async def test_an_id_that_is_none_of_a_log_entry_is_refused(published: Any, cursor: str) -> None:
    run = await published.start("held")
    response = await published.api.get(f"{RUNS}/{run}/events", headers={"last-event-id": cursor})
    assert response.status_code == 400
    assert response.json()["reason"] == "BadParameter"


async def test_neither_token_nor_secret_is_in_what_watchers_see(
    dispatcher: Any, host: str, tmp_path: Path
) -> None:
    step = {"name": "tell", "function": "report", "input": {"mark": "${input.mark}"}}
    await dispatcher.publish(
        "shop",
        {
            "functions": [{"name": "report", "handler": "api_functions:report"}],
            "steps": [step],
        },
        functions={"report": [host]},
    )
    mark = tmp_path / "mark"
    run = await dispatcher.start("shop", {"mark": str(mark)})
    seen = []
    async with asyncio.timeout(30), watch(dispatcher, run) as stream:
        async for _, kind, data in stream:
            seen.append(data)
            if kind == "step.progressed":
                assert (data["fraction"], data["message"]) == (0.5, "half of it")
                mark.touch()
    view = await dispatcher.finished(run)
    assert view["state"] == "Succeeded"
    assert "step.progressed" in [data["type"] for data in seen]
    text = json.dumps([seen, view])
    head = await dispatcher.store.load(run)
    assert head.secret not in text
    assert "token" not in text


async def test_many_watchers_see_the_same(published: Any) -> None:
    run = await published.start("held")

    async def all_ids() -> list[str]:
        async with watch(published, run) as stream:
            return [identifier async for identifier, _, _ in stream]

    async with asyncio.timeout(20):
        watching = [asyncio.create_task(all_ids()) for _ in range(20)]
        await signal(published, run)
        seen = await asyncio.gather(*watching)
    assert {tuple(ids) for ids in seen} == {("1-0", "2-0", "3-0", "4-0", "5-0")}


async def test_streams_end_when_the_dispatcher_does(published: Any) -> None:
    run = await published.start("held")
    async with asyncio.timeout(10), watch(published, run) as stream:
        closing = None
        async for _, kind, _ in stream:
            if kind == "step.waiting":
                closing = asyncio.create_task(_close_doors(published))
        assert closing is not None
        await closing


async def _close_doors(dispatcher: Any) -> None:
    dispatcher.doors.close()


async def test_a_waiting_request_gets_its_ticket_when_the_dispatcher_ends(
    published: Any, until: Any
) -> None:
    starting = asyncio.create_task(
        published.api.post(
            "/v1/namespaces/default/workflows/held/runs",
            json={},
            headers={"prefer": "wait=50"},
        )
    )

    async def started() -> Any:
        return (await published.api.get(RUNS)).json()["items"]

    await until(started)
    published.doors.close()
    async with asyncio.timeout(10):
        response = await starting
    assert response.status_code == 202
    assert response.json()["run"]


def websocket_url(dispatcher: Any, run: str, query: str = "") -> str:
    base = str(dispatcher.api.base_url).rstrip("/").replace("http:", "ws:")
    return f"{base}{RUNS}/{run}/ws{query}"


async def test_a_websocket_carries_the_same_and_closes_normally(published: Any) -> None:
    run = await published.start("held")
    seen = []
    async with asyncio.timeout(20), connect(websocket_url(published, run), proxy=None) as socket:
        # The iteration ends with a normal closure, and raises at any other.
        async for message in socket:
            entry = json.loads(message)
            seen.append((entry["id"], entry["type"]))
            if entry["type"] == "step.waiting":
                await signal(published, run)
    assert seen[0] == ("1-0", "run.requested")
    assert seen[-1] == ("5-0", "run.finished")
    assert socket.close_code == 1000


async def test_a_websocket_is_resumed_after_an_entry(published: Any) -> None:
    run = await published.start("held")
    await signal(published, run)
    await published.finished(run)
    url = websocket_url(published, run, "?after=3-0")
    async with asyncio.timeout(20), connect(url, proxy=None) as socket:
        entries = [json.loads(message) async for message in socket]
    assert [entry["id"] for entry in entries] == ["4-0", "5-0"]


@pytest.mark.parametrize(
    ("run", "query", "status"),
    [("5b1f0000-0000-4000-8000-000000000000-00", "", 404), (None, "?after=x", 400)],
)
async def test_a_websocket_that_cannot_be_opened_is_answered_with_a_problem(
    published: Any, run: str | None, query: str, status: int
) -> None:
    known = run or await published.start("held")
    with pytest.raises(InvalidStatus) as refused:
        async with connect(websocket_url(published, known, query), proxy=None):
            pass
    response = refused.value.response
    assert response.status_code == status
    assert json.loads(response.body or b"")["status"] == status


async def test_a_client_that_leaves_is_no_longer_counted(published: Any, until: Any) -> None:
    run = await published.start("held")
    gauge = published.doors.services.metrics.watchers

    def counted(kind: str) -> float:
        found: float = gauge.labels(kind)._value.get()
        return found

    async with connect(websocket_url(published, run), proxy=None) as socket:
        await socket.recv()
        await until(lambda: counted("websocket") == 1)
    await until(lambda: counted("websocket") == 0)
    async with watch(published, run) as stream:
        async for _ in stream:
            break
        await until(lambda: counted("sse") == 1)
    await until(lambda: counted("sse") == 0)


async def test_clients_that_vanish_leave_nothing_behind(
    published: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = await published.start("held")
    await published.until(run, "Waiting")
    gauge = published.doors.services.metrics.watchers.labels("sse")
    request = f"GET {RUNS}/{run}/events HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
    writers = []
    for _ in range(20):
        base = published.api.base_url
        reader, writer = await asyncio.open_connection(base.host, base.port)
        writer.write(request)
        await reader.readuntil(b"step.waiting")
        writers.append(writer)
    assert gauge._value.get() == 20
    for writer in writers:
        writer.transport.abort()
    await until(lambda: gauge._value.get() == 0)
    gc.collect()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
