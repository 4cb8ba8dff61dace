"""How the API's answers become sentences, and its event stream becomes log entries."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentworkflow.cli.client import (
    ApiClient,
    LogEntry,
    RefusedError,
    UnreachableError,
    parse_event_stream,
    problem_text,
)


def test_a_problem_reads_as_title_and_detail() -> None:
    problem = {"title": "Unknown run", "detail": "No run has the id 12."}

    assert problem_text(404, problem) == "Unknown run: No run has the id 12."


def test_a_problem_names_the_path_of_each_error() -> None:
    problem = {
        "title": "The input does not fit",
        "errors": [
            {"path": "lines[0].price", "message": "-1 is less than 0"},
            {"path": "", "message": "'customer' is missing"},
        ],
    }

    assert problem_text(422, problem) == (
        "The input does not fit\n"
        "  lines[0].price: -1 is less than 0\n"
        "  the input: 'customer' is missing"
    )


def test_an_answer_that_says_nothing_is_told_by_its_status() -> None:
    assert problem_text(502, {}) == "HTTP status 502"


@pytest.mark.parametrize(
    ("status", "exit_code"), [(404, 2), (409, 2), (422, 2), (500, 1), (503, 1)]
)
def test_a_wrong_request_exits_with_2_and_a_failing_engine_with_1(
    status: int, exit_code: int
) -> None:
    assert RefusedError(status, {}).exit_code == exit_code


async def test_an_address_where_nothing_listens_says_how_to_start_an_engine() -> None:
    async with ApiClient("http://127.0.0.1:1") as api:
        with pytest.raises(UnreachableError) as caught:
            await api.get("/workflows")

    assert "no engine answers at http://127.0.0.1:1" in str(caught.value)
    assert "agentworkflow dev FILE" in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_event_stream_becomes_log_entries() -> None:
    text = (
        ": heartbeat\n\n"
        'id: 1-0\nevent: run.started\ndata: {"type": "run.started"}\n\n'
        ":\n\n"
        'id: 2-0\nevent: step.requested\ndata: {"type":\ndata: "step.requested"}\n\n'
        "id: 3-0\ndata: {unfinished"
    )

    async def lines() -> AsyncIterator[str]:
        for line in text.splitlines():
            yield line

    async def collect() -> list[LogEntry]:
        return [entry async for entry in parse_event_stream(lines())]

    assert asyncio.run(collect()) == [
        LogEntry("1-0", "run.started", {"type": "run.started"}),
        LogEntry("2-0", "step.requested", {"type": "step.requested"}),
    ]


async def test_a_broken_stream_is_resumed_after_its_last_entry() -> None:
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        seen = next((line for line in request.splitlines() if line.startswith("last-event-id")), "")
        asked.append(seen.partition(": ")[2])
        kind = "run.finished" if seen else "run.started"
        entry = f'id: {len(asked)}-0\nevent: {kind}\ndata: {{"type": "{kind}"}}\n\n'
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n" + f"{len(entry):x}\r\n{entry}\r\n".encode()
        )
        await writer.drain()
        writer.close()  # in the middle of the stream: there is no last chunk
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, ApiClient(f"http://127.0.0.1:{port}") as api:
        entries = [entry.type async for entry in api.entries("run", follow=True)]

    assert entries == ["run.started", "run.finished"]
    assert asked == ["", "1-0"]
