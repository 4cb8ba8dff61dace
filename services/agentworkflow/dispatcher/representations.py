"""The shapes of what the API answers besides problems: JSON, tickets, workflows, dead letters."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from agentworkflow.dispatcher.ports import DeadLetter, Published, Ticket


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of JSON, as compact as it can be written."""
    return Response(
        json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
        status_code=status,
        media_type="application/json",
        headers=dict(headers or {}),
    )


def run_location(namespace: str, run: str) -> str:
    """The path of a run."""
    return f"/v1/namespaces/{quote(namespace, safe='')}/runs/{quote(run, safe='')}"


def build_ticket(namespace: str, workflow: str, ticket: Ticket) -> dict[str, Any]:
    """The body of a 202: which run it is, and where to look."""
    location = run_location(namespace, ticket.run)
    return {
        "run": ticket.run,
        "namespace": namespace,
        "workflow": workflow,
        "created": ticket.created,
        "links": {
            "self": location,
            "events": f"{location}/events",
            "result": f"{location}/result",
        },
    }


def build_workflow(workflow: Published) -> dict[str, Any]:
    """What clients see of a published workflow."""
    spec = workflow.resource.spec
    return {
        "namespace": workflow.namespace,
        "name": workflow.name,
        "description": spec.description,
        "generation": workflow.generation,
        "digest": workflow.digest,
        "publishedAt": rfc3339(workflow.published_ms),
        "inputSchema": workflow.definition.input_schema,
        "functions": [
            {"name": each.name, "description": each.description} for each in spec.functions
        ],
        "steps": [step.name for step in spec.steps or ()],
        "signals": sorted(workflow.definition.signals),
        "triggers": [
            {"name": each.name, "function": each.function, "filters": list(each.filters)}
            for each in spec.triggers
        ],
        "routes": [
            {"host": each.host, "method": each.method, "path": each.path} for each in spec.routes
        ],
        "broker": spec.broker.name,
    }


def build_dead_letter(letter: DeadLetter) -> dict[str, Any]:
    """What clients see of a dead letter."""
    return {
        "id": letter.id,
        "namespace": letter.namespace,
        "workflow": letter.workflow,
        "kind": letter.kind,
        "target": letter.target,
        "reason": letter.reason,
        "detail": letter.detail,
        "code": letter.code,
        "run": letter.run,
        "createdAt": rfc3339(letter.created_ms),
        "event": dict(letter.event),
    }


def rfc3339(ms: int) -> str:
    """Milliseconds since the epoch as RFC 3339 in UTC."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
