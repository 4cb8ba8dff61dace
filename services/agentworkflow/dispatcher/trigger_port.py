"""Where Triggers deliver: `/e/<namespace>/<workflow>/<trigger>/<HMAC>`, and their dead letters.

What an answer means to a Broker: 2xx is done; 404, 409, 429 and 5xx are sent again; all else goes
to the dead-letter sink. A 2xx has no body, because a body would be taken for a reply event.
"""

import base64
import binascii
import json
import time
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentworkflow.dispatcher.addresses import is_genuine
from agentworkflow.dispatcher.bodies import MAX_NESTING, is_too_deep
from agentworkflow.dispatcher.event_starts import EventStarts
from agentworkflow.dispatcher.limits import read_body
from agentworkflow.dispatcher.ports import DeadLetter, LoopDetected
from agentworkflow.dispatcher.problems import Refused
from agentworkflow.dispatcher.services import Services
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.events import CloudEvent, FieldError
from agentworkflow.events.http import decode, to_json
from agentworkflow.events.problem import malformed
from agentworkflow.events.types import (
    KNATIVE_ERROR_CODE,
    KNATIVE_ERROR_DATA,
    KNATIVE_ERROR_DEST,
)

_STATUS: Final = {"started": 202, "duplicate": 200, "ignored": 204}
_KNATIVE_ERROR: Final = "knativeerror"
_LETTERS: Final = uuid.UUID("3f1cc1f9-4c1e-5a5b-9df5-52b0b0f6a6c3")
_SHOWN: Final = 2000
_LOOP: Final = "Loop"


def build_trigger_routes(
    services: Services, settings: Settings, starts: EventStarts
) -> list[Route]:
    """The routes under `/e`."""

    def address(request: Request) -> tuple[str, str, str]:
        """Whose address this is. Raises: Refused, for a forged one."""
        part = request.path_params
        place: tuple[str, str, str] = (part["ns"], part["workflow"], part["trigger"])
        if not is_genuine(services.event_secret, *place, part["mac"]):
            raise Refused(
                403,
                "No address of ours",
                "The last part of the address does not fit the rest: take the one that the "
                "Trigger was made with.",
                reason="ForgedAddress",
            )
        return place

    async def deliver(request: Request) -> Response:
        place = address(request)
        event = await _read_event(request, settings)
        if is_too_deep(event.data):
            raise malformed(FieldError("data", f"is nested more than {MAX_NESTING} levels deep"))
        try:
            outcome = await starts.deliver(*place, event)
        except LoopDetected as loop:
            # Kept here, so that its reason is one word and no Broker sends it on.
            letter = _letter(place, event, _LOOP, str(loop), None)
            await services.dead_letters.add(letter)
            services.metrics.accepts.labels("dead_letter").inc()
            return Response(status_code=204)
        return Response(status_code=_STATUS[outcome.kind])

    async def keep(request: Request) -> Response:
        place = address(request)
        event = await _read_event(request, settings)
        code = _code(event)
        letter = _letter(
            place,
            event,
            _reason(code, _said(event)),
            _detail(event),
            code,
        )
        await services.dead_letters.add(letter)
        services.metrics.accepts.labels("dead_letter").inc()
        return Response(status_code=202)

    path = "/e/{ns}/{workflow}/{trigger}/{mac}"
    return [
        Route(path, deliver, methods=["POST"]),
        Route(f"{path}/dead", keep, methods=["POST"]),
    ]


async def _read_event(request: Request, settings: Settings) -> CloudEvent:
    # Attributes and a dead letter's error data come on top of what was taken at the front door.
    body = await read_body(request, 2 * settings.max_body)
    return decode(request.headers.items(), body)


def _letter(
    place: tuple[str, str, str], event: CloudEvent, reason: str, detail: str, code: int | None
) -> DeadLetter:
    namespace, workflow, trigger = place
    # The same event dead-lettered twice is one letter.
    name = json.dumps([*place, event.source, event.id])
    return DeadLetter(
        id=str(uuid.uuid5(_LETTERS, name)),
        namespace=namespace,
        workflow=workflow,
        kind="trigger",
        target=trigger,
        reason=reason,
        detail=detail,
        event=to_json(event.without_extensions(_KNATIVE_ERROR)),
        created_ms=int(time.time() * 1000),
        code=code,
    )


def _reason(code: int | None, said: str | Mapping[str, Any]) -> str:
    # A Broker or a function host that ends a loop itself tells so in its problem.
    ended = not isinstance(said, str) and said.get("reason") == _LOOP
    if ended or code == HTTPStatus.LOOP_DETECTED:
        return _LOOP
    return f"Status{code}" if code else "Undelivered"


def _code(event: CloudEvent) -> int | None:
    text = str(event.get(KNATIVE_ERROR_CODE) or "")
    # -1 is Knative's word for an address that did not answer.
    return int(text) if text.isdecimal() and int(text[:4]) > 0 else None


def _detail(event: CloudEvent) -> str:
    """What the subscriber said, in words."""
    said = _said(event)
    if not isinstance(said, str):
        said = ": ".join(filter(None, [str(said["title"]), str(said.get("detail") or "")]))
    if said:
        return said[:_SHOWN]
    return f"No answer that says why came from {event.get(KNATIVE_ERROR_DEST) or 'the subscriber'}."


def _said(event: CloudEvent) -> str | Mapping[str, Any]:
    """The body of the subscriber's answer, which Knative carries in base64; a problem is parsed."""
    data = str(event.get(KNATIVE_ERROR_DATA) or "")
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return data
    try:
        problem: Any = json.loads(text)
    except ValueError:
        return text
    return problem if isinstance(problem, dict) and "title" in problem else text
