"""What function hosts may ask of a dispatcher with their attempt's token: progress and blobs."""

import hashlib
import math
import re
import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentworkflow.dispatcher.limits import Pace, read_body
from agentworkflow.dispatcher.ports import Attempt, AttemptRefused
from agentworkflow.dispatcher.problems import Refused
from agentworkflow.dispatcher.services import Services
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.events import FieldError
from agentworkflow.events.http import decode
from agentworkflow.events.problem import malformed
from agentworkflow.events.types import (
    AWF_ATTEMPT,
    AWF_ITEM,
    AWF_RUN,
    AWF_STEP,
    AWF_TOKEN,
    STEP_PROGRESSED,
)
from agentworkflow.runs.ids import is_run_id

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_INTERVAL: Final = 0.9
"""Seconds between two entries of one attempt: 1 by the protocol, less what the network varies."""
_MESSAGE_MAX: Final = 1000
_PROGRESS_MAX: Final = 64 * 1024


def build_host_routes(services: Services, settings: Settings) -> list[Route]:
    """The routes `/progress` and `/blobs/{digest}`."""
    runs = services.runs
    pace = Pace(_INTERVAL, time.monotonic)

    async def progress(request: Request) -> Response:
        body = await read_body(request, _PROGRESS_MAX)
        event = decode(request.headers.items(), body)
        if event.type != STEP_PROGRESSED:
            raise malformed(FieldError("type", f"is {event.type}, not {STEP_PROGRESSED}"))
        attempt = _attempt(
            event.get(AWF_RUN), event.get(AWF_STEP), event.get(AWF_ITEM), event.get(AWF_ATTEMPT)
        )
        fraction, message = _progress_of(event.data)
        if not pace.take(attempt):
            # The next one tells more: this one is dropped, and that is no fault of the handler.
            return Response(status_code=204)
        await runs.progress(attempt, str(event.get(AWF_TOKEN) or ""), fraction, message)
        return Response(status_code=204)

    async def put_blob(request: Request) -> Response:
        digest = _digest(request)
        attempt, token = _authority(request)
        await runs.require_attempt(attempt, token)
        content = await read_body(request, settings.max_blob)
        if "sha256:" + hashlib.sha256(content).hexdigest() != digest:
            raise Refused(
                422,
                "The digest is another",
                f"The {len(content)} bytes received are not {digest}.",
                reason="DigestMismatch",
            )
        await runs.put_blob(attempt, token, digest, content)
        return Response(status_code=201)

    async def get_blob(request: Request) -> Response:
        digest = _digest(request)
        attempt, token = _authority(request)
        content = await runs.get_blob(attempt, token, digest)
        if content is None:
            raise Refused(
                404, "Unknown blob", f"The run has no blob {digest}.", reason="UnknownBlob"
            )
        return Response(content, media_type="application/json")

    return [
        Route("/progress", progress, methods=["POST"]),
        Route("/blobs/{digest}", put_blob, methods=["PUT"]),
        Route("/blobs/{digest}", get_blob, methods=["GET"]),
    ]


def _authority(request: Request) -> tuple[Attempt, str]:
    """The attempt and its token, from the headers of a blob request."""
    headers = request.headers
    attempt = _attempt(
        headers.get("awf-run"),
        headers.get("awf-step"),
        headers.get("awf-item"),
        headers.get("awf-attempt"),
    )
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return attempt, token.strip() if scheme.lower() == "bearer" else ""


def _attempt(run: object, step: object, item: object, number: object) -> Attempt:
    if not run or not step:
        raise _no_attempt("run and step")
    if not is_run_id(str(run)):
        raise AttemptRefused(f"{str(run)[:80]!r} is no id of a run.")
    return Attempt(
        run=str(run),
        step=str(step),
        item=None if item in (None, "") else _number("item", item),
        number=_number("attempt", number),
    )


def _number(name: str, value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) < 9):  # noqa: PLR2004 - an int32
        raise _no_attempt(f"{name} as a number")
    return int(text)


def _no_attempt(what: str) -> Refused:
    return Refused(
        400,
        "No attempt is named",
        f"The request has to name its {what}, in awf* attributes or awf-* headers.",
        reason="MalformedAttempt",
    )


def _digest(request: Request) -> str:
    digest: str = request.path_params["digest"]
    if not _DIGEST.fullmatch(digest):
        raise Refused(
            400,
            "No digest",
            f"{digest[:80]!r} is not sha256: and 64 hexadecimal digits in lower case.",
            reason="MalformedDigest",
        )
    return digest


def _progress_of(data: Any) -> tuple[float | None, str | None]:
    if not isinstance(data, dict):
        raise malformed(FieldError("data", "is an object with fraction and message"))
    fraction, message = data.get("fraction"), data.get("message")
    if fraction is not None and (
        isinstance(fraction, bool)
        or not isinstance(fraction, int | float)
        or not math.isfinite(fraction)
    ):
        raise malformed(FieldError("data", "fraction is a number from 0 to 1"))
    if message is not None and not isinstance(message, str):
        raise malformed(FieldError("data", "message is a text"))
    within = None if fraction is None else min(max(float(fraction), 0.0), 1.0)
    return within, message if message is None else message[:_MESSAGE_MAX]
