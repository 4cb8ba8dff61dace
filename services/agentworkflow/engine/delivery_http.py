"""Talks to subscribers: one POST of one event, and its answer read within bounds."""

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import httpx2

from agentworkflow.engine.delivery import ERROR_DATA_BYTES, Answer, parse_retry_after
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import MalformedEvent, decode, encode_binary

REPLY_BYTES: Final = 1024 * 1024
"""The largest reply that is taken; the broker takes no larger event from anyone."""

# Shorter than the five seconds after which uvicorn closes a silent connection: a connection that
# the subscriber is just closing looks like a failed delivery.
_KEEPALIVE: Final = 2.0


class DeliveryClient:
    """Posts events in binary mode; shared by all Triggers of an engine."""

    def __init__(self) -> None:
        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=64, keepalive_expiry=_KEEPALIVE
        )
        # No proxy and no .netrc of the user stands between the engine and its own loopback.
        self._client = httpx2.AsyncClient(
            limits=limits, timeout=None, trust_env=False, follow_redirects=False
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def post(
        self, url: str, event: CloudEvent, *, seconds: float, take_reply: bool
    ) -> Answer:
        """Deliver once. Never raises for what a subscriber or the network does."""
        try:
            headers, body = encode_binary(event)
        except MalformedEvent as error:
            return Answer(HTTPStatus.BAD_REQUEST, str(error).encode())
        if take_reply:
            headers["prefer"] = "reply"
        headers["accept-encoding"] = "identity"
        try:
            async with asyncio.timeout(seconds):
                request = self._client.build_request("POST", url, headers=headers, content=body)
                response = await self._client.send(request, stream=True)
                try:
                    return await _read(response, take_reply=take_reply)
                finally:
                    await response.aclose()
        except TimeoutError:
            return _no_answer(f"no answer within {seconds:g} s")
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
            return _no_answer(f"{type(error).__name__}: {error}")


def _no_answer(why: str) -> Answer:
    return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"dispatch error: {why}".encode())


async def _read(response: httpx2.Response, *, take_reply: bool) -> Answer:
    status = response.status_code
    if status == HTTPStatus.OK and take_reply:
        return await _read_reply(response)
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer(status)
    body, _ = await _read_at_most(response, ERROR_DATA_BYTES)
    return Answer(status, body, parse_retry_after(status, response.headers, datetime.now(UTC)))


async def _read_reply(response: httpx2.Response) -> Answer:
    """A 200 is empty or holds one CloudEvent; anything else counts as a failed delivery."""
    body, whole = await _read_at_most(response, REPLY_BYTES)
    if not whole:
        return _bad_reply(f"the reply is larger than {REPLY_BYTES} bytes")
    speaks_events = "ce-specversion" in response.headers or response.headers.get(
        "content-type", ""
    ).startswith("application/cloudevents")
    if not speaks_events:
        if not body:
            return Answer(HTTPStatus.OK)
        return _bad_reply("the reply is neither empty nor a CloudEvent")
    try:
        return Answer(HTTPStatus.OK, reply=decode(response.headers.multi_items(), body))
    except MalformedEvent as error:
        return _bad_reply(f"the reply is a malformed CloudEvent: {error}")


def _bad_reply(why: str) -> Answer:
    return Answer(HTTPStatus.BAD_GATEWAY, why.encode())


async def _read_at_most(response: httpx2.Response, limit: int) -> tuple[bytes, bool]:
    """The first ``limit`` bytes, and whether they are all."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            return bytes(body[:limit]), False
    return bytes(body), True
