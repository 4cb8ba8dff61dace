"""Keys, namespaces, foreign hosts and pages, rates."""

import hashlib
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from agentworkflow.dispatcher.keys import (
    ApiKeyError,
    UnsafeAddressError,
    is_loopback,
    parse_api_key,
    parse_api_keys,
    require_safe_address,
)
from agentworkflow.dispatcher.limits import RateLimit
from agentworkflow.dispatcher.ports import Overloaded
from agentworkflow.dispatcher.settings import ApiKey, Settings

RUNS = "/v1/namespaces/default/runs"
KEY = "a-key-that-is-long-enough"
OTHER = "another-key-long-enough"
HELD = {
    "steps": [{"name": "hold", "waitFor": {"signal": "go"}}],
    "routes": [{"path": "/orders", "response": "Ticket"}],
}


def keys(*lines: str) -> tuple[ApiKey, ...]:
    return parse_api_keys(lines)


@pytest.fixture
async def guarded(start_dispatcher: Any) -> Any:
    found = await start_dispatcher(api_keys=keys(f"all:{KEY}", f"shop:{OTHER}:shop,default"))
    await found.publish("held", HELD)
    await found.publish("held", HELD | {"routes": [{"path": "/x"}]}, namespace="secret")
    return found


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}],
)
async def test_a_key_opens_the_api(guarded: Any, headers: dict[str, str]) -> None:
    assert (await guarded.api.get(RUNS, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": KEY},
        {"authorization": "Bearer"},
        {"x-api-key": ""},
        {"x-api-key": KEY + "x"},
        {"x-api-key": hashlib.sha256(KEY.encode()).hexdigest()},
    ],
)
async def test_without_a_known_key_everything_is_401(guarded: Any, headers: dict[str, str]) -> None:
    for method, path in (
        ("GET", RUNS),
        ("POST", "/v1/namespaces/default/workflows/held/runs"),
        ("POST", "/orders"),
        ("GET", "/metrics"),
        ("GET", "/nothing"),
    ):
        response = await guarded.api.request(method, path, headers=headers)
        assert response.status_code == 401
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
async def test_probes_and_the_description_need_no_key(guarded: Any, path: str) -> None:
    assert (await guarded.api.get(path)).status_code == 200


async def test_a_key_opens_its_namespaces_only(guarded: Any) -> None:
    mine = {"x-api-key": OTHER}
    assert (await guarded.api.get(RUNS, headers=mine)).status_code == 200
    for path in ("runs", "workflows", "workflows/held", "dead-letters"):
        response = await guarded.api.get(f"/v1/namespaces/secret/{path}", headers=mine)
        assert (response.status_code, response.json()["reason"]) == (403, "Forbidden")


async def test_a_route_asks_for_a_key_that_opens_its_namespace(guarded: Any) -> None:
    allowed = await guarded.api.post("/orders", json={}, headers={"x-api-key": OTHER})
    refused = await guarded.api.post("/x", json={}, headers={"x-api-key": OTHER})
    opened = await guarded.api.post("/x", json={"wait": 0}, headers={"x-api-key": "wrong"})
    assert (allowed.status_code, refused.status_code, opened.status_code) == (202, 403, 401)


async def test_a_websocket_without_a_key_is_refused(guarded: Any) -> None:
    base = str(guarded.api.base_url).rstrip("/").replace("http:", "ws:")
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{base}{RUNS}/x/ws", proxy=None):
            pass
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.7", "[::2]"]
)
async def test_without_keys_a_foreign_host_name_is_refused(dispatcher: Any, host: str) -> None:
    response = await dispatcher.api.get(RUNS, headers={"host": host})
    assert (response.status_code, response.json()["reason"]) == (403, "ForeignHost")


@pytest.mark.parametrize(
    "host", ["localhost:1", "127.0.0.1", "[::1]:8080", "LocalHost", "awf.localhost", "127.9.9.9"]
)
async def test_without_keys_the_names_of_this_machine_are_served(
    dispatcher: Any, host: str
) -> None:
    assert (await dispatcher.api.get(RUNS, headers={"host": host})).status_code == 200


