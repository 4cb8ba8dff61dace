"""Calls of steps: posts an attempt to its function's addresses and folds what comes back.

Many posts are open side by side, bounded per function, so that a slow function holds up only its
own calls.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import httpx2
import structlog

from agentworkflow.dispatcher.metrics import Metrics
from agentworkflow.dispatcher.ports import Catalog, UnknownWorkflow
from agentworkflow.dispatcher.shell.folding import Folder
from agentworkflow.dispatcher.shell.host_answers import (
    Answer,
    Completed,
    Expected,
    Failed,
    Verdict,
    bad_answer,
    crash,
    judge,
)
from agentworkflow.dispatcher.shell.run_events import step_requested
from agentworkflow.dispatcher.shell.values import Loader
from agentworkflow.dispatcher.tls import client_tls
from agentworkflow.events.http import encode_binary
from agentworkflow.runs.decide import call_input, call_parts
from agentworkflow.runs.due import call_of
from agentworkflow.runs.events import Event, StepCompleted, StepFailed
from agentworkflow.runs.model import Run
from agentworkflow.runs.problems import expression_problem
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.tokens import token_of
from agentworkflow.runs.values import Blob, Inline, Value, stow
from agentworkflow.store import Store
from agentworkflow.workflow.expressions import EvaluationError

_log = structlog.get_logger(__name__)

PAUSES: Final = (0.02, 0.2, 1.0, 3.0, 8.0)
"""Seconds before each post of an attempt after the first, when nobody answered for it.

