"""Runs over HTTP: start, list, look, result, signal, cancel."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response
from starlette.routing import Route

from agentworkflow.dispatcher.bodies import (
    bad_parameter,
    check_text,
    preferred_wait,
    read_json,
)
from agentworkflow.dispatcher.limits import Admission
from agentworkflow.dispatcher.openapi import PREFIX, header, json_answer, parameter, problems
from agentworkflow.dispatcher.ports import RunState, StartedBy
from agentworkflow.dispatcher.representations import json_response
from agentworkflow.dispatcher.services import Services
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.dispatcher.starting import Starting

Endpoint = Callable[[Request], Awaitable[Response]]

BY_API: Final = StartedBy("api")
_SIGNAL_MAX: Final = 256

_START_PATH: Final = "/workflows/{name}/runs"
_START_PARAMETERS: Final = [
    parameter("ns", "path", "Namespace.", required=True),
    parameter("name", "path", "Name of the workflow.", required=True),
    parameter("Idempotency-Key", "header", "The same key is the same run, within its session."),
    parameter("Prefer", "header", "`wait=N`: hold the request up to N seconds for the result."),
    parameter("session", "query", "Runs of one session follow each other. Also as a header."),
    parameter("webhook", "query", "URL that is told when the run ends. Also as a header."),
]
_ANY_JSON: Final[Mapping[str, Any]] = {"content": {"application/json": {"schema": {}}}}


def build_start(services: Services, settings: Settings, starting: Starting) -> Route:
    """The route that starts runs, without FastAPI: half of the time of an accept was spent there.

    `build_runs` has the same route for the description; this one is asked first.
    """

    async def start(request: Request) -> Response:
        # For the metrics: FastAPI's router names its own routes only.
        request.scope["route"] = route
        workflow = services.catalog.get(request.path_params["ns"], request.path_params["name"])
        value = await read_json(request, settings.max_body, absent={})
        ticket = await starting.start(request, workflow, value, BY_API)
        wait = preferred_wait(request.headers, settings.max_wait)
        return await starting.answer(workflow, ticket, wait)

    route = Route(PREFIX + _START_PATH, start, methods=["POST"])
    return route


def build_runs(
    services: Services, settings: Settings, start: Endpoint, admission: Admission
) -> APIRouter:
    """The routes under `/workflows/{name}/runs` and `/runs`."""
    router = APIRouter(prefix=PREFIX, tags=["runs"])
    runs = services.runs

    @router.post(
        _START_PATH,
        operation_id="startRun",
        summary="Start a run",
        description="The body is the input; none is `{}`. 202 with a ticket once the run is "
        "durable, or 200 with the run if `Prefer: wait` is given and it is terminal by then.",
        status_code=202,
        response_class=Response,
        responses={
            200: json_answer(
                "The run is terminal; its `state` says how it ended.",
                "RunView",
                {
                    "Location": header("Path of the run."),
                    "Preference-Applied": header("The wait that was granted."),
                },
            ),
            202: json_answer(
                "The run is durable.",
                "Ticket",
                {
                    "Location": header("Path of the run."),
                    "Retry-After": header("Seconds until it is worth to look.", "integer"),
                },
            ),
            **problems(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
        },
        openapi_extra={
            "parameters": _START_PARAMETERS,
            "requestBody": {"description": "The run's input.", **_ANY_JSON},
        },
    )
    async def start_run(request: Request) -> Response:
        return await start(request)

    @router.get(
        "/runs",
        operation_id="listRuns",
        summary="Runs, newest first",
        response_class=Response,
        responses={
            200: json_answer("A page of runs.", "RunPage"),
            **problems(400, 401, 403, 422, 503),
        },
    )
    async def list_runs(
        ns: str,
        workflow: str | None = None,
        state: RunState | None = None,
        session: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: str | None = None,
    ) -> Response:
        try:
            page = await runs.list_runs(
                ns, workflow=workflow, state=state, session=session, limit=limit, cursor=cursor
            )
        except ValueError as error:
            raise bad_parameter(
                "cursor", "is none of ours: take it from the page before"
            ) from error
        return json_response({"items": page.items, "cursor": page.cursor})

    @router.get(
        "/runs/{run}",
        operation_id="getRun",
        summary="A run with its steps",
        response_class=Response,
        responses={200: json_answer("The run.", "RunView"), **problems(401, 403, 404, 503)},
    )
    async def get_run(ns: str, run: str) -> Response:
        return json_response(await runs.view(ns, run))

    @router.get(
        "/runs/{run}/result",
        operation_id="getResult",
        summary="The output of a run, also when it is kept by reference",
        response_class=Response,
        responses={
            200: {"description": "The output.", **_ANY_JSON},
            **problems(401, 403, 404, 409, 503),
        },
    )
    async def get_result(ns: str, run: str) -> Response:
        return Response(await runs.result(ns, run), media_type="application/json")

    @router.post(
        "/runs/{run}/signals/{name}",
        operation_id="signalRun",
        summary="Give a signal to a run",
        description="The body is the signal's value; none is null. A signal that comes before "
        "its step waits is kept for it.",
        status_code=202,
        response_class=Response,
        responses={
            202: {"description": "The signal is durable."},
            **problems(400, 401, 403, 404, 409, 413, 415, 429, 503),
        },
        openapi_extra={"requestBody": {"description": "The signal's value.", **_ANY_JSON}},
    )
    async def signal_run(request: Request, ns: str, run: str, name: str) -> Response:
        check_text("The signal's name", name, _SIGNAL_MAX)
        value: Any = await read_json(request, settings.max_body, absent=None)
        with admission.enter():
            await runs.signal(ns, run, name, value)
        services.metrics.accepts.labels("signal").inc()
        return Response(status_code=202)

    @router.post(
        "/runs/{run}/cancel",
        operation_id="cancelRun",
        summary="End a run as Cancelled",
        status_code=202,
        response_class=Response,
        responses={
            202: {"description": "The run is cancelled, durably."},
            **problems(401, 403, 404, 409, 429, 503),
        },
    )
    async def cancel_run(ns: str, run: str) -> Response:
        with admission.enter():
            await runs.cancel(ns, run)
        services.metrics.accepts.labels("cancel").inc()
        return Response(status_code=202)

    return router
