"""Users' events in: each is stored as a publication to a Broker before it is acknowledged."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from agentworkflow.dispatcher.bodies import bad_parameter
from agentworkflow.dispatcher.limits import Admission, read_body
from agentworkflow.dispatcher.openapi import PREFIX, json_answer, problems
from agentworkflow.dispatcher.ports import Refusal
from agentworkflow.dispatcher.problems import problem_of
from agentworkflow.dispatcher.representations import json_response
from agentworkflow.dispatcher.services import Services
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.events import CloudEvent
from agentworkflow.events.http import BATCH_TYPE, STRUCTURED_TYPE, MalformedEvent, decode_any
from agentworkflow.events.media import parse_media_type
from agentworkflow.events.types import AWF_PREFIX

_BROKER: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_EVENT: Final[Mapping[str, Any]] = {"type": "object", "required": ["id", "source", "type"]}


def build_events(services: Services, settings: Settings, admission: Admission) -> APIRouter:
    """The route `/events`."""
    router = APIRouter(prefix=PREFIX, tags=["events"])

    @router.post(
        "/events",
        operation_id="sendEvents",
        summary="Send CloudEvents to a Broker",
        description="Binary, structured or batch mode. Attributes that begin with `awf` are ours "
        "and are dropped. 202 once each event is stored; of a batch, 207 if some are refused: "
        "the others are stored. An event that is sent again with the same `source` and `id` "
        "may be published twice.",
        status_code=202,
        response_class=Response,
        responses={
            202: json_answer("Every event is stored.", "EventVerdicts"),
            207: json_answer("Some events are stored, some are refused.", "EventVerdicts"),
            **problems(400, 401, 403, 413, 415, 422, 429, 503),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    STRUCTURED_TYPE: {"schema": _EVENT},
                    BATCH_TYPE: {"schema": {"type": "array", "items": _EVENT}},
                    "*/*": {"schema": {}},
                },
            }
        },
    )
    async def send_events(
        request: Request,
        ns: str,
        broker: Annotated[str, Query(description="Name of the Broker.")] = "default",
    ) -> Response:
        if not _BROKER.fullmatch(broker):
            raise bad_parameter("broker", f"{broker[:64]!r} is no name of a Broker")
        body = await read_body(request, settings.max_body)
        found = decode_any(request.headers.items(), body)
        if not _is_batch(request) and isinstance(found[0], MalformedEvent):
            raise found[0]
        accepted: list[dict[str, Any]] = []
        refusals: dict[int, Refusal | MalformedEvent] = {}
        with admission.enter():
            for index, event in enumerate(found):
                if isinstance(event, MalformedEvent):
                    refusals[index] = event
                    continue
                try:
                    accepted.append(await _accept(ns, broker, index, event))
                except Refusal as refusal:
                    refusals[index] = refusal
        if refusals and not accepted:
            # Nothing is stored, so the whole message is refused, as its first event is.
            raise refusals[0]
        refused = [{"index": i, **problem_of(each).to_json()} for i, each in refusals.items()]
        verdicts = {"accepted": len(accepted), "events": accepted, "refused": refused}
        return json_response(verdicts, 207 if refused else 202)

    async def _accept(ns: str, broker: str, index: int, event: CloudEvent) -> dict[str, Any]:
        stripped = event.without_extensions(AWF_PREFIX)
        publication = await services.runs.accept_event(ns, broker, stripped)
        services.metrics.accepts.labels("event").inc()
        return {
            "index": index,
            "source": event.source,
            "id": event.id,
            "publication": publication,
        }

    return router


def _is_batch(request: Request) -> bool:
    media = parse_media_type(request.headers.get("content-type", ""))
    return media is not None and media.essence == BATCH_TYPE
