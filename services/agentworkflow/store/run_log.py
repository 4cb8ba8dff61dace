"""Runs in Redis: create, commit, read, purge.

Here frozen records become the flat arguments of the scripts, and their replies become records.
"""

import json
from collections.abc import Iterable

from agentworkflow.runs.ids import shard_of_session
from agentworkflow.store import names
from agentworkflow.store.connection import Connection, optional_text, text
from agentworkflow.store.errors import StoreError
from agentworkflow.store.records import (
    Commit,
    CommitResult,
    Committed,
    Conflict,
    Created,
    Existing,
    Gone,
    Guard,
    Head,
    SessionBusy,
    SessionChanged,
    SessionState,
    Start,
    StartResult,
    Tombstoned,
)
from agentworkflow.store.run_arguments import (
    OWN_FIELDS,
    commit_arguments,
    commit_keys,
    start_arguments,
    start_keys,
)

__all__ = ["RunLog"]


class RunLog:
    """The runs of a store.  Part of `Store`."""

    def __init__(self, connection: Connection, *, shards: int, tombstone_ms: int) -> None:
        self._connection = connection
        self._shards = shards
        self._tombstone_ms = tombstone_ms
        self._defined: set[tuple[int, str]] = set()

    async def start(self, start: Start) -> StartResult:
        """Create a run, unless its id is taken.  Safe to repeat with the same `Start`."""
        shard = names.parse_shard(start.run)
        known = (shard, start.digest)
        definition = "" if known in self._defined else start.definition
        keys, arguments = start_keys(start), start_arguments(start, definition)
        reply = await self._connection.script("start", keys, arguments)
        if reply[0] == b"definition":
            # The last run of the shard that was pinned to it has been purged since.
            arguments = start_arguments(start, start.definition)
            reply = await self._connection.script("start", keys, arguments)
        match reply:
            case [b"created", version]:
                self._defined.add(known)
                return Created(start.run, version)
            case [b"busy", version]:
                self._defined.add(known)
                return SessionBusy(start.run, version)
            case [b"existing", same]:
                return Existing(start.run, same_request=bool(same))
            case [b"tombstone"]:
                return Tombstoned(start.run)
            case [b"changed", value, version, active]:
                return SessionChanged(
                    SessionState(optional_text(value), version, optional_text(active))
                )
        raise StoreError(f"start of {start.run} got a reply that it does not know: {reply!r}")

    async def claim_event(self, anchor: str, claim: str) -> str:
        """Say what an event starts, unless that was said before; returns what holds.

        Args:
            anchor: The id that a run of the event has without a session.
            claim: What the event starts, for whoever asks after us.
        """
        key = names.claim(anchor)
        await self._connection.command("SET", key, claim, "NX", "PX", self._tombstone_ms)
        found = optional_text(await self._connection.command("GET", key))
        return claim if found is None else found

    async def commit(self, commit: Commit) -> CommitResult:
        """Append to a run if it is still at `expected`.  Safe to repeat with the same `Commit`.

        A Conflict whose version is *below* `expected` means that the server lost commits (a
        fail-over without fsync): drop what you have cached and load the run again.
        """
        reply = await self._connection.script(
            "commit", commit_keys(commit), commit_arguments(commit)
        )
        match reply:
            case [b"committed", version, next_run]:
                return Committed(version, optional_text(next_run))
            case [b"conflict", version, since]:
                events = [text(entry) for entry in since]
                missing = range(commit.expected + 1 + len(events), version + 1)
                if missing:
                    entries = await self.read_entries(commit.run, missing)
                    events.extend(entries[number] for number in missing if number in entries)
                return Conflict(version, tuple(events))
            case [b"gone"]:
                return Gone(commit.run)
        raise StoreError(f"commit to {commit.run} got a reply that it does not know: {reply!r}")

    async def append_progress(self, run: str, guard: Guard, entry: str) -> bool:
        """Append an entry that no fold reads; False if the attempt is no longer running."""
        (appended,) = await self._connection.script(
            "progress",
            [names.head(run), names.log(run)],
            [
                run,
                guard.field,
                guard.attempt,
                guard.state or "",
                entry,
                names.grown(names.parse_shard(run)),
            ],
            repeat=False,
        )
        return bool(appended)

    async def load(self, run: str) -> Head | None:
        """Read a run's head, or None if there is no such run."""
        found: dict[bytes, bytes] = await self._connection.command("HGETALL", names.head(run))
        if not found:
            return None
        head = {text(name): text(value) for name, value in found.items()}
        meta = json.loads(head["meta"])
        return Head(
            run=run,
            version=int(head["v"]),
            fields={name: value for name, value in head.items() if name not in OWN_FIELDS},
            secret=head["secret"],
            namespace=meta["namespace"],
            workflow=meta["workflow"],
            digest=meta["digest"],
            session=meta["session"],
            created_ms=meta["created"],
            finished_ms=int(head["done"]) if "done" in head else None,
        )

    async def version(self, run: str) -> int | None:
        """Read only a run's version: whether a cached run is still current."""
        found = await self._connection.command("HGET", names.head(run), "v")
        return None if found is None else int(found)

    async def read_log(
        self, run: str, after: str = "0-0", limit: int = 1000
    ) -> list[tuple[str, str]]:
        """Read entries after a stream id, oldest first: `(stream id, JSON text)`."""
        entries = await self._connection.command(
            "XRANGE", names.log(run), f"({after}", "+", "COUNT", limit
        )
        return [(text(stream_id), text(fields[b"e"])) for stream_id, fields in entries]

    async def read_entries(self, run: str, numbers: Iterable[int]) -> dict[int, str]:
        """Read entries of the fold by their numbers; a number that is not there is left out."""
        wanted = list(numbers)
        log = names.log(run)
        found = await self._connection.many(
            [("XRANGE", log, f"{number}-0", f"{number}-0") for number in wanted]
        )
        return {
            number: text(entries[0][1][b"e"])
            for number, entries in zip(wanted, found, strict=True)
            if entries
        }

    async def put_blob(self, run: str, digest: str, value: bytes) -> bool:
        """Keep a big value of a run for as long as the run; False if the run is gone."""
        (kept,) = await self._connection.script(
            "put_blob", [names.head(run), names.blobs(run)], [digest, value]
        )
        return bool(kept)

    async def get_blob(self, run: str, digest: str) -> bytes | None:
        """Read a big value of a run."""
        found: bytes | None = await self._connection.command("HGET", names.blobs(run), digest)
        return found

    async def get_definition(self, shard: int, digest: str) -> str | None:
        """Read a definition that a run of the shard is pinned to, as JSON text."""
        return optional_text(
            await self._connection.command("HGET", names.definition(shard, digest), "json")
        )

    async def read_session(self, namespace: str, workflow: str, session: str) -> SessionState:
        """Read a session's value, version and active run."""
        shard = shard_of_session(namespace, workflow, session, shards=self._shards)
        value, version, active = await self._connection.command(
            "HMGET", names.session(shard, namespace, workflow, session), "value", "n", "active"
        )
        return SessionState(optional_text(value), int(version or 0), optional_text(active))

    async def purge(self, run: str) -> bool:
        """Remove a run that has ended, with its log, blobs and index entries.

        Returns:
            False if the run has not ended; then nothing is removed.  True if it is gone.
        """
        shard = names.parse_shard(run)
        meta_json = await self._connection.command("HGET", names.head(run), "meta")
        if meta_json is None:
            await self._connection.script(
                "ack", [names.due(shard), names.tries(shard)], [f"purge|{run}"]
            )
            return True
        meta = json.loads(meta_json)
        namespace, workflow, session = meta["namespace"], meta["workflow"], meta["session"]
        keys = [
            names.head(run),
            names.log(run),
            names.due(shard),
            names.tries(shard),
            names.blobs(run),
            names.tombstone(run),
            names.definition(shard, meta["digest"]),
            names.active(shard, namespace, workflow),
            names.finished(shard, namespace, workflow),
            names.workflows(shard, namespace),
        ]
        if session is not None:
            keys.append(names.of_session(shard, namespace, workflow, session))
        tombstone_ms = self._tombstone_ms if meta["named"] else 0
        (outcome,) = await self._connection.script("purge", keys, [run, tombstone_ms, workflow])
        return bool(outcome != b"active")
