"""Talks to the dispatcher's event port with an attempt's token: blobs and progress."""

import asyncio
import hashlib
import logging

from agentworkflow.events import types
from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import encode_binary
from agentworkflow.functions.answers import json_bytes, now_text, source_of
from agentworkflow.functions.http_client import HttpAnswer, HttpClientError, request
from agentworkflow.functions.outcomes import Failed
from agentworkflow.functions.requests import StepRequest
from agentworkflow.functions.table import FunctionTable

__all__ = ["BlobError", "Callback", "Progress"]

log = logging.getLogger("agentworkflow.functions")

_PAUSES = (0.2, 1.0)
_OK, _REDIRECT, _TOO_LARGE, _SERVER = 200, 300, 413, 500
# A little over a second: the event port drops what comes earlier than one after the last.
_PROGRESS_SECONDS = 1.05


class BlobError(Exception):
    """A blob that could not be stored or fetched; `failed` is what the attempt ends with."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.detail)
        self.failed = failed


class Callback:
    """The event port as one host sees it. Without an address there is nobody to call back."""

    def __init__(self, table: FunctionTable) -> None:
        self._table = table
        self._url = table.callback.rstrip("/") if table.callback else None

    async def put_blob(self, step: StepRequest, body: bytes) -> str:
        """Store an output and return its `dataref`. Raises BlobError."""
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        await self._blob("PUT", step, digest, body, "The handler's result could not be stored")
        return digest

    async def get_blob(self, step: StepRequest, dataref: str) -> bytes:
        """Fetch an input by its `dataref`. Raises BlobError."""
        title = "The step's input could not be fetched"
        return (await self._blob("GET", step, dataref, b"", title)).body

    async def _blob(
        self, method: str, step: StepRequest, digest: str, body: bytes, title: str
    ) -> HttpAnswer:
        if self._url is None:
            raise BlobError(
                Failed(
                    reason="BadAnswer" if method == "PUT" else "Crash",
                    title=title,
                    detail="the function table has no callback address",
                )
            )
        detail = ""
        for pause in (*_PAUSES, None):
            try:
                answer = await request(
                    method, f"{self._url}/blobs/{digest}", _attempt_headers(step), body
                )
            except HttpClientError as error:
                detail = str(error)
            else:
                if _OK <= answer.status < _REDIRECT:
                    return answer
                detail = f"{method} {digest}: the event port answered {answer.status}"
                if answer.status == _TOO_LARGE:
                    detail += f": {len(body)} bytes are too many"
                    raise BlobError(Failed(reason="BadAnswer", title=title, detail=detail))
                if answer.status < _SERVER:
                    break
            if pause is not None:
                await asyncio.sleep(pause)
        raise BlobError(Failed(reason="Crash", title=title, detail=detail))

    async def post_progress(
        self, step: StepRequest, number: int, fraction: float, message: str
    ) -> None:
        """Tell who watches the run; failures are only noted, for progress is only a courtesy."""
        if self._url is None:
            return
        event = CloudEvent(
            id=f"{step.subject}/progressed/{number}",
            source=source_of(self._table, step.function),
            type=types.STEP_PROGRESSED,
            time=now_text(),
            datacontenttype="application/json",
            extensions=step.echo(),
        )
        headers, _ = encode_binary(event)
        body = json_bytes({"fraction": fraction, "message": message})
        try:
            await request("POST", f"{self._url}/progress", _attempt_headers(step) | headers, body)
        except HttpClientError as error:
            log.warning("progress of %s is lost: %s", step.subject, error)


def _attempt_headers(step: StepRequest) -> dict[str, str]:
    headers = {
        "authorization": f"Bearer {step.token}",
        "awf-run": step.run,
        "awf-step": step.step,
        "awf-attempt": str(step.attempt),
        "content-type": "application/octet-stream",
    }
    if step.item is not None:
        headers["awf-item"] = str(step.item)
    return headers


class Progress:
    """One attempt's reports: at most one a second leaves, and the latest wins."""

    def __init__(self, callback: Callback, step: StepRequest) -> None:
        self._callback = callback
        self._step = step
        self._number = 0
        self._latest: tuple[float, str] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._posts: set[asyncio.Task[None]] = set()

    def __call__(self, fraction: float, message: str) -> None:
        """Take a report from the handler."""
        self._latest = (fraction, message)
        if self._timer is None:
            self._post()

    def end(self) -> None:
        """Drop what was not sent: the answer says more."""
        self._latest = None
        if self._timer is not None:
            self._timer.cancel()

    def _post(self) -> None:
        self._timer = None
        if self._latest is None:
            return
        (fraction, message), self._latest = self._latest, None
        self._number += 1
        task = asyncio.create_task(
            self._callback.post_progress(self._step, self._number, fraction, message)
        )
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)
        self._timer = asyncio.get_running_loop().call_later(_PROGRESS_SECONDS, self._post)
