"""Published workflows over HTTP."""

import base64
import binascii
from bisect import bisect_right
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from agentworkflow.dispatcher.bodies import bad_parameter
from agentworkflow.dispatcher.openapi import PREFIX, json_answer, problems
from agentworkflow.dispatcher.representations import build_workflow, json_response
from agentworkflow.dispatcher.services import Services


def build_workflows(services: Services) -> APIRouter:
    """The routes `/workflows` and `/workflows/{name}`."""
    router = APIRouter(prefix=PREFIX, tags=["workflows"])

    @router.get(
        "/workflows",
        operation_id="listWorkflows",
        summary="What is published, by name",
        response_class=Response,
        responses={
            200: json_answer("A page of workflows.", "WorkflowPage"),
            **problems(400, 401, 403, 422),
        },
    )
    async def list_workflows(
        ns: str,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: str | None = None,
    ) -> Response:
        found = sorted(services.catalog.workflows(ns), key=lambda each: each.name)
        start = 0
        if cursor is not None:
            start = bisect_right(found, _name_of(cursor), key=lambda each: each.name)
        page = found[start : start + limit]
        more = start + limit < len(found)
        return json_response(
            {
                "items": [build_workflow(each) for each in page],
                "cursor": _cursor_of(page[-1].name) if more else None,
            }
        )

    @router.get(
        "/workflows/{name}",
        operation_id="getWorkflow",
        summary="A published workflow, with its input schema",
        response_class=Response,
        responses={
            200: json_answer("The workflow.", "WorkflowView"),
            **problems(401, 403, 404),
        },
    )
    async def get_workflow(ns: str, name: str) -> Response:
        return json_response(build_workflow(services.catalog.get(ns, name)))

    return router


def _cursor_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name_of(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise bad_parameter("cursor", "is none of ours: take it from the page before") from error
