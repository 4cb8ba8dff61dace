"""Posts what is owed to Brokers: the news of runs, and the events that the API took.

Each is posted at most five times with the same `id`, then kept as a dead letter. A publication
holds nothing else up: a Broker may answer only after every subscriber was served.
"""

import json
from typing import Final

import httpx2
import structlog

from agentworkflow.dispatcher.metrics import Metrics
from agentworkflow.dispatcher.ports import Catalog, DeadLetter, DeadLetters, UnknownWorkflow
from agentworkflow.dispatcher.shell.folding import Folder
from agentworkflow.dispatcher.shell.run_events import run_news
from agentworkflow.dispatcher.shell.values import Loader
from agentworkflow.dispatcher.tls import client_tls
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import encode_binary, from_json, to_json
from agentworkflow.runs import due
from agentworkflow.runs.model import RunState
from agentworkflow.runs.values import INLINE_LIMIT, dump
from agentworkflow.store import Store

_log = structlog.get_logger(__name__)

MAX_POSTS: Final = 5
_TIMEOUT: Final = 600.0
"""Seconds: longer than a cold start, since a Broker may wait for its subscribers."""

_FIRST_PAUSE_MS: Final = 500


class Publications:
    """Posts events to Brokers.

    `broker_url` tells where a Broker is that no published workflow names, with `{namespace}` and
    `{broker}` in it; None if only published workflows have Brokers.
    """

    def __init__(
        self,
        store: Store,
        folder: Folder,
        loader: Loader,
        catalog: Catalog,
        letters: DeadLetters,
        metrics: Metrics,
        broker_url: str | None,
    ) -> None:
        self._store = store
        self._folder = folder
        self._loader = loader
        self._catalog = catalog
        self._letters = letters
        self._metrics = metrics
        self._broker_url = broker_url
        self._pauses: dict[str, int] = {}
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=50)
        timeout = httpx2.Timeout(_TIMEOUT, connect=5.0, pool=None)
        self._client = httpx2.AsyncClient(
            limits=limits, timeout=timeout, trust_env=False, verify=client_tls()
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def publish_news(self, run_id: str, entry: int) -> bool:
        """Publish the `run.*` event of a log entry; False once nothing is owed any more."""
        run = await self._folder.fresh(run_id)
        url = self._broker_of(run.namespace, run.workflow)
        if url is None:
            return False
        output, size = None, None
        if run.state is RunState.SUCCEEDED and entry == run.output_entry:
            output = await self._loader.result(run)
            size = len(dump(output))
        event = run_news(run, entry, output, size if (size or 0) > INLINE_LIMIT else None)
        return await self._post(
            url, event, due.publication_of(run_id, entry), run.namespace, run.workflow, run_id
        )

    async def publish_event(self, publication: str) -> bool:
        """Publish an event that the API took; False once nothing is owed any more."""
        body = await self._store.get_event(publication)
        if body is None:
            return False
        namespace, broker, event = decode_publication(body)
        url = self.broker_url(namespace, broker)
        member = due.user_event_of(publication)
        if url is None:
            detail = f"no Broker {broker!r} is known in namespace {namespace!r}"
            now = self._store.now_ms()
            letter = _letter(publication, namespace, None, broker, event, None, now, detail)
            await self._letters.add(letter)
            await self._store.drop_event(publication)
            return False
        owed = await self._post(url, event, member, namespace, None, None, broker=broker)
        if not owed:
            await self._store.drop_event(publication)
        return owed

    def broker_url(self, namespace: str, broker: str) -> str | None:
        """Where a Broker takes events, or None if nobody said."""
        for published in self._catalog.workflows(namespace):
            if published.broker is not None and published.resource.spec.broker.name == broker:
                return published.broker
        if self._broker_url is None:
            return None
        return self._broker_url.format(namespace=namespace, broker=broker)

    def _broker_of(self, namespace: str, workflow: str) -> str | None:
        try:
            return self._catalog.get(namespace, workflow).broker
        except UnknownWorkflow:
            # It was withdrawn while its last runs ended; their news goes where there is a Broker.
            return self.broker_url(namespace, "default")

    async def _post(
        self,
        url: str,
        event: CloudEvent,
        member: str,
        namespace: str,
        workflow: str | None,
        run: str | None,
        *,
        broker: str = "default",
    ) -> bool:
        headers, body = encode_binary(event)
        status: int | None = None
        try:
            response = await self._client.post(url, headers=headers, content=body)
            status = response.status_code
        except httpx2.HTTPError as error:
            detail = f"{type(error).__name__} at {url}"
        else:
            if response.is_success:
                self._pauses.pop(member, None)
                self._metrics.publications.labels("sent").inc()
                return False
            detail = f"{url} answered {status}"
        pause = self._pauses.get(member, _FIRST_PAUSE_MS)
        posts = await self._store.again(member, pause)
        if posts is not None and posts < MAX_POSTS:
            self._pauses[member] = pause * 4
            self._metrics.publications.labels("failed").inc()
            return True
        self._pauses.pop(member, None)
        self._metrics.publications.labels("dead").inc()
        _log.warning("publication given up", member=member, detail=detail)
        letter = _letter(
            member, namespace, workflow, broker, event, status, self._store.now_ms(), detail, run
        )
        await self._letters.add(letter)
        return False


def encode_publication(namespace: str, broker: str, event: CloudEvent) -> bytes:
    """An event that is owed to a Broker, as it is stored."""
    return dump([namespace, broker, to_json(event)]).encode()


def decode_publication(body: bytes) -> tuple[str, str, CloudEvent]:
    """What `encode_publication` wrote."""
    namespace, broker, event = json.loads(body)
    return namespace, broker, from_json(event)


def _letter(
    member: str,
    namespace: str,
    workflow: str | None,
    broker: str,
    event: CloudEvent,
    status: int | None,
    now: int,
    detail: str,
    run: str | None = None,
) -> DeadLetter:
    reason = "Unreachable" if status is None else f"Status{status}"
    return DeadLetter(
        id=member.replace("|", ".").replace("/", "."),
        namespace=namespace,
        workflow=workflow,
        kind="publication",
        target=broker,
        reason=reason,
        detail=detail,
        event=to_json(event),
        created_ms=now,
        code=status,
        run=run,
    )
