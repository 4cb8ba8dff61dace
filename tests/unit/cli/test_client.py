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
