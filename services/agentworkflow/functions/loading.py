"""Imports handlers, and looks at what an import left behind that must not be forked."""

import contextlib
import difflib
import importlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentworkflow.functions.binding import Schema
from agentworkflow.functions.outcomes import Failed, shorten
from agentworkflow.functions.processes import children_of
from agentworkflow.functions.signature import Signature, SignatureError, read_signature
from agentworkflow.functions.table import FunctionEntry

__all__ = ["Leftovers", "LoadError", "Loaded", "describe", "load", "look_for_leftovers", "sockets"]

_TAIL_LINES = 8
# A pool that an import used and closed needs a moment for its threads to end.
_SETTLE_SECONDS = 0.2
_OURS = ("<frozen importlib", str(Path(__file__).parent), os.path.dirname(importlib.__file__))  # noqa: PTH120 - a prefix


@dataclass(frozen=True, slots=True)
class Loaded:
    """A function that is ready to be called."""

    entry: FunctionEntry
    handler: Callable[..., Any]
    signature: Signature
    input_schema: Schema | None
    output_schema: Schema | None


class LoadError(Exception):
    """A handler that cannot be had; `failed` is what each request for it is told."""

    def __init__(self, failed: Failed, tail: Sequence[str], path: Sequence[str]) -> None:
        super().__init__(failed.detail)
        self.failed = failed
        self.tail = tuple(tail)
        self.path = tuple(path)

    def to_json(self) -> dict[str, Any]:
        """Return the error as `--describe` and `GET /functions` show it."""
        return {
            "type": self.failed.type,
            "title": self.failed.title,
            "detail": self.failed.detail,
            "traceback": list(self.tail),
            "path": list(self.path),
        }


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What an import left running: a process with any of it must not be forked."""

    threads: int
    sockets: int
    processes: int

    def __bool__(self) -> bool:
        return bool(self.threads or self.sockets or self.processes)

    def __str__(self) -> str:
        counts = asdict(self).items()
        return ", ".join(f"{count} {name}" for name, count in counts if count) or "nothing"


def load(entry: FunctionEntry, path: Sequence[str]) -> Loaded:
    """Import one handler and read its signature. Raises LoadError; nothing else escapes."""
    try:
        handler = _find(entry.handler)
        signature = read_signature(handler)
        return Loaded(
            entry,
            handler,
            signature,
            None if entry.input_schema is None else Schema(entry.input_schema),
            None if entry.output_schema is None else Schema(entry.output_schema),
        )
    except BaseException as error:
        raise import_error(entry, path, error) from error


def _find(handler: str) -> Callable[..., Any]:
    module_name, _, attributes = handler.partition(":")
    found: Any = importlib.import_module(module_name)
    for name in attributes.split("."):
        if not hasattr(found, name):
            near = difflib.get_close_matches(name, dir(found), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AttributeError(f"{module_name} has no {attributes!r}{hint}")
        found = getattr(found, name)
    if not callable(found):
        raise TypeError(f"{handler} is {type(found).__name__}, which cannot be called")
    return found  # type: ignore[no-any-return]  # callable() has just said so


def import_error(entry: FunctionEntry, path: Sequence[str], error: BaseException) -> LoadError:
    """Return the problem of a handler whose import, attribute or signature is wrong."""
    tail = _tail(error)
    kind = "signature" if isinstance(error, SignatureError) else "import"
    lines = "\n".join(tail)
    failed = Failed(
        reason="Failure",
        type=f"urn:agentworkflow:problem:handler-{kind}",
        title=f"The handler {entry.handler} of function {entry.name} cannot be used",
        detail=shorten(
            f"{type(error).__name__}: {error}\n{lines}\nsearched: {', '.join(path) or 'nothing'}, "
            f"then the packages of {sys.prefix}"
        ),
    )
    return LoadError(failed, tail, path)


def _tail(error: BaseException) -> list[str]:
    """Return the traceback's last lines, without those of the import machinery and the host."""
    frames = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if not each.filename.startswith(_OURS)
    ]
    lines = traceback.format_list(frames) + traceback.format_exception_only(error)
    return "".join(lines).rstrip().splitlines()[-_TAIL_LINES:]


def describe(loaded: Loaded) -> dict[str, Any]:
    """Return what planners, validation and the front know of a function."""
    entry, signature = loaded.entry, loaded.signature
    return {
        "name": entry.name,
        "description": signature.description,
        "inputSchema": entry.input_schema or signature.input_schema,
        "outputSchema": entry.output_schema or signature.output_schema,
        "worker": signature.in_worker,
        "error": None,
    }


def sockets() -> set[str]:
    """Return the sockets and event loops that this process has open."""
    found = set()
    for name in _names("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = Path(f"/proc/self/fd/{name}").readlink().name
            if target.startswith("socket:") or "eventpoll" in target:
                found.add(f"{name}:{target}")
    return found


def look_for_leftovers(known_sockets: Collection[str]) -> Leftovers:
    """Count what is open and running beyond the main thread and the known sockets."""
    end = time.monotonic() + _SETTLE_SECONDS
    while _threads() and time.monotonic() < end:
        time.sleep(0.005)
    return Leftovers(
        threads=_threads(),
        sockets=len(sockets().difference(known_sockets)),
        processes=len(children_of(os.getpid())),
    )


def _threads() -> int:
    return (len(_names("/proc/self/task")) or threading.active_count()) - 1


def _names(folder: str) -> list[str]:
    try:
        return [each.name for each in Path(folder).iterdir()]
    except FileNotFoundError:
        return []  # not Linux
