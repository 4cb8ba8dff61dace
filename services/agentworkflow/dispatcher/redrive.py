"""Sends a dead letter again, to where it was going and nowhere else, and drops it if it arrived."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx2

from agentworkflow.dispatcher.event_starts import EventStarts, depth_of, find_trigger
from agentworkflow.dispatcher.ports import DeadLetter
from agentworkflow.dispatcher.problems import Refused
from agentworkflow.dispatcher.push import Pusher, Undelivered
from agentworkflow.dispatcher.services import Services
from agentworkflow.events import CloudEvent
from agentworkflow.events.http import MalformedEvent, decode, encode_binary, from_json
from agentworkflow.events.types import AWF_DEPTH
from agentworkflow.workflow.models import AgentWorkflow

# A function from zero: its start and its handler's own limit, as Knative cuts a post.
_FUNCTION_TIMEOUT: Final = httpx2.Timeout(600.0, connect=10.0)
_OK: Final = range(200, 300)


class Redrive:
    """Sends dead letters again.

    Args:
        services: dead letters, the catalog, the client for functions.
        starts: for letters of triggers that start runs.
        pusher: for letters of webhooks; None where there are no webhooks.
    """

    def __init__(self, services: Services, starts: EventStarts, pusher: Pusher | None) -> None:
        self._services = services
        self._starts = starts
        self._pusher = pusher

    async def redrive(self, namespace: str, letter: str) -> dict[str, str | None]:
        """Send one letter again, then drop it; the run or publication that came of it.

        Raises:
            Refusal: it did not arrive; the letter is kept.
        """
        found = await self._services.dead_letters.get(namespace, letter)
        came: dict[str, str | None] = {"run": None, "publication": None}
        if found.kind == "webhook":
            await self._push(found)
        else:
            event = from_json(found.event)
            if found.kind == "publication":
                came["publication"] = await self._services.runs.accept_event(
                    namespace, found.target, event
                )
            else:
                came |= await self._to_trigger(found, event)
        await self._services.dead_letters.remove(namespace, letter)
        return came

    async def _to_trigger(self, letter: DeadLetter, event: CloudEvent) -> Mapping[str, str | None]:
        workflow = letter.workflow or ""
        published = self._services.catalog.get(letter.namespace, workflow)
        spec = find_trigger(published, letter.target)
        if spec.function is None:
            outcome = await self._starts.deliver(letter.namespace, workflow, spec.name, event)
            return {"run": outcome.run}
        addresses = published.functions.get(spec.function, ())
        if not addresses:
            raise _undelivered(f"The function {spec.function} has no address.")
        # The last address is the function's own; a pool's may have no free slot.
        path = _path_of(published.resource, spec.function, spec.name)
        reply = await self._call(addresses[-1].rstrip("/") + path, event)
        if reply is None:
            return {}
        reply = reply.with_extensions({AWF_DEPTH: depth_of(event) + 1})
        broker = published.resource.spec.broker.name
        publication = await self._services.runs.accept_event(letter.namespace, broker, reply)
        return {"publication": publication}

    async def _call(self, url: str, event: CloudEvent) -> CloudEvent | None:
        headers, body = encode_binary(event)
        try:
            response = await self._services.http.post(
                url, content=body, headers=headers, timeout=_FUNCTION_TIMEOUT
            )
        except (httpx2.HTTPError, OSError) as error:
            raise _undelivered(f"{url}: {type(error).__name__}: {error}") from error
        if response.status_code not in _OK:
            raise _undelivered(f"{url} answered {response.status_code}: {response.text[:300]}")
        replied = response.content or "ce-specversion" in response.headers
        if response.status_code != HTTPStatus.OK or not replied:
            # A reply in a 202 is ignored, as a Broker does.
            return None
        try:
            return decode(response.headers.multi_items(), response.content)
        except MalformedEvent as error:
            raise _undelivered(f"{url} replied with what is no CloudEvent: {error}") from error

    async def _push(self, letter: DeadLetter) -> None:
        if self._pusher is None:
            raise _undelivered("Webhooks are not configured here.")
        payload: Any = letter.event["data"]
        try:
            await self._pusher.deliver(letter.target, str(letter.event["id"]), payload)
        except Undelivered as failure:
            raise _undelivered(str(failure)) from failure


def _path_of(workflow: AgentWorkflow, function: str, trigger: str) -> str:
    """Below a function's address, where events of a trigger go, as a Trigger would send them."""
    (found,) = (each for each in workflow.spec.functions if each.name == function)
    # An image's own server knows nothing of our paths.
    if found.handler is None:
        return "/"
    return f"/functions/{quote(function)}/triggers/{quote(trigger)}"


def _undelivered(detail: str) -> Refused:
    return Refused(502, "The dead letter did not arrive", detail, reason="Undelivered")
