"""The names of every key and channel of ours in Redis.

The part in braces is the hash tag: keys with one tag live in one slot of a Redis Cluster, so a
script may touch them together.  A run, its session, its definition, and the due set and indexes of
its shard share the shard's tag, which a run id carries in its last two hex digits.
"""

import re
from typing import Final

from agentworkflow.store.errors import StoreError

__all__ = [
    "REGISTRY",
    "REGISTRY_CHANGED",
    "REGISTRY_VERSION",
    "active",
    "blobs",
    "claim",
    "dead_letter_order",
    "dead_letters",
    "definition",
    "due",
    "event",
    "finished",
    "grown",
    "head",
    "log",
    "of_session",
    "parse_shard",
    "queue",
    "session",
    "shard_of_member",
    "shared_secret",
    "tombstone",
    "tries",
    "workflows",
]

REGISTRY: Final = "awf:{registry}:workflows"
REGISTRY_VERSION: Final = "awf:{registry}:version"
REGISTRY_CHANGED: Final = "awf:{registry}:changed"

_SUFFIX: Final = re.compile(r"-([0-9a-f]{2})$")


def parse_shard(name: str) -> int:
    """Read the shard from a run id or publication id, `<uuid>-<shard as 2 hex digits>`."""
    found = _SUFFIX.search(name)
    if found is None:
        raise StoreError(
            f"{name!r} carries no shard; ids are made by agentworkflow.runs.ids "
            "and end in a hyphen and two hex digits"
        )
    return int(found.group(1), 16)


def shard_of_member(member: str) -> int:
    """Read the shard from a due member: its second part is a run id or publication id."""
    parts = member.split("|", 2)
    if len(parts) < 2:  # noqa: PLR2004 - kind and id
        raise StoreError(f"{member!r} is no due member; it must look like kind|id or kind|id|more")
    return parse_shard(parts[1])


def _in_shard(shard: int, rest: str) -> str:
    return f"awf:{{{shard:02x}}}:{rest}"


def head(run: str) -> str:
    """HASH: the head of a run."""
    return _in_shard(parse_shard(run), f"run:{run}")


def log(run: str) -> str:
    """STREAM: everything that happened to a run."""
    return _in_shard(parse_shard(run), f"log:{run}")


def blobs(run: str) -> str:
    """HASH digest → bytes: values of a run that are too big for its log."""
    return _in_shard(parse_shard(run), f"blob:{run}")


def claim(anchor: str) -> str:
    """STRING with a time to live: which session's run an event started."""
    return _in_shard(parse_shard(anchor), f"claim:{anchor}")


def tombstone(run: str) -> str:
    """STRING with a time to live: the id of a purged run."""
    return _in_shard(parse_shard(run), f"tomb:{run}")


def due(shard: int) -> str:
    """ZSET member → ms: calls, timers, publications."""
    return _in_shard(shard, "due")


def tries(shard: int) -> str:
    """HASH due member → how often it was tried again."""
    return _in_shard(shard, "tries")


def grown(shard: int) -> str:
    """Channel: ids of runs whose log has grown."""
    return _in_shard(shard, "grown")


def definition(shard: int, digest: str) -> str:
    """HASH `json`, `runs`: a definition and how many runs of the shard are pinned to it."""
    return _in_shard(shard, f"def:{digest}")


def workflows(shard: int, namespace: str) -> str:
    """SET: workflows of a namespace that have runs in the shard."""
    return _in_shard(shard, f"workflows:{namespace}")


def active(shard: int, namespace: str, workflow: str) -> str:
    """ZSET run → ms created: runs that have not ended."""
    return _in_shard(shard, f"active:{namespace}/{workflow}")


def finished(shard: int, namespace: str, workflow: str) -> str:
    """ZSET run → ms created: runs that have ended and are not purged."""
    return _in_shard(shard, f"finished:{namespace}/{workflow}")


def of_session(shard: int, namespace: str, workflow: str, session_id: str) -> str:
    """ZSET run → ms created: runs of a session."""
    return _in_shard(shard, f"bysession:{namespace}/{workflow}/{session_id}")


def session(shard: int, namespace: str, workflow: str, session_id: str) -> str:
    """HASH `value`, `active`, `n`, `q`: a session's state."""
    return _in_shard(shard, f"session:{namespace}/{workflow}/{session_id}")


def queue(shard: int, namespace: str, workflow: str, session_id: str) -> str:
    """ZSET run → position: runs that wait for their session."""
    return _in_shard(shard, f"queue:{namespace}/{workflow}/{session_id}")


def event(publication: str) -> str:
    """STRING: a user's event that was accepted and is not yet published."""
    return _in_shard(parse_shard(publication), f"event:{publication}")


def shared_secret(name: str) -> str:
    """STRING: a secret of the installation."""
    return f"awf:{{secrets}}:{name}"


def dead_letters(namespace: str) -> str:
    """HASH id → JSON."""
    return f"awf:{{dead:{namespace}}}:letters"


def dead_letter_order(namespace: str) -> str:
    """ZSET id → ms."""
    return f"awf:{{dead:{namespace}}}:order"
