"""Webhooks: where they may go, how they are signed, sent again, and given up."""

import base64
import hashlib
import hmac
import ipaddress
import json
import time
from typing import Any

import pytest

from agentworkflow.dispatcher.push import backoff
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.dispatcher.webhooks import (
    ForbiddenAddressError,
    Signer,
    WebhookPolicy,
    WebhookSecretError,
    is_public,
)

START = "/v1/namespaces/default/workflows/{}/runs"
LETTERS = "/v1/namespaces/default/dead-letters"
SECRET_BYTES = b"twenty-four bytes or more of it"
SECRET = "whsec_" + base64.b64encode(SECRET_BYTES).decode()
IMMEDIATE = {
    "steps": [{"name": "pause", "waitFor": {"duration": "1ms"}}],
    "output": {"got": "${input}"},
}
HELD = {"steps": [{"name": "hold", "waitFor": {"signal": "go"}}], "output": 1}


@pytest.fixture
def allowed(receiver: Any) -> dict[str, Any]:
    """Settings that allow webhooks to the receiver, which has a private address."""
    place = receiver.url.removeprefix("http://")
    return {
        "webhook_hosts": (place,),
        "webhook_private_hosts": (place,),
        "webhook_secret": SECRET,
    }


async def start(dispatcher: Any, name: str, url: str, value: Any = None) -> str:
    run: str = await dispatcher.start(name, value, params={"webhook": url})
    return run


def verified(request: tuple[str, dict[str, str], bytes]) -> dict[str, Any]:
    """The payload, checked as a receiver does by Standard Webhooks."""
    _, headers, body = request
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.new(SECRET_BYTES, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
    assert headers["content-type"] == "application/json"
    payload: dict[str, Any] = json.loads(body)
    return payload


async def test_the_end_of_a_run_is_pushed_signed_with_the_run(
    start_dispatcher: Any, receiver: Any, allowed: dict[str, Any]
) -> None:
    dispatcher = await start_dispatcher(**allowed)
    await dispatcher.publish("immediate", IMMEDIATE)
    run = await start(dispatcher, "immediate", f"{receiver.url}/hook?x=1", {"n": 1})
    await receiver.count(1)
    path, headers, _ = receiver.requests[0]
    payload = verified(receiver.requests[0])
    assert path == "/hook"
    assert headers["host"] == receiver.url.removeprefix("http://")
    assert headers["webhook-id"].startswith(f"{run}/")
    assert payload["type"] == "run.finished"
    assert (payload["data"]["run"], payload["data"]["state"]) == (run, "Succeeded")
    assert payload["data"]["output"] == {"got": {"n": 1}}


async def test_a_step_that_waits_for_a_signal_is_pushed_before_the_end(
    start_dispatcher: Any, receiver: Any, allowed: dict[str, Any]
) -> None:
    dispatcher = await start_dispatcher(**allowed)
    await dispatcher.publish("held", HELD)
    run = await start(dispatcher, "held", receiver.url)
    await receiver.count(1)
    waiting = verified(receiver.requests[0])
    assert waiting["type"] == "step.waiting"
    assert (waiting["data"]["run"], waiting["data"]["signal"]) == (run, "go")
    await dispatcher.api.post(f"/v1/namespaces/default/runs/{run}/signals/go", json=1)
    await receiver.count(2)
    assert verified(receiver.requests[1])["type"] == "run.finished"


async def test_a_delivery_that_fails_is_made_again_under_the_same_id(
    start_dispatcher: Any, receiver: Any, allowed: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("agentworkflow.dispatcher.push.backoff", lambda _attempts: 0.01)
    receiver.statuses.extend([500, 302, 204])
    receiver.reply_headers["location"] = "http://169.254.169.254/"
    dispatcher = await start_dispatcher(**allowed)
    await dispatcher.publish("immediate", IMMEDIATE)
    await start(dispatcher, "immediate", receiver.url)
    await receiver.count(3)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1
    for request in receiver.requests:
        verified(request)
    assert (await dispatcher.api.get(LETTERS)).json()["items"] == []


async def test_a_delivery_that_keeps_failing_becomes_a_dead_letter_that_can_be_sent_again(
    start_dispatcher: Any, receiver: Any, allowed: dict[str, Any], monkeypatch: Any, until: Any
) -> None:
    monkeypatch.setattr("agentworkflow.dispatcher.push.backoff", lambda _attempts: 0.01)
    receiver.statuses.extend([500, 503])
    dispatcher = await start_dispatcher(**allowed, webhook_attempts=2)
    await dispatcher.publish("immediate", IMMEDIATE)
    run = await start(dispatcher, "immediate", f"{receiver.url}/hook")

    async def letters() -> Any:
        return (await dispatcher.api.get(LETTERS)).json()["items"]

    (letter,) = await until(letters)
    assert len(receiver.requests) == 2
    assert (letter["kind"], letter["reason"], letter["run"]) == ("webhook", "Status503", run)
    assert letter["target"] == f"{receiver.url}/hook"
    response = await dispatcher.api.post(f"{LETTERS}/{letter['id']}/redrive")
    assert response.status_code == 200
    assert verified(receiver.requests[2]) == verified(receiver.requests[0])
    assert await letters() == []


async def test_a_receiver_that_is_gone_for_good_is_not_asked_again(
    start_dispatcher: Any, receiver: Any, allowed: dict[str, Any], until: Any
) -> None:
    receiver.statuses.append(410)
    dispatcher = await start_dispatcher(**allowed)
    await dispatcher.publish("immediate", IMMEDIATE)
    await start(dispatcher, "immediate", receiver.url)

    async def letters() -> Any:
        return (await dispatcher.api.get(LETTERS)).json()["items"]

    (letter,) = await until(letters)
    assert (letter["code"], len(receiver.requests)) == (410, 1)


async def test_another_dispatcher_delivers_what_the_first_could_not(
    start_dispatcher: Any, receiver: Any, allowed: dict[str, Any], monkeypatch: Any, until: Any
) -> None:
    monkeypatch.setattr("agentworkflow.dispatcher.push.backoff", lambda _attempts: 0.5)
    receiver.statuses.append(500)
    first = await start_dispatcher(**allowed)
    await first.publish("immediate", IMMEDIATE)
    run = await start(first, "immediate", receiver.url)
    await receiver.count(1)

    async def saved() -> bool:
        hook = await first.core.runs.hook(run)
        return bool(hook.attempts)

    await until(saved)
    await first.close()
    await start_dispatcher(**allowed)
    await receiver.count(2)
    assert verified(receiver.requests[1])["data"]["run"] == run


async def test_a_name_that_resolves_to_a_private_address_is_not_called(
    start_dispatcher: Any, receiver: Any, until: Any
) -> None:
    port = receiver.url.rpartition(":")[2]
    dispatcher = await start_dispatcher(webhook_hosts=(f"localhost:{port}",), webhook_secret=SECRET)
    await dispatcher.publish("immediate", IMMEDIATE)
    await start(dispatcher, "immediate", f"http://localhost:{port}/")

    async def letters() -> Any:
        return (await dispatcher.api.get(LETTERS)).json()["items"]

    (letter,) = await until(letters)
    assert "private" in letter["detail"]
    assert receiver.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example/",
        "https://hooks.example.com:8443/",
        "ftp://hooks.example.com/",
        "hooks.example.com",
        "https://user@hooks.example.com/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com.evil.example/",
        "https://evil.example/hooks.example.com",
        "https://hooks.example.com:port/",
        "https://[::1/",
        "https://hooks.example.com/ x",
        "https://hooks.example.com/" + "x" * 3000,
    ],
)
async def test_a_webhook_that_is_not_allowed_is_422_and_no_run(
    start_dispatcher: Any, url: str
) -> None:
    dispatcher = await start_dispatcher(webhook_hosts=("hooks.example.com",), webhook_secret=SECRET)
    await dispatcher.publish("held", HELD)
    response = await dispatcher.api.post(START.format("held"), json={}, params={"webhook": url})
    assert (response.status_code, response.json()["reason"]) == (422, "WebhookRefused")
    assert (await dispatcher.api.get("/v1/namespaces/default/runs")).json()["items"] == []


