"""The dispatcher as a process: it answers early, says what is wrong, and ends gracefully."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentworkflow.dispatcher.flags import SettingsError, parse_settings
from agentworkflow.engine.valkey import EmbeddedValkey

RUNS = "/v1/namespaces/default/runs"
HELD = {"steps": [{"name": "hold", "waitFor": {"signal": "go"}}], "routes": [{"path": "/held"}]}


@asynccontextmanager
async def process(*flags: str) -> AsyncIterator[Any]:
    command = (sys.executable, "-m", "agentworkflow.dispatcher", *flags)
    found = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            found.kill()
        await found.communicate()


@asynccontextmanager
async def listening(url: str, *flags: str) -> AsyncIterator[tuple[Any, httpx2.AsyncClient]]:
    places = ("--redis-url", url, "--port", "0", "--event-port", "0")
    async with process(*places, *flags) as found:
        said = json.loads(await found.stdout.readline())
        assert said["event"] == "listening"
        async with httpx2.AsyncClient(base_url=said["api"], timeout=30, trust_env=False) as client:
            yield found, client


async def test_it_serves_starts_and_ends_with_nothing_in_flight(
    valkey_url: str, dispatcher: Any
) -> None:
    await dispatcher.publish("held", HELD)
    async with asyncio.timeout(60), listening(valkey_url) as (found, client):
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).status_code == 200
        response = await client.post("/v1/namespaces/default/workflows/held/runs", json={})
        assert response.status_code == 202
        found.send_signal(signal.SIGTERM)
        log = (await found.stderr.read()).decode()
        assert await found.wait() == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"event", "level", "timestamp"} <= set(lines[0])
    assert [line for line in lines if line["level"] in ("error", "critical")] == []


async def answer_to(url: str, *pieces: bytes) -> tuple[bytes, dict[str, Any]]:
    """The status line and the problem that a raw connection gets."""
    address = httpx2.URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    writer.close()
    return head.splitlines()[0], json.loads(body)


async def test_a_head_that_never_ends_is_refused_and_what_is_no_http_too(valkey_url: str) -> None:
    async with asyncio.timeout(60), listening(valkey_url) as (_, client):
        url = str(client.base_url)
        endless = (b"GET / HTTP/1.1\r\nX: ", *(b"x" * 65_536 for _ in range(100)))
        line, problem = await answer_to(url, *endless)
        assert line == b"HTTP/1.1 431 Request Header Fields Too Large"
        assert problem["status"] == 431
        line, problem = await answer_to(url, b"no HTTP at all\r\n\r\n")
        assert line == b"HTTP/1.1 400 Bad Request"
        assert problem["title"] == "Not HTTP"


async def test_a_head_in_pieces_and_a_large_body_after_it_are_taken(valkey_url: str) -> None:
    body = b'{"note": "%s"}' % (b"x" * 900_000)
    head = (
        b"POST /v1/namespaces/default/events HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/cloudevents+json\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n"
    )
    pieces = [bytes([each]) for each in head % len(body)]
    async with asyncio.timeout(60), listening(valkey_url) as (_, client):
        assert (await client.get("/readyz")).status_code == 200
        line, problem = await answer_to(str(client.base_url), *pieces, body)
        assert line == b"HTTP/1.1 400 Bad Request"
        assert problem["title"] == "Malformed CloudEvent"


async def test_it_ends_streams_and_answers_what_waits(valkey_url: str, dispatcher: Any) -> None:
    await dispatcher.publish("held", HELD)
    run = await dispatcher.start("held")
    async with asyncio.timeout(60), listening(valkey_url) as (found, client):
        assert (await client.get("/readyz")).status_code == 200
        waiting = asyncio.create_task(
            client.post(
                "/v1/namespaces/default/workflows/held/runs",
                json={},
                headers={"prefer": "wait=50"},
            )
        )
        async with client.stream("GET", f"{RUNS}/{run}/events") as stream:
            async for line in stream.aiter_lines():
                if line == "event: step.waiting":
                    # The other request is in by then: it was sent before the stream was opened.
                    found.send_signal(signal.SIGINT)
        assert (await waiting).status_code == 202
        assert await found.wait() == 0


async def test_it_waits_for_a_store_that_is_not_up_yet(tmp_path: Path, until: Any) -> None:
    server = EmbeddedValkey(tmp_path / "data", options={"appendfsync": "no"})
    url = await server.start()
    await server.stop()
    async with asyncio.timeout(60), listening(url) as (_, client):
        assert (await client.get("/healthz")).status_code == 200
        refused = await client.get("/readyz")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        await server.start()
        try:

            async def is_ready() -> bool:
                return bool((await client.get("/readyz")).status_code == 200)

            await until(is_ready)
            assert (await client.get(RUNS)).json() == {"items": [], "cursor": None}
        finally:
            await server.stop()


async def test_without_keys_it_does_not_serve_where_others_can_reach_it() -> None:
    async with asyncio.timeout(30), process("--host", "0.0.0.0", "--port", "0") as found:
        _, said = await found.communicate()
        assert found.returncode == 2
    assert "--insecure-no-auth" in said.decode()


async def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with asyncio.timeout(30), process("--port", str(port)) as found:
            _, said = await found.communicate()
            assert found.returncode == 2
    assert said.decode().splitlines() == [
        f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use"
    ]


def test_a_flag_wins_over_its_variable(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    environment = {
        "AGENTWORKFLOW_PORT": "1",
        "AGENTWORKFLOW_EVENT_PORT": "2",
        "AGENTWORKFLOW_API_KEYS": "ci:a-key-that-is-long-enough:shop",
        "AGENTWORKFLOW_ALLOWED_HOST": "a.lan, b.lan",
        "AGENTWORKFLOW_WEBHOOK_SECRET": "whsec_x",
        "AGENTWORKFLOW_INSECURE_NO_AUTH": "true",
    }
    flags = [
        "--port",
        "3",
        "--event-secret-file",
        str(secret),
        "--webhook-host",
        "x",
        "--rate-limit",
    ]
    settings, level = parse_settings([*flags, "2.5"], environment)
    assert (settings.port, settings.event_port, settings.rate_limit) == (3, 2, 2.5)
    assert (settings.event_secret, settings.webhook_secret) == ("from a file", "whsec_x")
    assert settings.allowed_hosts == ("a.lan", "b.lan")
    assert settings.webhook_hosts == ("x",)
    assert [key.name for key in settings.api_keys] == ["ci"]
    assert settings.insecure_no_auth
    assert level == "INFO"


@pytest.mark.parametrize(
    ("flags", "environment", "said"),
    [
        (["--port", "http"], {}, "--port"),
        ([], {"AGENTWORKFLOW_SHARDS": "many"}, "--shards"),
        (["--api-keys", "/nowhere"], {}, "/nowhere"),
        ([], {"AGENTWORKFLOW_API_KEYS": "x:short"}, "x"),
        (["--webhook-host", "x"], {}, "--webhook-secret-file"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    flags: list[str], environment: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(flags, environment)
    assert said in str(refused.value)
