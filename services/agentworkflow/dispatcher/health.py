"""Whether a dispatcher lives, whether it can accept, and what it has measured."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentworkflow.dispatcher.ports import Unavailable
from agentworkflow.dispatcher.representations import json_response
from agentworkflow.dispatcher.services import Services


def build_health(services: Services) -> list[Route]:
    """The routes `/healthz`, `/readyz` and `/metrics`, the same on both ports."""

    async def healthz(_request: Request) -> Response:
        # Says nothing about the store: a restart of this process would not bring that back.
        return json_response({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        if services.closing.is_set():
            raise Unavailable("The dispatcher is shutting down: ask another.")
        await services.runs.ping()
        return json_response({"status": "ready"})

    async def metrics(_request: Request) -> Response:
        content, content_type = services.metrics.render()
        return Response(content, headers={"content-type": content_type})

    return [
        Route("/healthz", healthz, methods=["GET", "HEAD"]),
        Route("/readyz", readyz, methods=["GET", "HEAD"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
