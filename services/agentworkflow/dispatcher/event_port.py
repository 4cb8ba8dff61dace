"""Builds the event port: where Triggers deliver and function hosts report. Cluster-internal."""

from starlette.applications import Starlette
from starlette.middleware import Middleware

from agentworkflow.dispatcher.api import add_problem_handlers
from agentworkflow.dispatcher.event_starts import EventStarts
from agentworkflow.dispatcher.gate import Measured
from agentworkflow.dispatcher.health import build_health
from agentworkflow.dispatcher.host_callbacks import build_host_routes
from agentworkflow.dispatcher.limits import Admission
from agentworkflow.dispatcher.services import Services
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.dispatcher.trigger_port import build_trigger_routes


def build_event_port(services: Services, settings: Settings) -> Starlette:
    """The ASGI application of the event port.

    It knows no keys: a Trigger's address and an attempt's token are what opens it.
    """
    starts = EventStarts(services, Admission(settings.max_accepts))
    app = Starlette(
        routes=[
            *build_trigger_routes(services, settings, starts),
            *build_host_routes(services, settings),
            *build_health(services),
        ],
        middleware=[Middleware(Measured, metrics=services.metrics, port="event")],
    )
    app.router.redirect_slashes = False
    add_problem_handlers(app, services)
    return app