The first is short: a host that scaled to zero closes connections that were kept for it.
"""

_LONGEST_POST: Final = 600.0
"""Seconds that one post may stay open: Knative closes it then. Such a post is not counted."""

_CONNECT: Final = 5.0
_MAX_OPEN: Final = 200
"""Posts to one function that are open at once."""

_MAX_ANSWER: Final = 64 * 1024 * 1024

_UNREACHED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Calls:
    """Makes calls of attempts. `call` ends when the attempt has its answer in the run."""

    def __init__(
        self, store: Store, folder: Folder, loader: Loader, catalog: Catalog, metrics: Metrics
    ) -> None:
        self._store = store
        self._folder = folder
        self._loader = loader
        self._catalog = catalog
        self._metrics = metrics
        self._open: defaultdict[tuple[str, str, str], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_MAX_OPEN)
        )
        self._posts: dict[str, asyncio.Task[tuple[Answer, bool]]] = {}
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=200)
        timeout = httpx2.Timeout(_LONGEST_POST, connect=_CONNECT, pool=None)
        self._client = httpx2.AsyncClient(
            limits=limits, timeout=timeout, trust_env=False, verify=client_tls()
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def call(self, run_id: str, slot: Slot, attempt: int) -> bool:
        """Make the call of an attempt, and fold its answer.

        Returns:
            False if the attempt is not the current one: its due entry is of no use any more.

        Raises:
            RunGone, StoreUnavailable.
        """
        run = await self._folder.get(run_id)
        if run.live.get(slot) != attempt:
            run = await self._folder.fresh(run_id)
        if run.live.get(slot) != attempt:
            return False
        started = time.monotonic()
        member = call_of(run_id, slot, attempt)
        post = asyncio.create_task(self._bounded(run, slot, attempt), name=f"post {member}")
        self._posts[member] = post
        try:
            answer, pool = await post
        except asyncio.CancelledError:
            post.cancel()
            if _is_cancelled():
                raise
            # The attempt has ended otherwise, and its entry is removed already.
            return True
        finally:
            del self._posts[member]
        start_type = _start_type(answer, pool=pool)
        await self._fold(run, slot, attempt, answer, start_type)
        self._metrics.call_seconds.labels(
            run.namespace, run.workflow, run.spec(slot.step).function, start_type or "unknown"
        ).observe(time.monotonic() - started)
        return True

    def abandon(self, member: str) -> None:
        """Give up a post whose attempt has ended. An answer that is being folded goes on."""
        post = self._posts.get(member)
        if post is not None:
            post.cancel()

    async def _bounded(self, run: Run, slot: Slot, attempt: int) -> tuple[Answer, bool]:
        function = run.spec(slot.step).function or ""
        async with self._open[run.namespace, run.workflow, function]:
            with self._metrics.open_calls.track_inprogress():
                return await self._answer(run, slot, attempt)

    async def _answer(self, run: Run, slot: Slot, attempt: int) -> tuple[Answer, bool]:
        try:
            values = await self._loader.load(run, call_parts(run, slot))
            data = call_input(run, slot, values)
        except EvaluationError as error:
            return Failed("ExpressionFailed", expression_problem(error)), False
        if not isinstance(data, dict):
            return _not_an_object(data), False
        token = token_of(run.secret, slot.step, slot.item, attempt)
        kept, blobs = stow(data)
        reference = None
        if isinstance(kept, Blob):
            reference = kept.digest
            await self._store.put_blob(run.id, kept.digest, blobs[kept.digest])
        deadline = run.attempts(slot).deadline or self._store.now_ms()
        event = step_requested(run, slot, attempt, token, data, reference, deadline)
        headers, body = encode_binary(event)
        return await self._post(run, Expected(run.id, slot, attempt, token), headers, body)

    async def _post(
        self, run: Run, expected: Expected, headers: dict[str, str], body: bytes
    ) -> tuple[Answer, bool]:
        """Post until somebody answers for the attempt, or nobody will."""
        reposts = 0
        first = 0
        last = ""
        while True:
            addresses = self._addresses(run, expected.slot)
            first = max(min(first, len(addresses) - 1), 0)
            for number, address in enumerate(addresses[first:], first):
                pool = number < len(addresses) - 1
                started = time.monotonic()
                came = await self._post_once(address, headers, body, expected, pool=pool)
                self._metrics.call_posts.labels(_outcome(came)).inc()
                if isinstance(came, (Completed, Failed)):
                    return came, len(addresses) > 1 and number == 0
                if came[0] is not Verdict.ELSEWHERE:
                    last = came[1]
                    # A pool that gave no answer is not asked again for this attempt. The last
                    # address is: it may be running the attempt, which the same token joins.
                    first = number + 1 if pool else number
                    if pool or time.monotonic() - started >= _LONGEST_POST:
                        reposts -= 1
                    break
            if not addresses:
                last = f"Function {run.spec(expected.slot.step).function!r} has no address."
            reposts += 1
            if reposts > len(PAUSES):
                return crash(f"{last} It was asked {reposts} times."), False
            pause = PAUSES[max(reposts - 1, 0)]
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load

    async def _post_once(
        self, address: str, headers: dict[str, str], body: bytes, expected: Expected, *, pool: bool
    ) -> Answer | tuple[Verdict, str]:
        try:
            async with self._client.stream(
                "POST", address, headers=headers, content=body
            ) as response:
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > _MAX_ANSWER:
                        detail = f"The answer is larger than {_MAX_ANSWER} bytes."
                        return bad_answer("Failure", detail, b"")
                pairs = response.headers.multi_items()
                verdict = judge(response.status_code, pairs, bytes(content), expected, pool=pool)
        except _UNREACHED as error:
            verdict = Verdict.ELSEWHERE if pool else Verdict.AGAIN
            return verdict, f"Nobody answers at {address} ({type(error).__name__})."
        except httpx2.HTTPError as error:
            return Verdict.AGAIN, f"The call to {address} broke off ({type(error).__name__})."
        if isinstance(verdict, Verdict):
            return verdict, f"{address} answered {response.status_code}."
        return verdict

    def _addresses(self, run: Run, slot: Slot) -> Sequence[str]:
        """Where the function is now: a run pins its plan, not where its code runs."""
        try:
            published = self._catalog.get(run.namespace, run.workflow)
        except UnknownWorkflow:
            return ()
        return published.functions.get(run.spec(slot.step).function or "", ())

    async def _fold(
        self, run: Run, slot: Slot, attempt: int, answer: Answer, start_type: str | None
    ) -> None:
        output: Value | None = None
        if isinstance(answer, Completed):
            output = await self._output(run.id, answer)
            if output is None:
                detail = f"The answer refers to {answer.reference}, which was never put."
                answer = bad_answer("Failure", detail, b"")

        def make(_run: Run, now: int) -> Event:
            if isinstance(answer, Completed) and output is not None:
                return StepCompleted(
                    time=now,
                    step=slot.step,
                    item=slot.item,
                    attempt=attempt,
                    output=output,
                    start_type=start_type,
                    duration=answer.duration,
                )
            failed = answer if isinstance(answer, Failed) else crash("")
            return StepFailed(
                time=now,
                step=slot.step,
                item=slot.item,
                attempt=attempt,
                reason=failed.reason,
                problem=failed.problem,
                retry_after=failed.retry_after,
                start_type=start_type,
                duration=failed.duration,
            )

        folded = await self._folder.fold(run.id, make, patient=True)
        if not folded.applied:
            self._metrics.stale_answers.inc()
            _log.info("answer was stale", run=run.id, step=str(slot), attempt=attempt)

    async def _output(self, run: str, answer: Completed) -> Value | None:
        if answer.reference is None:
            return Inline(answer.output)
        body = await self._store.get_blob(run, answer.reference)
        return None if body is None else Blob(answer.reference, len(body))


def _is_cancelled() -> bool:
    """Whether the task that asks is itself being cancelled, not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _start_type(answer: Answer, *, pool: bool) -> str | None:
    return "pool" if pool and answer.start_type == "warm" else answer.start_type


def _outcome(came: Answer | tuple[Verdict, str]) -> str:
    return "answer" if isinstance(came, (Completed, Failed)) else came[0].value


def _not_an_object(data: object) -> Failed:
    problem = {
        "type": "https://agentworkflow.dev/problems/InvalidInput",
        "title": "The step's input is no object",
        "detail": f"`input` gave {type(data).__name__}; its fields are the handler's parameters, "
        "so it has to be an object.",
        "reason": "InvalidInput",
    }
    return Failed("InvalidInput", problem)
