"""Builds the API port: FastAPI for the routes and their description, and a gate before it."""

from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from agentworkflow.dispatcher.api_dead_letters import build_dead_letters
from agentworkflow.dispatcher.api_events import build_events
from agentworkflow.dispatcher.api_runs import build_runs, build_start
from agentworkflow.dispatcher.api_watching import NothingLeft, build_watching, on_nothing_left
from agentworkflow.dispatcher.api_workflows import build_workflows
from agentworkflow.dispatcher.event_starts import EventStarts
from agentworkflow.dispatcher.gate import Gate, Measured
from agentworkflow.dispatcher.health import build_health
from agentworkflow.dispatcher.limits import Admission
from agentworkflow.dispatcher.openapi import add_shared_parts, problems
from agentworkflow.dispatcher.ports import Refusal, Unavailable
from agentworkflow.dispatcher.problems import problem_of, problem_response, refusal_response
from agentworkflow.dispatcher.push import Pusher
from agentworkflow.dispatcher.redrive import Redrive
from agentworkflow.dispatcher.services import Services
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.dispatcher.starting import Starting
from agentworkflow.dispatcher.webhooks import WebhookPolicy
from agentworkflow.dispatcher.workflow_routes import WorkflowRoutes
from agentworkflow.events.problem import FieldError, MalformedEvent, Problem

_ABOUT: Final = """Runs of workflows: start them, watch them, steer them.

A 202 with a ticket is a promise: that run reaches exactly one terminal state, and its result stays
readable until its time to live ends. Errors are `application/problem+json`; `reason` is one word
for programs. Besides these paths each workflow may have routes of its own, which answer as
`POST …/workflows/{name}/runs` does.
"""

_log = structlog.get_logger(__name__)


def build_api(services: Services, settings: Settings, pusher: Pusher | None = None) -> FastAPI:
    """The ASGI application of the API port.

    Args:
        services: what lies behind it.
        settings: limits, keys, hosts.
        pusher: sends dead letters of webhooks again; None where there are no webhooks.
    """
    admission = Admission(settings.max_accepts)
    starting = Starting(services, admission, WebhookPolicy(settings))
    redrive = Redrive(services, EventStarts(services, admission), pusher)
    app = FastAPI(
        title="agentworkflow",
        version="v1",
        description=_ABOUT,
        redoc_url=None,
        redirect_slashes=False,
    )
    start = build_start(services, settings, starting)
    for router in (
        build_workflows(services),
        build_runs(services, settings, start.endpoint, admission),
        build_watching(services, settings),
        build_events(services, settings, admission),
        build_dead_letters(services, redrive),
    ):
        app.include_router(router)
    app.router.routes.insert(0, start)
    app.router.routes.extend(build_health(services))
    own = WorkflowRoutes(services, settings, starting)
    app.router.default = own
    add_problem_handlers(app, services)
    app.add_middleware(Gate, settings=settings, metrics=services.metrics, is_claimed=own.is_claimed)
    app.add_middleware(Measured, metrics=services.metrics, port="api")
    _describe(app)
    return app


def add_problem_handlers(app: Any, services: Services) -> None:
    """Make every error of an application a problem, the framework's own too."""

    async def on_refusal(_request: Request, error: Exception) -> Response:
        if not isinstance(error, Refusal | MalformedEvent):
            raise error
        reason = problem_of(error).extensions.get("reason", "MalformedEvent")
        services.metrics.refusals.labels(reason).inc()
        if isinstance(error, Unavailable):
            services.metrics.store_errors.labels("request").inc()
        return refusal_response(error)

    for kind in (Refusal, MalformedEvent):
        app.add_exception_handler(kind, on_refusal)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameters)
    app.add_exception_handler(NothingLeft, on_nothing_left)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_fault)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    detail = f"{request.method} {request.url.path}: {error.detail}"
    problem = Problem(
        title=str(error.detail),
        status=error.status_code,
        detail=detail,
        extensions={"reason": HTTPStatus(error.status_code).phrase.replace(" ", "")},
    )
    return problem_response(problem, error.headers)


async def _on_invalid_parameters(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = tuple(
        FieldError("/".join(str(part) for part in each["loc"]), str(each["msg"]))
        for each in error.errors()
    )
    problem = Problem(
        title="A parameter is wrong",
        status=422,
        detail="; ".join(f"{each.path}: {each.message}" for each in errors),
        errors=errors,
        extensions={"reason": "BadParameter"},
    )
    return problem_response(problem)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    # Nobody reads it; the status is what proxies log for a client that went away.
    return Response(status_code=499)


async def _on_fault(request: Request, error: Exception) -> Response:
    _log.error("http.fault", method=request.method, path=request.url.path, exc_info=error)
    problem = Problem(
        title="Internal error",
        status=500,
        detail="The dispatcher failed at this request; its log says how.",
        extensions={"reason": "InternalError"},
    )
    return problem_response(problem)


def _describe(app: FastAPI) -> None:
    """Complete the OpenAPI document, made at its first reading."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = add_shared_parts(generate())
            document["paths"] |= _health_paths()
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _health_paths() -> dict[str, Any]:
    def path(summary: str, operation: str, media: str, *failures: int) -> dict[str, Any]:
        answer = {"description": "Yes.", "content": {media: {"schema": {}}}}
        refusals = {str(status): each for status, each in problems(*failures).items()}
        described: dict[str, Any] = {
            "tags": ["health"],
            "summary": summary,
            "operationId": operation,
            "responses": {"200": answer, **refusals},
        }
        if operation != "metrics":
            described["security"] = []
        return {"get": described}

    return {
        "/healthz": path("Whether the process lives", "healthz", "application/json"),
        "/readyz": path("Whether it can accept", "readyz", "application/json", 503),
        "/metrics": path("What it has measured", "metrics", "text/plain", 401),
    }