async def test_a_name_that_the_settings_allow_is_served(start_dispatcher: Any) -> None:
    dispatcher = await start_dispatcher(allowed_hosts=("box.lan",))
    allowed = await dispatcher.api.get(RUNS, headers={"host": "Box.lan:8080"})
    other = await dispatcher.api.get(RUNS, headers={"host": "box.lan.evil.example"})
    assert (allowed.status_code, other.status_code) == (200, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_without_keys_a_page_of_another_origin_is_refused(
    dispatcher: Any, headers: dict[str, str]
) -> None:
    response = await dispatcher.api.post(
        "/v1/namespaces/default/workflows/x/runs", json={}, headers=headers
    )
    assert (response.status_code, response.json()["reason"]) == (403, "ForeignOrigin")


async def test_a_page_of_our_own_origin_is_served(dispatcher: Any) -> None:
    own = str(dispatcher.api.base_url).rstrip("/")
    headers = {"origin": own, "sec-fetch-site": "same-origin"}
    assert (await dispatcher.api.get(RUNS, headers=headers)).status_code == 200


async def test_a_key_has_a_rate(start_dispatcher: Any) -> None:
    dispatcher = await start_dispatcher(
        api_keys=keys(f"a:{KEY}", f"b:{OTHER}"), rate_limit=0.01, rate_burst=3
    )
    mine = [await dispatcher.api.get(RUNS, headers={"x-api-key": KEY}) for _ in range(4)]
    theirs = await dispatcher.api.get(RUNS, headers={"x-api-key": OTHER})
    assert [each.status_code for each in mine] == [200, 200, 200, 429]
    assert int(mine[3].headers["retry-after"]) > 0
    assert mine[3].json()["reason"] == "Overloaded"
    assert theirs.status_code == 200
    assert (await dispatcher.api.get("/healthz")).status_code == 200


def test_a_bucket_fills_with_time() -> None:
    now = 0.0
    limit = RateLimit(rate=2.0, burst=2, clock=lambda: now)
    limit.take("a")
    limit.take("a")
    with pytest.raises(Overloaded) as refused:
        limit.take("a")
    assert refused.value.retry_after == 1
    now = 0.5
    limit.take("a")
    with pytest.raises(Overloaded):
        limit.take("a")
    now = 100.0
    limit.take("a")
    limit.take("a")
    with pytest.raises(Overloaded):
        limit.take("a")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "dispatcher", "203.0.113.1"])
def test_nothing_is_served_without_keys_where_others_can_reach_it(host: str) -> None:
    with pytest.raises(UnsafeAddressError) as refused:
        require_safe_address(Settings(host=host))
    assert "--insecure-no-auth" in str(refused.value)
    require_safe_address(Settings(host=host, api_keys=keys(f"a:{KEY}")))
    require_safe_address(Settings(host=host, insecure_no_auth=True))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("x.localhost", True),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("0.0.0.0", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_loopback_is_known_without_asking_anyone(host: str, expected: bool) -> None:
    assert expected == is_loopback(host)


def test_a_key_is_kept_as_its_digest_only() -> None:
    key = parse_api_key(f"ci:{KEY}:shop, default")
    assert key == ApiKey(
        "ci", hashlib.sha256(KEY.encode()).digest(), frozenset({"shop", "default"})
    )
    assert KEY not in repr(key)


@pytest.mark.parametrize("line", ["nothing", "name:", ":key", "name:short"])
def test_a_line_that_defines_no_key_is_refused_without_showing_it(line: str) -> None:
    with pytest.raises(ApiKeyError) as refused:
        parse_api_key(line)
    assert "short" not in str(refused.value)


def test_comments_and_empty_lines_are_no_keys() -> None:
    assert [key.name for key in keys("# ours", "", f"a:{KEY}", "  ")] == ["a"]


async def test_a_page_of_another_origin_opens_no_websocket(dispatcher: Any) -> None:
    base = str(dispatcher.api.base_url).rstrip("/").replace("http:", "ws:")
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{base}{RUNS}/x/ws", origin=Origin("https://evil.example"), proxy=None):
            pass
    assert refused.value.response.status_code == 403
