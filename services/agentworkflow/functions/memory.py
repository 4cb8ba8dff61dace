"""Watches what children hold in memory, and ends those that hold more than they may.

The kernel's own limit would end the whole container for one child; a child's address space is
limited too (`child.limit_memory`), but what it maps is not yet what it holds.
"""

import asyncio

from agentworkflow.functions import processes
from agentworkflow.functions.child_link import Assignment, ChildLink
from agentworkflow.functions.outcomes import Failed

__all__ = ["MemoryWatch"]

_LOOK_SECONDS = 0.05
_MIB = 1024 * 1024


class MemoryWatch:
    """Looks at the children it was given, and sleeps while there are none."""

    def __init__(self) -> None:
        self._children: set[ChildLink] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, child: ChildLink) -> None:
        """Watch a child until it is gone, if its function has a limit."""
        if child.entry.memory is None:
            return
        self._children.add(child)
        if self._timer is None:
            self._look()

    def discard(self, child: ChildLink) -> None:
        """Stop watching a child."""
        self._children.discard(child)

    def _look(self) -> None:
        for child in list(self._children):
            self._check(child)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_LOOK_SECONDS, self._look) if self._children else None

    def _check(self, child: ChildLink) -> None:
        limit = child.entry.memory
        if child.pid is None or limit is None:
            return
        limit += child.base_bytes
        held = _held(child.pid, limit)
        if held <= limit:
            return
        self._children.discard(child)
        detail = (
            f"function {child.entry.name} held {held // _MIB} MiB of its own; its memory is "
            f"{limit // _MIB} MiB: raise it, or work on less at once"
        )
        if child.busy > 1:
            detail += f" ({child.busy} events shared the process)"

        def verdict(_: Assignment) -> Failed:
            return Failed(
                reason="OutOfMemory",
                title="The handler held more memory than it may",
                detail=detail,
            )

        child.condemn(verdict)


def _held(pid: int, limit: int) -> int:
    tree = processes.tree_of(pid)
    held = sum(processes.own_bytes(each, limit) for each in tree)
    if held > limit and len(tree) > 1:
        held = sum(processes.own_bytes(each, 0) for each in tree)
    return held
