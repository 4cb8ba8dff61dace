"""The broker's ingress over HTTP: ``POST /<namespace>/<broker>``, in all three modes.

A 202 means that the events are on disk.
"""

import logging
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentworkflow.dispatcher.gate import host_name
from agentworkflow.dispatcher.keys import is_loopback
from agentworkflow.engine.broker import Broker, UnknownBroker
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import MalformedEvent, decode_any
from agentworkflow.events.problem import MEDIA_TYPE, FieldError, Problem
from agentworkflow.store.errors import StoreUnavailable
from agentworkflow.store.streams import StreamFull

_log = logging.getLogger(__name__)

MAX_BODY: Final = 1024 * 1024
"""The largest message, one event or a batch."""

_RETRY_AFTER: Final = "1"


def build_ingress(broker: Broker, *, max_body: int = MAX_BODY) -> Starlette:
    """Build the application that takes events for the broker."""

    async def accept(request: Request) -> Response:
        if _is_from_a_page(request):
            return _problem(
                HTTPStatus.FORBIDDEN,
                "A foreign host or origin",
                "the broker of one machine takes events from programs of that machine: "
                "call 127.0.0.1 or localhost, and not from a web page",
            )
        body = await _read_body(request, max_body)
        if body is None:
            return _problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "Message too large",
                f"a message to the broker may hold {max_body} bytes; send a link to larger data",
            )
        name = f"{request.path_params['namespace']}/{request.path_params['broker']}"
        read = decode_any(request.headers.items(), body)
        events = [each for each in read if isinstance(each, CloudEvent)]
        faults = [each for each in read if isinstance(each, MalformedEvent)]
        try:
            if events:
                await broker.publish(name, events)
        except UnknownBroker as error:
            return _problem(HTTPStatus.NOT_FOUND, "No such broker", str(error))
        except StreamFull as error:
            return _later(HTTPStatus.TOO_MANY_REQUESTS, "The broker is full", str(error))
        except StoreUnavailable as error:
            _log.warning("the ingress cannot store events: %s", error)
            return _later(HTTPStatus.SERVICE_UNAVAILABLE, "The store does not answer", str(error))
        return _refuse(faults, len(events)) if faults else Response(status_code=202)

    return Starlette(routes=[Route("/{namespace}/{broker}", accept, methods=["POST"])])


def _is_from_a_page(request: Request) -> bool:
    """Whether a web page speaks for the user who looks at it; there is no key to tell them apart.

    A foreign `Host` is a page whose name was pointed at this machine (DNS rebinding).
    """
    name = host_name(request.headers.get("host", ""))
    return "origin" in request.headers or not is_loopback(name)


async def _read_body(request: Request, limit: int) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


def _refuse(faults: list[MalformedEvent], accepted: int) -> Response:
    """Answer for malformed events; their neighbours in a batch were taken, and it says so."""
    problems = [fault.problem for fault in faults]
    if len(problems) == 1 and not accepted:
        status = HTTPStatus(problems[0].status or HTTPStatus.BAD_REQUEST)
        return _send(problems[0], status)
    errors: list[FieldError] = [error for problem in problems for error in problem.errors]
    merged = Problem(
        title="Malformed CloudEvent",
        status=HTTPStatus.BAD_REQUEST,
        detail="; ".join(problem.detail for problem in problems),
        errors=tuple(errors),
        extensions={"accepted": accepted, "refused": len(problems)},
    )
    return _send(merged, HTTPStatus.BAD_REQUEST)


def _problem(status: HTTPStatus, title: str, detail: str) -> Response:
    return _send(Problem(title=title, status=status, detail=detail), status)


def _later(status: HTTPStatus, title: str, detail: str) -> Response:
    response = _problem(status, title, detail)
    response.headers["retry-after"] = _RETRY_AFTER
    return response


def _send(problem: Problem, status: HTTPStatus) -> Response:
    return JSONResponse(problem.to_json(), status_code=status, media_type=MEDIA_TYPE)
