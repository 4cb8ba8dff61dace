"""What the front does with a request once it is read: admit it, run it, answer it."""

import time
from collections.abc import Iterable
from typing import Any

from agentworkflow.events.cloudevent import CloudEvent
from agentworkflow.events.http import encode_binary
from agentworkflow.events.problem import Problem
from agentworkflow.events.types import AWF_TOKEN, DATA_REF
from agentworkflow.functions.admission import Answer, Joins, Slots
from agentworkflow.functions.answers import (
    StartType,
    answer_problem,
    answer_step,
    answer_user_event,
)
from agentworkflow.functions.callback import BlobError, Callback, Progress
from agentworkflow.functions.child_link import Assignment
from agentworkflow.functions.outcomes import Ran, Returned
from agentworkflow.functions.requests import StepRequest
from agentworkflow.functions.runner import Runner
from agentworkflow.functions.table import FunctionEntry, FunctionTable, Trigger
from agentworkflow.functions.zygote_link import ZygoteLink

__all__ = ["Service"]

_INLINE_BYTES = 256 * 1024

Headers = Iterable[tuple[str, str]]


class Service:
    """The functions of one host, as requests see them."""

    def __init__(self, table: FunctionTable, zygote: ZygoteLink) -> None:
        self.table = table
        self.zygote = zygote
        self.joins = Joins(time.monotonic)
        self.last_busy = time.monotonic()
        self._runner = Runner(table, zygote)
        self._callback = Callback(table)
        self._slots = {each.name: Slots(each.concurrency) for each in table.functions}

    @property
    def idle_seconds(self) -> float:
        """How long nothing has been in flight; 0 while something is."""
        return 0.0 if self.joins.in_flight else time.monotonic() - self.last_busy

    async def step(
        self, entry: FunctionEntry, request: StepRequest, headers: Headers, body: bytes
    ) -> Answer:
        """Answer a step request."""
        existing = self.joins.existing(request.key)
        if existing is not None:
            return await existing
        slots = self._slots[entry.name]
        has_slot = slots.take_now()
        if not has_slot and self.table.role == "pool":
            return _busy(entry)
        start: StartType = "warm" if self.zygote.loaded.is_set() else "cold"
        work = self._step(entry, request, headers, body, start, has_slot=has_slot)
        return await self.joins.begin(request.key, work)

    async def user_event(
        self,
        entry: FunctionEntry,
        trigger: Trigger | None,
        event: CloudEvent,
        headers: Headers,
        body: bytes,
    ) -> Answer:
        """Answer an event that came without a run."""
        key = (entry.name, trigger.name if trigger else None, event.source, event.id)
        existing = self.joins.existing(key)
        if existing is not None:
            return await existing
        if not self._slots[entry.name].take_now():
            return _busy(entry)
        return await self.joins.begin(key, self._user_event(entry, trigger, event, headers, body))

    async def _step(
        self,
        entry: FunctionEntry,
        request: StepRequest,
        headers: Headers,
        body: bytes,
        start: StartType,
        *,
        has_slot: bool,
    ) -> Answer:
        slots = self._slots[entry.name]
        if not has_slot:
            await slots.take()
        progress = Progress(self._callback, request)
        try:
            if request.dataref is not None:
                body = await self._callback.get_blob(request, request.dataref)
                headers = _without_dataref(request.event)
            now = time.time()
            ends_at = min(now + entry.timeout, request.deadline or float("inf"))
            assignment = Assignment(
                label=request.subject,
                meta=_meta(headers, self._step_context(entry, request, ends_at), strict=True),
                body=body,
                timeout=entry.timeout,
                ends_at=request.deadline,
                on_progress=progress,
            )
            ran = await self._runner.run(entry, assignment)
            dataref = None
            if isinstance(ran.outcome, Returned) and len(ran.outcome.output) > _INLINE_BYTES:
                dataref = await self._callback.put_blob(request, ran.outcome.output)
        except BlobError as error:
            ran, dataref = Ran(error.failed, 0), None
        finally:
            progress.end()
            self._done(slots)
        return answer_step(self.table, request, ran, start, dataref)

    async def _user_event(
        self,
        entry: FunctionEntry,
        trigger: Trigger | None,
        event: CloudEvent,
        headers: Headers,
        body: bytes,
    ) -> Answer:
        context = {
            **self._context(entry),
            "trigger": trigger.name if trigger else None,
            "deadline": time.time() + entry.timeout,
            "idempotency_key": f"{event.source}/{event.id}",
        }
        assignment = Assignment(
            label=f"{entry.name} {event.source}/{event.id}",
            meta=_meta(headers, context, strict=False) | {"trigger": context["trigger"]},
            body=body,
            timeout=entry.timeout,
            ends_at=None,
            on_progress=lambda *_: None,
        )
        try:
            ran = await self._runner.run(entry, assignment)
        finally:
            self._done(self._slots[entry.name])
        return answer_user_event(self.table, entry, trigger, event, ran)

    def _done(self, slots: Slots) -> None:
        slots.give_back()
        self.last_busy = time.monotonic()

    def _context(self, entry: FunctionEntry) -> dict[str, Any]:
        return {
            "function": entry.name,
            "workflow": self.table.workflow,
            "namespace": self.table.namespace,
        }

    def _step_context(
        self, entry: FunctionEntry, request: StepRequest, ends_at: float
    ) -> dict[str, Any]:
        return {
            **self._context(entry),
            "run": request.run,
            "step": request.step,
            "item": request.item,
            "attempt": request.attempt,
            "session": request.session,
            "deadline": ends_at,
            "idempotency_key": request.idempotency_key,
        }


def _meta(headers: Headers, context: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    return {
        "headers": list(headers),
        "context": context,
        "trigger": None,
        "strict": strict,
    }


def _without_dataref(event: CloudEvent) -> list[tuple[str, str]]:
    """Return the headers of the same event with its data in the body."""
    bare = event.replace(data=None, datacontenttype="application/json")
    bare = bare.without_extensions(DATA_REF).without_extensions(AWF_TOKEN)
    headers, _ = encode_binary(bare)
    return list(headers.items())


def _busy(entry: FunctionEntry) -> Answer:
    return answer_problem(
        Problem(
            title="No free slot",
            status=429,
            detail=f"function {entry.name} already takes {entry.concurrency} events at once here",
        ),
        {"retry-after": "1"},
    )
