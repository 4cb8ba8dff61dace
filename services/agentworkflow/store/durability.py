"""Says what a crash of Redis may cost: read from its settings, never assumed.

With `appendfsync always` an answer means that the write is on disk, and the promise of a ticket
holds.  On a managed Redis the setting is often not ours to change, and sometimes not ours to read.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from redis.exceptions import ResponseError

from agentworkflow.store.connection import Connection
from agentworkflow.store.errors import StoreError, StoreUnavailable

__all__ = ["Durability", "LossWindow", "read_durability"]

LossWindow: TypeAlias = Literal["None", "OneSecond", "Unbounded", "Snapshot", "Unknown"]

_MESSAGES: Final[dict[LossWindow, str]] = {
    "None": "Every answer is on disk (appendfsync always).",
    "OneSecond": (
        "A crash of Redis may lose the last second of accepted tickets "
        "(appendfsync is everysec); set appendfsync always."
    ),
    "Unbounded": (
        "A crash of the machine may lose any number of accepted tickets (appendfsync is no: "
        "Redis is not told to write to disk); set appendfsync always."
    ),
    "Snapshot": (
        "A crash of Redis loses everything since its last snapshot (appendonly is no); "
        "set appendonly yes and appendfsync always."
    ),
    "Unknown": (
        "Redis does not say whether its writes are on disk when it answers (CONFIG GET is "
        "refused); ask its provider for appendfsync always."
    ),
}

_WINDOWS: Final[dict[str, LossWindow]] = {
    "always": "None",
    "everysec": "OneSecond",
    "no": "Unbounded",
}


@dataclass(frozen=True, slots=True)
class Durability:
    """Which writes a crash of Redis may lose.

    Attributes:
        window: `None`, `OneSecond`, `Unbounded`, `Snapshot` (all since the last one) or `Unknown`.
        message: A sentence for the log, the metric's help and the user.
        evicts: True if Redis may drop live keys when its memory is full.
    """

    window: LossWindow
    message: str
    evicts: bool = False


async def read_durability(connection: Connection) -> Durability:
    """Read the settings that decide it; `CONFIG GET` may be refused, `INFO` hardly ever is."""
    try:
        settings = {
            name: await _setting(connection, name)
            for name in ("appendonly", "appendfsync", "maxmemory-policy", "maxmemory")
        }
    except StoreUnavailable:
        raise
    except StoreError as error:
        if not isinstance(error.__cause__, ResponseError):
            raise
        return await _from_info(connection)
    window: LossWindow
    if settings["appendonly"] != "yes":
        window = "Snapshot"
    else:
        window = _WINDOWS.get(settings["appendfsync"], "Unknown")
    policy = settings["maxmemory-policy"]
    evicts = settings["maxmemory"] != "0" and policy != "noeviction"
    message = _MESSAGES[window]
    if evicts:
        message += (
            f" Redis drops live keys when its memory is full ({policy}); "
            "set maxmemory-policy noeviction."
        )
    return Durability(window, message, evicts)


async def _setting(connection: Connection, name: str) -> str:
    found: dict[str, str] = await connection.command("CONFIG GET", name)
    return found.get(name, "")


async def _from_info(connection: Connection) -> Durability:
    info: dict[str, object] = await connection.command("INFO", "persistence")
    if info.get("aof_enabled") == 0:
        return Durability("Snapshot", _MESSAGES["Snapshot"])
    return Durability("Unknown", _MESSAGES["Unknown"])
