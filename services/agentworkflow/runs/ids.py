"""Names of runs, shards and events.

A run's id comes from what started it, so that the same start twice is the same run. It ends in
its shard, so that whoever holds an id knows where the run is.
"""

import json
import re
import uuid
import zlib
from typing import Final

# The namespace of UUIDv5 for everything that starts a run. It must never change: an id that was
# made by an older release has to come out the same.
_NAMESPACE: Final = uuid.UUID("5a0d6a43-7a3d-5a7e-9c0e-6f6b1c0f9d21")
_RUN_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9a-f]{2}")


def is_run_id(text: str) -> bool:
    """Whether a text has the form of a run id. It says nothing about whether the run exists."""
    return _RUN_ID.fullmatch(text) is not None


def shard_of(run: str) -> int:
    """The shard that is written in a run id."""
    return int(run[-2:], 16)


def run_id_of_request(
    namespace: str, workflow: str, session: str | None, key: str | None, *, shards: int
) -> str:
    """The id of a run that a request starts; random without an `Idempotency-Key`."""
    name = uuid.uuid4() if key is None else _name("api", namespace, workflow, session, key)
    return _with_shard(name, namespace, workflow, session, shards)


def run_id_of_event(
    namespace: str, workflow: str, session: str | None, source: str, event_id: str, *, shards: int
) -> str:
    """The id of the run that an event starts: the same for every delivery of the event."""
    name = _name("event", namespace, workflow, source, event_id)
    return _with_shard(name, namespace, workflow, session, shards)


def shard_of_session(namespace: str, workflow: str, session: str, *, shards: int) -> int:
    """The shard that a session and all its runs live in."""
    return _hash(json.dumps([namespace, workflow, session])) % shards


def event_id(run: str, kind: str, step: str, item: int | None, attempt: int) -> str:
    """The `id` of one of our events about an attempt; stable over redelivery."""
    return f"{idempotency_key(run, step, item)}/{attempt}/{kind}"


def idempotency_key(run: str, step: str, item: int | None) -> str:
    """What a handler may use to make its effect happen once: the same for every attempt."""
    return f"{run}/{step}" if item is None else f"{run}/{step}/{item}"


def _name(*parts: str | None) -> uuid.UUID:
    text = json.dumps(parts, ensure_ascii=False)
    # Half of a surrogate pair, which JSON can write, has no UTF-8: only then is it escaped.
    encodable = text.encode(errors="ignore").decode() == text
    return uuid.uuid5(_NAMESPACE, text if encodable else json.dumps(parts))


def _with_shard(
    name: uuid.UUID, namespace: str, workflow: str, session: str | None, shards: int
) -> str:
    if session is None:
        shard = _hash(str(name)) % shards
    else:
        shard = shard_of_session(namespace, workflow, session, shards=shards)
    return f"{name}-{shard:02x}"


def _hash(text: str) -> int:
    return zlib.crc32(text.encode())
