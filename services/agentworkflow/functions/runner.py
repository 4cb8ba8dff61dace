"""Decides which process an event runs in: a child of its own, its function's worker, or a spare."""

import time

from agentworkflow.functions.child_link import Assignment, ChildLink
from agentworkflow.functions.memory import MemoryWatch
from agentworkflow.functions.outcomes import Failed, Ran
from agentworkflow.functions.table import FunctionEntry, FunctionTable
from agentworkflow.functions.zygote_link import ZygoteLink

__all__ = ["Runner"]


class Runner:
    """Runs events in children, once the zygote has loaded."""

    def __init__(self, table: FunctionTable, zygote: ZygoteLink) -> None:
        self._table = table
        self._zygote = zygote
        self._memory = MemoryWatch()
        self._workers: dict[str, ChildLink] = {}
        self._spares: dict[str, ChildLink] = {}
        zygote.on_loaded = self._fill_spares

    async def run(self, entry: FunctionEntry, assignment: Assignment) -> Ran:
        """Run one event to its outcome."""
        await self._zygote.loaded.wait()
        description = self._zygote.catalog.descriptions[entry.name]
        if description.failed is not None:
            return Ran(description.failed, 0)
        if assignment.ends_at is not None and assignment.ends_at <= time.time():
            return Ran(_too_late(entry), 0)
        if description.in_worker:
            return await self._worker(entry).submit(assignment)
        return await self._child(entry).submit(assignment)

    def _worker(self, entry: FunctionEntry) -> ChildLink:
        worker = self._workers.get(entry.name)
        if worker is None or not worker.is_open:
            worker = self._workers[entry.name] = self._start(entry)
        return worker

    def _child(self, entry: FunctionEntry) -> ChildLink:
        if entry.name not in self._zygote.catalog.apart:
            return self._start(entry)
        spare = self._spares.pop(entry.name, None)
        self._spares[entry.name] = self._start(entry)
        return spare if spare is not None and spare.is_open else self._start(entry)

    def _fill_spares(self) -> None:
        """Have the import of what cannot be forked done before the first event."""
        for entry in self._table.functions:
            description = self._zygote.catalog.descriptions[entry.name]
            if entry.name not in self._zygote.catalog.apart or description.failed is not None:
                continue
            if description.in_worker:
                self._worker(entry)
            else:
                self._spares[entry.name] = self._start(entry)

    def _start(self, entry: FunctionEntry) -> ChildLink:
        child = ChildLink(self._zygote, self._table, entry)
        self._memory.add(child)
        child.on_gone = lambda: self._memory.discard(child)
        return child


def _too_late(entry: FunctionEntry) -> Failed:
    return Failed(
        reason="DeadlineExceeded",
        title="The attempt's deadline had passed before it could start",
        detail=f"function {entry.name} had no room in time: raise its startTimeout, concurrency or "
        "scale",
    )
