"""Pieces of the OpenAPI description that several routes share."""

from typing import Any, Final

from agentworkflow.events.problem import MEDIA_TYPE

PREFIX: Final = "/v1/namespaces/{ns}"
"""What every path of the API begins with."""

_MEANINGS: Final = {
    400: "The request is malformed.",
    401: "A key is needed, or this one is not known.",
    403: "The key does not open this namespace, or the caller is a foreign page or name.",
    404: "There is no such object in this namespace.",
    405: "The path does not take this method.",
    409: "The object's state does not allow it.",
    410: "The run's time to live has ended.",
    413: "The body is too large.",
    415: "The body's content type is not taken.",
    422: "The content is understood and refused; `errors` has the path of each fault.",
    429: "Too many requests; `Retry-After` says when to come back.",
    502: "The receiver did not take it.",
    503: "The store does not answer; `Retry-After` says when to come back.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that are problems."""
    reference = {"$ref": "#/components/schemas/Problem"}
    responses: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        response: dict[str, Any] = {
            "description": _MEANINGS[status],
            "content": {MEDIA_TYPE: {"schema": reference}},
        }
        if status in (429, 503):
            response["headers"] = {"Retry-After": header("Seconds.", "integer")}
        responses[status] = response
    return responses


def json_answer(
    description: str, model: str, headers: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One response that is JSON, described by a model of `api_models` that is named.

    A name, because making validators of models that nothing validates with costs the start
    a tenth of a second.
    """
    schema = {"$ref": f"#/components/schemas/{model}"}
    answer: dict[str, Any] = {
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }
    if headers:
        answer["headers"] = headers
    return answer


def header(description: str, kind: str = "string") -> dict[str, Any]:
    """A header of a response."""
    return {"description": description, "schema": {"type": kind}}


def parameter(name: str, place: str, description: str, *, required: bool = False) -> dict[str, Any]:
    """A parameter of a route that reads it by itself."""
    return {
        "name": name,
        "in": place,
        "required": required,
        "description": description,
        "schema": {"type": "string"},
    }


def add_shared_parts(document: dict[str, Any]) -> dict[str, Any]:
    """Add what no single route brings: the Problem schema and how to authenticate."""
    from agentworkflow.dispatcher.api_models import build_schemas  # noqa: PLC0415 - as above

    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.update(build_schemas("#/components/schemas/{model}"))
    # FastAPI's own shape of a validation error is never sent.
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{"bearer": []}, {"apiKey": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path in ("/healthz", "/readyz"):
                operation["security"] = []
            found = operation["responses"].get("422", {})
            schema = found.get("content", {}).get("application/json", {}).get("schema", {})
            if schema.get("$ref", "").endswith("HTTPValidationError"):
                operation["responses"]["422"] = problems(422)[422]
    return document
