"""Pushes milestones of a run's log to the run's webhook, signed, again and again until it is taken.

The cursor is in the store, so any dispatcher goes on where another stopped.
A message keeps its id over all deliveries: a receiver that has seen it may drop it.
"""

import asyncio
import json
import random
import time
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from agentworkflow.dispatcher.metrics import Metrics
from agentworkflow.dispatcher.ports import (
    LAST_ENTRY,
    DeadLetter,
    DeadLetters,
    Hook,
    RunService,
    UnknownRun,
)
from agentworkflow.dispatcher.representations import rfc3339
from agentworkflow.dispatcher.settings import Settings
from agentworkflow.dispatcher.tls import client_tls
from agentworkflow.dispatcher.webhooks import (
    Destination,
    ForbiddenAddressError,
    Signer,
    WebhookPolicy,
)

WAITING_ENTRY: Final = "step.waiting"
_PAGE: Final = 200
_FIRST_DELAY: Final = 5.0
_LONGEST_DELAY: Final = 3600.0
_GONE: Final = 410
_OK: Final = range(200, 300)
_SHOWN: Final = 200


class Undelivered(Exception):  # noqa: N818 - an outcome, not a fault of ours
    """A delivery that did not succeed.

    Attributes:
        code: the HTTP status, if one came.
        final: no later delivery can succeed.
    """

    def __init__(self, detail: str, code: int | None = None, *, final: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.final = final


class Pusher:
    """Delivers webhooks.

    Args:
        runs: logs, views and cursors.
        dead_letters: where what is given up goes.
        settings: allowed hosts, secret, timeout, attempts.
        metrics: counts deliveries.
    """

    def __init__(
        self, runs: RunService, dead_letters: DeadLetters, settings: Settings, metrics: Metrics
    ) -> None:
        self._runs = runs
        self._dead_letters = dead_letters
        self._policy = WebhookPolicy(settings)
        self._signer = Signer(settings.webhook_secret) if settings.webhook_secret else None
        self._attempts = settings.webhook_attempts
        self._timeout = settings.webhook_timeout
        self._metrics = metrics
        # Proxies of the environment would resolve the name again: they are not asked.
        self._http = httpx2.AsyncClient(
            timeout=None, follow_redirects=False, trust_env=False, verify=client_tls()
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def push(self, run: str) -> float | None:
        """Deliver what the run's log holds after its cursor.

        It is called for the due entry `hook|<run>`, which the commit of a milestone adds: a step
        that waits for a signal, and the end of the run.

        Returns:
            None when nothing is left to deliver: drop the due entry, unless a later commit has
            moved it meanwhile. Otherwise seconds: make it due again after them.
        """
        hook = await self._runs.hook(run)
        if hook is None:
            return None
        after, attempts = hook.after, hook.attempts
        while True:
            try:
                entries = await self._runs.log(hook.namespace, run, after, _PAGE)
            except UnknownRun:
                return None
            for cursor, entry in entries:
                if _is_milestone(entry):
                    delay = await self._deliver_entry(hook, run, cursor, entry, attempts)
                    if delay is not None:
                        await self._runs.save_hook(run, after=after, attempts=attempts + 1)
                        return delay
                    await self._runs.save_hook(run, after=cursor, attempts=0)
                    attempts = 0
                after = cursor
            if len(entries) < _PAGE:
                return None

    async def _deliver_entry(
        self, hook: Hook, run: str, cursor: str, entry: Mapping[str, Any], attempts: int
    ) -> float | None:
        """Deliver one milestone; the delay before the next attempt, or None if it is done with."""
        message = f"{run}/{cursor}"
        data: Mapping[str, Any] = {"run": run, **entry}
        if entry["type"] == LAST_ENTRY:
            data = await self._runs.view(hook.namespace, run)
        payload = {"type": entry["type"], "timestamp": entry["time"], "data": data}
        try:
            await self.deliver(hook.url, message, payload)
        except Undelivered as failure:
            if not failure.final and attempts + 1 < self._attempts:
                self._metrics.pushes.labels("failed").inc()
                return backoff(attempts)
            self._metrics.pushes.labels("dead").inc()
            await self._dead_letters.add(
                _dead_letter(hook, run, message, payload, failure, attempts + 1)
            )
        else:
            self._metrics.pushes.labels("sent").inc()
        return None

    async def deliver(self, url: str, message: str, payload: Mapping[str, Any]) -> None:
        """Post one signed message.

        Raises:
            Undelivered: it was not taken.
        """
        if self._signer is None:
            raise Undelivered("Webhooks are not signed here: set --webhook-secret.", final=True)
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "content-type": "application/json",
            "user-agent": "agentworkflow",
            **self._signer.headers(message, int(time.time()), body),
        }
        try:
            async with asyncio.timeout(self._timeout):
                destination = await self._policy.resolve(url)
                code, said = await self._post(destination, headers, body)
        except ForbiddenAddressError as error:
            raise Undelivered(str(error), final=True) from error
        except TimeoutError as error:
            raise Undelivered(f"The receiver took longer than {self._timeout:g} s.") from error
        except (httpx2.HTTPError, OSError) as error:
            raise Undelivered(f"{type(error).__name__}: {error}") from error
        if code not in _OK:
            raise Undelivered(f"The receiver answered {code}: {said}", code, final=code == _GONE)

    async def _post(
        self, destination: Destination, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str]:
        """Post to an address that is settled; the status, and the first words of the answer."""
        async with self._http.stream(
            "POST",
            destination.url,
            content=body,
            headers={**headers, "host": destination.host},
            extensions={"sni_hostname": destination.name},
        ) as response:
            # The receiver is a stranger: no more of its answer is read than is shown.
            async for piece in response.aiter_raw():
                return response.status_code, piece[:_SHOWN].decode(errors="replace")
            return response.status_code, ""


def backoff(attempts: int) -> float:
    """Seconds after so many failed attempts: 5 s doubled, at most 1 h, and half of it jitter."""
    longest = min(_FIRST_DELAY * 2.0**attempts, _LONGEST_DELAY)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, protects nothing


def _is_milestone(entry: Mapping[str, Any]) -> bool:
    kind = entry["type"]
    return kind == LAST_ENTRY or (kind == WAITING_ENTRY and entry.get("signal") is not None)


def _dead_letter(
    hook: Hook,
    run: str,
    message: str,
    payload: Mapping[str, Any],
    failure: Undelivered,
    attempts: int,
) -> DeadLetter:
    now_ms = int(time.time() * 1000)
    event = {
        "specversion": "1.0",
        "id": message,
        "source": f"/agentworkflow/{hook.namespace}/{hook.workflow}",
        "type": f"dev.agentworkflow.webhook.{payload['type']}",
        "time": rfc3339(now_ms),
        "datacontenttype": "application/json",
        "data": payload,
    }
    return DeadLetter(
        id=message.replace("/", "-"),
        namespace=hook.namespace,
        workflow=hook.workflow,
        kind="webhook",
        target=hook.url,
        reason=f"Status{failure.code}" if failure.code else "Undelivered",
        detail=f"{failure} (attempt {attempts})",
        event=event,
        created_ms=now_ms,
        code=failure.code,
        run=run,
    )
