"""The routes of workflows: `POST /analyze` in front of a workflow, matched over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentworkflow.dispatcher.auth import require_namespace
from agentworkflow.dispatcher.bodies import read_json
from agentworkflow.dispatcher.gate import CALLER, host_name
from agentworkflow.dispatcher.ports import InvalidInput, Published, StartedBy
from agentworkflow.dispatcher.problems import Refused
from agentworkflow.dispatcher.services import Services
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.dispatcher.starting import Starting
from agentworkflow.workflow.durations import parse_duration
from agentworkflow.workflow.expressions import ExpressionError
from agentworkflow.workflow.expressions import Scope as Names
from agentworkflow.workflow.models_starts import Route
from agentworkflow.workflow.templates import (
    EvaluationError,
    Template,
    compile_template,
)

RESERVED: Final = ("/v1", "/e", "/blobs", "/healthz", "/readyz", "/metrics", "/docs")
_DEFAULT_WAIT: Final = 10.0
_BODY: Final = Names(roots=frozenset({"input"}))

_log = structlog.get_logger(__name__)

_Place = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """One route that a workflow has.

    Attributes:
        input: template of the run's input over the body, or None for the body itself.
        wait: seconds that the request is held, or None for a ticket at once.
    """

    workflow: Published
    route: Route
    input: Template | None
    wait: float | None


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Who has which route. The first to claim one keeps it.

    Attributes:
        claims: by host (None is every host) and path, then by method.
        hosts: every host that is named.
    """

    claims: Mapping[_Place, Mapping[str, Claim]]
    hosts: frozenset[str]

    def find(self, host: str, path: str) -> Mapping[str, Claim]:
        """What answers at a place, by method; a route for this very host comes first."""
        everywhere = self.claims.get((None, path), {})
        return {**everywhere, **self.claims.get((host, path), {})}


def build_route_table(workflows: Sequence[Published]) -> RouteTable:
    """Settle who has which route; `workflows` come in the order of their claims."""
    claims: dict[_Place, dict[str, Claim]] = {}
    for workflow in workflows:
        for route in workflow.resource.spec.routes:
            if is_reserved(route.path):
                continue
            methods = claims.setdefault((route.host, route.path), {})
            if route.method in methods:
                _log.warning(
                    "route.taken",
                    workflow=f"{workflow.namespace}/{workflow.name}",
                    route=f"{route.method} {route.host or ''}{route.path}",
                    holder=methods[route.method].workflow.name,
                )
                continue
            try:
                methods[route.method] = _claim(workflow, route)
            except ExpressionError as error:
                # Validation finds it first; a record that came another way stops nobody else.
                _log.warning("route.unusable", route=route.path, error=str(error))
    return RouteTable(claims, frozenset(host for host, _ in claims if host is not None))


def is_reserved(path: str) -> bool:
    """Whether a path is ours, or below one that is."""
    return any(path == own or path.startswith(f"{own}/") for own in (*RESERVED, "/openapi.json"))


def _claim(workflow: Published, route: Route) -> Claim:
    template = None
    if "input" in route.model_fields_set:
        template = compile_template(route.input, _BODY)
    wait = None
    if route.response == "Wait":
        wait = parse_duration(route.wait) if route.wait else _DEFAULT_WAIT
    return Claim(workflow, route, template, wait)


class WorkflowRoutes:
    """Answers what no path of our own does. ASGI."""

    def __init__(self, services: Services, settings: Settings, starting: Starting) -> None:
        self._services = services
        self._settings = settings
        self._starting = starting
        self._version: int | None = None
        self._table = RouteTable({}, frozenset())

    @property
    def table(self) -> RouteTable:
        """The routes of what is published now."""
        catalog = self._services.catalog
        version = catalog.version
        if version != self._version:
            self._table = build_route_table(catalog.workflows())
            self._version = version
        return self._table

    def is_claimed(self, host: str) -> bool:
        """Whether a route is for this very host."""
        return host in self.table.hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "websocket":
            raise _no_such_path(scope["path"])
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        methods = self.table.find(host_name(request.headers.get("host", "")), path)
        if not methods:
            raise _no_such_path(path)
        claim = methods.get(request.method)
        if claim is None:
            raise Refused(
                405,
                "The method is not taken here",
                f"{path} takes {', '.join(sorted(methods))}, not {request.method}.",
                reason="MethodNotAllowed",
                headers={"allow": ", ".join(sorted(methods))},
            )
        require_namespace(request.scope[CALLER], claim.workflow.namespace)
        request.scope["route"] = claim.route
        body = await read_json(request, self._settings.max_body, absent={})
        ticket = await self._starting.start(
            request, claim.workflow, _input(claim, body), StartedBy("route", claim.route.path)
        )
        return await self._starting.answer(claim.workflow, ticket, claim.wait)


def _input(claim: Claim, body: Any) -> Any:
    if claim.input is None:
        return body
    try:
        return claim.input.evaluate({"input": body})
    except EvaluationError as error:
        raise InvalidInput(
            f"The input of route {claim.route.path} of {claim.workflow.namespace}/"
            f"{claim.workflow.name} cannot be made of this body: {error}."
        ) from error


def _no_such_path(path: str) -> Refused:
    return Refused(404, "Unknown path", f"Nothing answers at {path}.", reason="UnknownPath")
