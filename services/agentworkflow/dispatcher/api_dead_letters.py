"""Dead letters over HTTP: list, look, send again, drop."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from agentworkflow.dispatcher.bodies import bad_parameter
from agentworkflow.dispatcher.openapi import PREFIX, json_answer, problems
from agentworkflow.dispatcher.redrive import Redrive
from agentworkflow.dispatcher.representations import build_dead_letter, json_response
from agentworkflow.dispatcher.services import Services


def build_dead_letters(services: Services, redrive: Redrive) -> APIRouter:
    """The routes under `/dead-letters`."""
    router = APIRouter(prefix=PREFIX, tags=["dead letters"])
    letters = services.dead_letters

    @router.get(
        "/dead-letters",
        operation_id="listDeadLetters",
        summary="Dead letters, newest first",
        response_class=Response,
        responses={
            200: json_answer("A page of dead letters.", "DeadLetterPage"),
            **problems(400, 401, 403, 422, 503),
        },
    )
    async def list_dead_letters(
        ns: str,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: str | None = None,
    ) -> Response:
        try:
            found, following = await letters.listing(ns, limit=limit, cursor=cursor)
        except ValueError as error:
            raise bad_parameter(
                "cursor", "is none of ours: take it from the page before"
            ) from error
        items = [build_dead_letter(each) for each in found]
        return json_response({"items": items, "cursor": following})

    @router.get(
        "/dead-letters/{letter}",
        operation_id="getDeadLetter",
        summary="A dead letter: the event, where it was going, why it did not arrive",
        response_class=Response,
        responses={
            200: json_answer("The dead letter.", "DeadLetterView"),
            **problems(401, 403, 404, 503),
        },
    )
    async def get_dead_letter(ns: str, letter: str) -> Response:
        return json_response(build_dead_letter(await letters.get(ns, letter)))

    @router.post(
        "/dead-letters/{letter}/redrive",
        operation_id="redriveDeadLetter",
        summary="Send a dead letter again, to where it was going and nowhere else",
        description="The letter is dropped once it has arrived; otherwise it is kept.",
        response_class=Response,
        responses={
            200: json_answer("It has arrived.", "Redriven"),
            **problems(401, 403, 404, 409, 410, 422, 429, 502, 503),
        },
    )
    async def redrive_dead_letter(ns: str, letter: str) -> Response:
        return json_response(await redrive.redrive(ns, letter))

    @router.delete(
        "/dead-letters/{letter}",
        operation_id="dropDeadLetter",
        summary="Drop a dead letter",
        status_code=204,
        response_class=Response,
        responses={204: {"description": "It is gone."}, **problems(401, 403, 404, 503)},
    )
    async def drop_dead_letter(ns: str, letter: str) -> Response:
        await letters.remove(ns, letter)
        return Response(status_code=204)

    return router
