"""What the host asks of Linux about processes: who dies with whom, who adopts whom, who is left.

On other systems the calls that do not exist there do nothing; the pipes' ends still tell who died.
"""

import contextlib
import ctypes
import functools
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

__all__ = [
    "adopt_orphans",
    "children_of",
    "die_with_parent",
    "outlive_parent",
    "own_bytes",
    "tree_of",
    "wipe_out_strangers",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")


@functools.cache
def _prctl() -> Any:
    if sys.platform != "linux":
        return None
    return ctypes.CDLL(None, use_errno=True).prctl


def load() -> None:
    """Look the system call up now, so that a fresh child need not."""
    _prctl()


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which made it, dies; exit if it has."""
    prctl = _prctl()
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Take `die_with_parent` back: this process has something to clear away first."""
    prctl = _prctl()
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that none is lost from sight."""
    prctl = _prctl()
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(pid: int) -> list[int]:
    """Return the direct children of a process, of all its threads."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            text = (task / "children").read_text(encoding="ascii")
            found += map(int, text.split())
    except (FileNotFoundError, ProcessLookupError):
        if Path(f"/proc/{pid}/stat").exists():
            return list(_children_by_scan(pid))  # a kernel built without /proc/…/children
    except NotADirectoryError:
        return []
    return found


def _children_by_scan(pid: int) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                if int(stat.rpartition(")")[2].split()[1]) == pid:
                    yield int(folder.name)


def tree_of(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for each in found:
        found += children_of(each)
    return found


def own_bytes(pid: int, limit: int) -> int:
    """Return the bytes a process holds for itself; what it shares with the zygote is not its own.

    Cheap while its whole resident size is below `limit`: then that size is returned.
    """
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
        resident = int(pages[1]) * _PAGE
        if resident <= limit:
            return resident
        own = 0
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Private_"):
                own += int(line.split()[1]) * 1024
    except (OSError, IndexError):
        return 0  # it has just ended
    return own


def wipe_out_strangers(known: Collection[int], patience: float = 2.0) -> list[int]:
    """Kill and reap every child of this process that is not `known`, and theirs after them.

    Returns the process ids that were killed.
    """
    me, killed = os.getpid(), []
    end = time.monotonic() + patience
    while time.monotonic() < end:
        strangers = [pid for pid in children_of(me) if pid not in known]
        if not strangers:
            break
        for pid in strangers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    killed.append(pid)
                    continue
            time.sleep(0.001)
    return killed