async def test_without_settings_no_webhook_is_taken(dispatcher: Any) -> None:
    await dispatcher.publish("held", HELD)
    response = await dispatcher.api.post(
        START.format("held"), json={}, headers={"webhook": "https://hooks.example.com/"}
    )
    assert response.status_code == 422
    assert "--webhook-host" in response.json()["detail"]


@pytest.mark.parametrize(
    ("entry", "url", "expected"),
    [
        ("example.com", "https://example.com/", True),
        ("example.com", "https://EXAMPLE.com/", True),
        ("example.com", "https://a.example.com/", False),
        (".example.com", "https://a.b.example.com/", True),
        (".example.com", "https://example.com/", False),
        (".example.com", "https://evilexample.com/", False),
        ("example.com:8080", "http://example.com:8080/", True),
        ("example.com:8080", "http://example.com/", False),
        ("[::1]:80", "http://[::1]:80/", True),
        ("::1", "http://[::1]/", True),
    ],
)
def test_a_host_is_allowed_by_its_entry(entry: str, url: str, expected: bool) -> None:
    policy = WebhookPolicy(Settings(webhook_hosts=(entry,)))
    try:
        policy._split(url)
    except ForbiddenAddressError:
        assert not expected
    else:
        assert expected


async def test_the_address_that_was_resolved_is_the_one_that_is_called() -> None:
    policy = WebhookPolicy(
        Settings(webhook_hosts=("localhost:81",), webhook_private_hosts=("localhost:81",))
    )
    destination = await policy.resolve("http://localhost:81/path?q=1")
    assert destination.url in ("http://127.0.0.1:81/path?q=1", "http://[::1]:81/path?q=1")
    assert (destination.host, destination.name) == ("localhost:81", "localhost")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_a_signature_is_that_of_the_specification() -> None:
    # The example of standardwebhooks' own libraries.
    signer = Signer("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", ["whsec_!", "whsec_c2hvcnQ=", "", "whsec_" + "A" * 200])
def test_a_secret_that_is_none_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(WebhookSecretError) as refused:
        Signer(secret)
    assert secret.removeprefix("whsec_") not in str(refused.value) or not secret


def test_the_pauses_grow_and_are_bounded() -> None:
    assert 2.5 <= backoff(0) <= 5
    assert 20 <= backoff(3) <= 40
    assert 1800 <= backoff(50) <= 3600
