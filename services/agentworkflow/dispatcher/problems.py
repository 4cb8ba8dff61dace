"""The one place where a refusal becomes an HTTP answer: problem+json with a one-word reason."""

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from agentworkflow.dispatcher import ports
from agentworkflow.events.problem import MEDIA_TYPE, FieldError, MalformedEvent, Problem

_TITLES: Final[Mapping[type[Exception], tuple[int, str]]] = {
    ports.UnknownWorkflow: (404, "Unknown workflow"),
    ports.UnknownTrigger: (404, "Unknown trigger"),
    ports.UnknownRun: (404, "Unknown run"),
    ports.UnknownSignal: (404, "Unknown signal"),
    ports.UnknownDeadLetter: (404, "Unknown dead letter"),
    ports.RunExpired: (410, "The run has expired"),
    ports.KeyReused: (409, "The idempotency key belongs to another request"),
    ports.RunFinished: (409, "The run is finished"),
    ports.NoResult: (409, "The run has no result"),
    ports.LoopDetected: (422, "A loop of events"),
    ports.AttemptRefused: (403, "Not the token of a running attempt"),
    ports.InvalidInput: (422, "The input is refused"),
    ports.Unavailable: (503, "The store does not answer"),
    ports.Overloaded: (429, "Too many requests"),
}


class Refused(ports.Refusal):
    """A refusal of the HTTP border itself.

    Attributes:
        status: HTTP status.
        title: what is wrong, without this request's particulars.
        reason: one word for programs.
        headers: sent with the answer.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        reason: str,
        headers: Mapping[str, str] | None = None,
        errors: tuple[FieldError, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.reason = reason
        self.headers = dict(headers or {})
        self.errors = errors


def problem_of(error: ports.Refusal | MalformedEvent) -> Problem:
    """The problem that a refusal is told as."""
    if isinstance(error, MalformedEvent):
        return error.problem
    if isinstance(error, Refused):
        return Problem(
            title=error.title,
            status=error.status,
            detail=str(error),
            errors=error.errors,
            extensions={"reason": error.reason},
        )
    kind = next((kind for kind in type(error).__mro__ if kind in _TITLES), None)
    status, title = _TITLES[kind] if kind else (400, "The request is refused")
    extensions: dict[str, Any] = {"reason": type(error).__name__}
    errors: tuple[FieldError, ...] = ()
    if isinstance(error, ports.InvalidInput):
        errors = tuple(FieldError(each.path, each.message) for each in error.errors)
    if isinstance(error, ports.NoResult):
        extensions |= {"state": error.state, "runReason": error.reason, "problem": error.problem}
    return Problem(
        title=title, status=status, detail=str(error), errors=errors, extensions=extensions
    )


def headers_of(error: ports.Refusal | MalformedEvent) -> dict[str, str]:
    """The headers that belong to a refusal: when to come back, how to authenticate."""
    if isinstance(error, Refused):
        return error.headers
    if isinstance(error, ports.Unavailable | ports.Overloaded):
        return {"retry-after": str(error.retry_after)}
    if isinstance(error, ports.NoResult) and error.state not in ports.TERMINAL_STATES:
        return {"retry-after": "1"}
    return {}


def refusal_response(error: ports.Refusal | MalformedEvent) -> Response:
    """The whole answer to what is refused."""
    return problem_response(problem_of(error), headers_of(error))


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with a problem in it; its status is the problem's."""
    return Response(
        json.dumps(problem.to_json(), ensure_ascii=False, separators=(",", ":")),
        status_code=problem.status or 500,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )
