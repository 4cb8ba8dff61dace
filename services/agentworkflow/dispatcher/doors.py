"""The two doors of a dispatcher, built on its core: the API port and the event port."""

import secrets
from dataclasses import dataclass
from typing import Self

import httpx2
import structlog
from fastapi import FastAPI
from starlette.applications import Starlette

from agentworkflow.dispatcher.api import build_api
from agentworkflow.dispatcher.core import Core
from agentworkflow.dispatcher.event_port import build_event_port
from agentworkflow.dispatcher.push import Pusher
from agentworkflow.dispatcher.services import Services
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.dispatcher.tls import client_tls

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Doors:
    """What a dispatcher serves.

    Attributes:
        api: ASGI application of the API port.
        event_port: ASGI application of the event port.
        services: what both work with.
    """

    api: FastAPI
    event_port: Starlette
    services: Services
    _pusher: Pusher

    @classmethod
    def build(cls, core: Core, settings: Settings) -> Self:
        """Put doors before a core, and give it the webhooks to push.

        Raises:
            WebhookSecretError: webhooks are allowed, and their secret cannot be used.
        """
        services = Services(
            runs=core.runs,
            catalog=core.catalog,
            dead_letters=core.dead_letters,
            # Functions are inside: a proxy of the environment is not asked.
            http=httpx2.AsyncClient(trust_env=False, verify=client_tls()),
            event_secret=_secret(settings),
            metrics=core.metrics,
        )
        pusher = Pusher(core.runs, core.dead_letters, settings, core.metrics)
        core.push_with(pusher.push)
        return cls(
            build_api(services, settings, pusher),
            build_event_port(services, settings),
            services,
            pusher,
        )

    def close(self) -> None:
        """Let event streams and waiting requests end, so that the servers can."""
        self.services.closing.set()

    async def aclose(self) -> None:
        """Close the connections to outside; after the servers have ended."""
        await self._pusher.aclose()
        await self.services.http.aclose()


def _secret(settings: Settings) -> bytes:
    if settings.event_secret is not None:
        return settings.event_secret.encode()
    _log.warning(
        "event_port.secret_drawn",
        hint="addresses of Triggers end with this process; set --event-secret-file",
    )
    return secrets.token_bytes(32)
