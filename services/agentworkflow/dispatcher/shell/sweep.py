"""Acts on what is due: what this dispatcher's own commits made due, and what others left.

Every act holds a lease on its due entry, renewed while it goes on. A dispatcher that dies lets its
leases end, and another one takes the entries up.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from agentworkflow.dispatcher.metrics import Metrics
from agentworkflow.dispatcher.ports import Unavailable
from agentworkflow.dispatcher.shell.committing import LEASE_MS
from agentworkflow.dispatcher.shell.folding import RunGone
from agentworkflow.runs.due import DueEntry, parse_due
from agentworkflow.runs.model import Run
from agentworkflow.store import Store, StoreUnavailable
from agentworkflow.store.tasks import end_tasks

_log = structlog.get_logger(__name__)

_INTERVAL: Final = 1.0
"""Seconds between two looks at a shard when nothing is known to be due earlier."""

_BATCH: Final = 200
_CAPACITY: Final = 5_000
"""Acts at once. What is due beyond that stays with the store, for us later or for others now."""

_SOON: Final = 60_000
_TRIES: Final = 3

Act = Callable[[DueEntry], Awaitable[bool]]
"""Acts on an entry. False: the entry is of no use any more, and is removed."""

Abandon = Callable[[str], None]
"""Told of a due member that is no longer owed: whatever is still under way for it may end."""

Spoiled = Callable[[str], Awaitable[None]]
"""Ends a run that nothing can act on."""


class Sweep:
    """Leases what is due, hands it to the acts, and renews the leases of what goes on."""

    def __init__(
        self, store: Store, metrics: Metrics, act: Act, abandon: Abandon, spoiled: Spoiled
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._act = act
        self._abandon = abandon
        self._spoiled = spoiled
        self._acts: dict[str, asyncio.Task[None]] = {}
        self._tries: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._woken_at: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._closing = False

    def start(self) -> None:
        """Begin to sweep."""
        self._loops = [
            asyncio.create_task(self._sweep(), name="sweep"),
            asyncio.create_task(self._renew(), name="renew leases"),
        ]

    async def aclose(self) -> None:
        """Stop taking entries, and give up what is held so that others may take it at once."""
        self._closing = True
        if self._alarm is not None:
            self._alarm.cancel()
        held = list(self._acts)
        await end_tasks([*self._loops, *self._acts.values()])
        with contextlib.suppress(StoreUnavailable):
            await self._store.extend(held, 0)

    def on_commit(self, run: Run, now_due: Sequence[str], undue: Sequence[str]) -> None:
        """Act at once on what a commit of ours made due; give up what it ended."""
        if run.is_terminal:
            self._metrics.runs_finished.labels(
                run.namespace, run.workflow, str(run.state), run.reason or ""
            ).inc()
        for member in undue:
            self._abandon(member)
        for member in now_due:
            self.take(member)

    def on_later(self, run: str, at: int) -> None:
        """Look at the due set at a time that is known, not only at the next interval."""
        del run
        delay = at - self._store.now_ms()
        if delay > _SOON:
            return
        when = asyncio.get_running_loop().time() + max(delay, 0) / 1000
        if self._woken_at is not None and self._woken_at <= when:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._woken_at = when
        self._alarm = asyncio.get_running_loop().call_at(when, self._ring)

    def take(self, member: str) -> None:
        """Act on an entry that is leased to us."""
        if self._closing or member in self._acts:
            return
        task = asyncio.create_task(self._run(member), name=member)
        self._acts[member] = task
        task.add_done_callback(lambda _: self._acts.pop(member, None))

    def _ring(self) -> None:
        self._woken_at = None
        self._wake.set()

    async def _sweep(self) -> None:
        while True:
            self._wake.clear()
            for shard in range(self._store.shards):
                with contextlib.suppress(StoreUnavailable):
                    await self._sweep_shard(shard)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL):
                    await self._wake.wait()

    async def _sweep_shard(self, shard: int) -> None:
        while True:
            room = min(_BATCH, _CAPACITY - len(self._acts))
            if room <= 0:
                return
            taken = await self._store.lease(shard, limit=room, lease_ms=LEASE_MS)
            now = self._store.now_ms()
            for entry in taken:
                kind = entry.member.split("|", 1)[0]
                late = max(now - entry.due_ms, 0) / 1000
                self._metrics.due_lag_seconds.labels(kind).observe(late)
                self.take(entry.member)
            if len(taken) < room:
                await self._expect(shard)
                return

    async def _expect(self, shard: int) -> None:
        following = await self._store.next_due(shard)
        if following is not None:
            self.on_later("", following)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_MS / 3000)
            held = list(self._acts)
            if not held:
                continue
            with contextlib.suppress(StoreUnavailable):
                for member in await self._store.extend(held, LEASE_MS):
                    # Its attempt or run has ended elsewhere: nobody waits for the answer.
                    self._abandon(member)

    async def _run(self, member: str) -> None:
        try:
            keep = await self._act(parse_due(member))
        except (StoreUnavailable, Unavailable) as error:
            _log.warning("act waits for the store", member=member, error=str(error))
            return
        except RunGone:
            keep = False
        except ValueError:
            _log.exception("due entry dropped", member=member)
            keep = False
        except Exception:  # noqa: BLE001 - one broken entry must not stop the sweep
            await self._failed(member)
            return
        self._tries.pop(member, None)
        if not keep:
            with contextlib.suppress(StoreUnavailable):
                await self._store.ack([member])

    async def _failed(self, member: str) -> None:
        tries = self._tries.get(member, 0) + 1
        self._tries[member] = tries
        _log.exception("act failed", member=member, tries=tries)
        entry = parse_due(member)
        if tries >= _TRIES and entry.kind in ("call", "attempt", "deadline", "wait", "start"):
            self._tries.pop(member, None)
            await self._spoiled(entry.run)
