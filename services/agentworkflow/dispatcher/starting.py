"""Starts a run for a request, and answers with its ticket or, if it is asked to wait, the run."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from agentworkflow.dispatcher.bodies import (
    check_session,
    idempotency_key,
    query_or_header,
)
from agentworkflow.dispatcher.limits import Admission
from agentworkflow.dispatcher.ports import (
    Published,
    StartCommand,
    StartedBy,
    Ticket,
    Unavailable,
)
from agentworkflow.dispatcher.representations import build_ticket, json_response, run_location
from agentworkflow.dispatcher.services import Services
from agentworkflow.dispatcher.webhooks import WebhookPolicy


class Starting:
    """What the API and the routes of workflows share: check, start, wait, answer."""

    def __init__(self, services: Services, admission: Admission, webhooks: WebhookPolicy) -> None:
        self._services = services
        self._admission = admission
        self._webhooks = webhooks

    async def start(
        self, request: Request, workflow: Published, value: Any, started_by: StartedBy
    ) -> Ticket:
        """Start a run of a workflow with what the request says besides its body.

        Raises:
            Refusal: a parameter or the input is wrong, or the run is not taken.
        """
        trace = request.headers.get("traceparent")
        command = StartCommand(
            namespace=workflow.namespace,
            workflow=workflow.name,
            input=value,
            started_by=replace(started_by, trace=trace),
            session=check_session(query_or_header(request, "session")),
            idempotency_key=idempotency_key(request.headers),
            webhook=self._webhooks.check(query_or_header(request, "webhook")),
        )
        self._services.schemas.check(workflow, value)
        with self._admission.enter():
            ticket = await self._services.runs.start(command)
        kind = "start" if ticket.created else "duplicate"
        self._services.metrics.accepts.labels(kind).inc()
        return ticket

    async def answer(self, workflow: Published, ticket: Ticket, wait: float | None) -> Response:
        """200 with the run if it is terminal within `wait` seconds, else 202 with the ticket."""
        namespace = workflow.namespace
        headers = {"location": run_location(namespace, ticket.run)}
        if wait is not None:
            headers["preference-applied"] = f"wait={wait:g}"
        if wait:
            # The run is durable: whatever goes wrong from here on, the ticket stands.
            with suppress(Unavailable):
                if await self._is_over(namespace, ticket.run, wait):
                    view = await self._services.runs.view(namespace, ticket.run)
                    if "outputBytes" in view:
                        # Whoever waits is promised the result, however large it is.
                        result = await self._services.runs.result(namespace, ticket.run)
                        view["output"] = json.loads(result)
                    return json_response(view, 200, headers)
        headers["retry-after"] = "1"
        return json_response(build_ticket(namespace, workflow.name, ticket), 202, headers)

    async def _is_over(self, namespace: str, run: str, wait: float) -> bool:
        """Whether the run is terminal within `wait` seconds, and before the dispatcher closes."""
        waiting = asyncio.ensure_future(self._services.runs.wait(namespace, run, wait))
        closing = asyncio.ensure_future(self._services.closing.wait())
        try:
            await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
            return waiting.done() and waiting.result()
        finally:
            waiting.cancel()
            closing.cancel()
