"""What the HTTP side of one dispatcher is given to work with."""

import asyncio
from dataclasses import dataclass, field

import httpx2

from agentworkflow.dispatcher.metrics import Metrics
from agentworkflow.dispatcher.ports import Catalog, DeadLetters, RunService
from agentworkflow.dispatcher.schemas import InputSchemas


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts behind the API and the event port.

    Attributes:
        runs: the service around the fold.
        catalog: what is published.
        dead_letters: what could not be delivered.
        http: calls functions on behalf of a redrive.
        event_secret: signs the addresses of Triggers.
        metrics: of this dispatcher.
        schemas: compiled input schemas.
        closing: set when the dispatcher shuts down; open event streams end then.
    """

    runs: RunService
    catalog: Catalog
    dead_letters: DeadLetters
    http: httpx2.AsyncClient
    event_secret: bytes
    metrics: Metrics = field(default_factory=Metrics)
    schemas: InputSchemas = field(default_factory=InputSchemas)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
