"""The function table: which functions a host holds, as operator or engine rendered it (JSON).

Read by the front and by the zygote, so it imports nothing heavy.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Role = Literal["pool", "own"]

_HANDLER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
DEFAULT_TIMEOUT = 60.0
DEFAULT_CONCURRENCY = 10


class TableError(ValueError):
    """A function table that cannot be used; the message says where and what to write instead."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """How a user's event reaches a function without a run.

    `input`: paths into the event by field name (None: the event's data as it is).
    `reply`: type of the reply event (None: `<function>.completed`).
    """

    name: str
    input: Any = None
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class FunctionEntry:
    """One function: its handler (`module:attribute`) and its limits.

    `timeout`: seconds for the handler. `concurrency`: events at one time in this host.
    `memory`: bytes that one child may hold for itself; None is no limit.
    The schemas are those of the resource; None where the annotations speak alone.
    """

    name: str
    handler: str
    timeout: float = DEFAULT_TIMEOUT
    concurrency: int = DEFAULT_CONCURRENCY
    memory: int | None = None
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    triggers: tuple[Trigger, ...] = ()

    def trigger(self, name: str) -> Trigger | None:
        """Return the trigger of that name, if this function has it."""
        return next((each for each in self.triggers if each.name == name), None)


@dataclass(frozen=True, slots=True)
class FunctionTable:
    """All that one host knows. `callback` is the event port, for blobs and progress."""

    functions: tuple[FunctionEntry, ...]
    namespace: str = "default"
    workflow: str = "local"
    role: Role = "own"
    path: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    callback: str | None = None
    by_name: Mapping[str, FunctionEntry] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {each.name: each for each in self.functions}
        if len(by_name) != len(self.functions):
            raise TableError("functions: two of them have one name; names are unique in a table")
        object.__setattr__(self, "by_name", by_name)


def read_table(file: str | os.PathLike[str]) -> FunctionTable:
    """Read the table of a JSON file. Raises TableError, which names the file and the place."""
    try:
        raw = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TableError(f"{file}: is not JSON: {error}") from error
    try:
        return parse_table(raw)
    except TableError as error:
        raise TableError(f"{file}: {error}") from error


def table_of_handler(handler: str, name: str | None) -> FunctionTable:
    """Return the table for one handler, imported from the current folder and its `src/`."""
    check_handler(handler, "--handler")
    own = handler.rsplit(":", 1)[1].rsplit(".", 1)[-1].lower().replace("_", "-").strip("-")
    here = Path.cwd()
    entry = FunctionEntry(name=name or own, handler=handler)
    return FunctionTable((entry,), path=(str(here), str(here / "src")))


def parse_table(raw: Any) -> FunctionTable:
    """Return the table of a parsed JSON object. Unknown members are left to newer hosts."""
    top = _object(raw, "the table")
    functions = _list(top.get("functions"), "functions")
    if not functions:
        raise TableError("functions: is empty; a host holds at least one")
    role = top.get("role", "own")
    if role not in ("pool", "own"):
        raise TableError(f"role: is {role!r}; write 'pool' or 'own'")
    return FunctionTable(
        functions=tuple(_entry(each, f"functions[{i}]") for i, each in enumerate(functions)),
        namespace=_text(top, "namespace", "default"),
        workflow=_text(top, "workflow", "local"),
        role=role,
        path=tuple(map(str, _list(top.get("path"), "path"))),
        preload=tuple(map(str, _list(top.get("preload"), "preload"))),
        callback=top.get("callback"),
    )


def dump_table(table: FunctionTable) -> dict[str, Any]:
    """Return the table as JSON again, for the zygote; `parse_table` reads it back."""
    return {
        "namespace": table.namespace,
        "workflow": table.workflow,
        "role": table.role,
        "path": list(table.path),
        "preload": list(table.preload),
        "functions": [
            {
                "name": each.name,
                "handler": each.handler,
                "timeout": each.timeout,
                "concurrency": each.concurrency,
                "memory": each.memory,
                "inputSchema": each.input_schema,
                "outputSchema": each.output_schema,
                "triggers": [
                    {"name": t.name, "input": t.input, "reply": t.reply} for t in each.triggers
                ],
            }
            for each in table.functions
        ],
    }


def check_handler(handler: Any, where: str) -> str:
    """Return the handler if it has the form `module:attribute`."""
    if not isinstance(handler, str) or not _HANDLER.fullmatch(handler):
        raise TableError(f"{where}: is {handler!r}; write module:attribute, as in shop.orders:tell")
    return handler


def _entry(raw: Any, where: str) -> FunctionEntry:
    entry = _object(raw, where)
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise TableError(f"{where}.name: is missing")
    memory = entry.get("memory")
    triggers = _list(entry.get("triggers"), f"{where}.triggers")
    return FunctionEntry(
        name=name,
        handler=check_handler(entry.get("handler"), f"{where}.handler"),
        timeout=_positive(entry.get("timeout"), DEFAULT_TIMEOUT, f"{where}.timeout"),
        concurrency=int(
            _positive(entry.get("concurrency"), DEFAULT_CONCURRENCY, f"{where}.concurrency")
        ),
        memory=None if memory is None else int(_positive(memory, 0, f"{where}.memory")),
        input_schema=entry.get("inputSchema"),
        output_schema=entry.get("outputSchema"),
        triggers=tuple(_trigger(t, f"{where}.triggers[{i}]") for i, t in enumerate(triggers)),
    )


def _trigger(raw: Any, where: str) -> Trigger:
    entry = _object(raw, where)
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise TableError(f"{where}.name: is missing")
    return Trigger(name, entry.get("input"), entry.get("reply"))


def _object(raw: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise TableError(f"{where}: must be an object, not {type(raw).__name__}")
    return raw


def _list(raw: Any, where: str) -> list[Any]:
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise TableError(f"{where}: must be a list, not {type(raw).__name__}")
    return raw


def _text(raw: Mapping[str, Any], name: str, default: str) -> str:
    value = raw.get(name, default)
    if not isinstance(value, str) or not value:
        raise TableError(f"{name}: must be a non-empty string, not {value!r}")
    return value


def _positive(raw: Any, default: float, where: str) -> float:
    value = default if raw is None else raw
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise TableError(f"{where}: is {raw!r}; write a number above 0")
    return float(value)
