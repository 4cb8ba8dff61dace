"""Turns a Start or Commit into the flat KEYS and ARGV of its script.

Flat, because decoding JSON in Lua holds up everyone who shares the server.
"""

import json
from collections.abc import Mapping
from typing import Final

from agentworkflow.store import names
from agentworkflow.store.connection import Argument
from agentworkflow.store.errors import StoreError
from agentworkflow.store.records import Commit, Finish, Opening, Start

__all__ = ["OWN_FIELDS", "commit_arguments", "commit_keys", "start_arguments", "start_keys"]

OWN_FIELDS: Final = frozenset({"v", "p", "c", "meta", "secret", "rh", "done"})
"""Head fields that belong to the store: version, progress count, call id, …."""


def start_keys(start: Start) -> list[str]:
    """Every key that creating this run touches, in the order of `start.lua`."""
    shard = names.parse_shard(start.run)
    namespace, workflow, session = start.namespace, start.workflow, start.session
    keys = [
        names.head(start.run),
        names.log(start.run),
        names.due(shard),
        names.blobs(start.run),
        names.tombstone(start.run),
        names.definition(shard, start.digest),
        names.active(shard, namespace, workflow),
        names.workflows(shard, namespace),
    ]
    if session is not None:
        keys += [
            names.session(shard, namespace, workflow, session),
            names.queue(shard, namespace, workflow, session),
            names.of_session(shard, namespace, workflow, session),
        ]
    return keys


def start_arguments(start: Start, definition: str) -> list[Argument]:
    """The ARGV of `start.lua`; `definition` is empty where the shard should have it."""
    meta = {
        "namespace": start.namespace,
        "workflow": start.workflow,
        "session": start.session,
        "digest": start.digest,
        "named": start.named,
        "created": start.created_ms,
    }
    openings = [Opening(start.events, start.fields, start.due)]
    if start.queued is not None:
        openings.append(start.queued)
    blobs = _flat(start.blobs)
    arguments: list[Argument] = [
        start.run,
        start.call_id,
        start.request_hash or "",
        json.dumps(meta, ensure_ascii=False),
        start.secret,
        start.created_ms,
        start.workflow,
        definition,
        "" if start.session_version is None else start.session_version,
        names.grown(names.parse_shard(start.run)),
        len(openings),
        len(blobs),
        *blobs,
    ]
    for opening in openings:
        fields, due = _fields(start.run, opening.fields), _scores(opening.due)
        arguments += [len(opening.events), len(fields), len(due), *opening.events, *fields, *due]
    return arguments


def commit_keys(commit: Commit) -> list[str]:
    """Every key that this commit touches, in the order of `commit.lua`."""
    run, shard = commit.run, names.parse_shard(commit.run)
    keys = [
        names.head(run),
        names.log(run),
        names.due(shard),
        names.tries(shard),
        names.blobs(run),
    ]
    end = commit.finished
    if end is not None:
        keys.append(names.active(shard, end.namespace, end.workflow))
        keys.append(names.finished(shard, end.namespace, end.workflow))
        if end.session is not None:
            keys.append(names.session(shard, end.namespace, end.workflow, end.session))
            keys.append(names.queue(shard, end.namespace, end.workflow, end.session))
    return keys


def commit_arguments(commit: Commit) -> list[Argument]:
    """The ARGV of `commit.lua`."""
    fields = _fields(commit.run, commit.fields)
    due, blobs = _scores(commit.due), _flat(commit.blobs)
    return [
        commit.run,
        commit.expected,
        commit.call_id,
        names.grown(names.parse_shard(commit.run)),
        len(commit.events),
        len(fields),
        len(commit.drop_fields),
        len(due),
        len(commit.undue),
        len(blobs),
        *_ending(commit.finished),
        *commit.events,
        *fields,
        *commit.drop_fields,
        *due,
        *commit.undue,
        *blobs,
    ]


def _ending(end: Finish | None) -> list[Argument]:
    if end is None:
        return ["0", 0, 0, "0", "", 0, 0]
    return [
        "1",
        end.at_ms,
        end.purge_at_ms,
        "0" if end.session_value is None else "1",
        end.session_value or "",
        end.session_ttl_ms,
        end.start_lease_ms,
    ]


def _fields(run: str, fields: Mapping[str, str]) -> list[Argument]:
    taken = OWN_FIELDS.intersection(fields)
    if taken:
        raise StoreError(
            f"the head of {run} cannot have a field {min(taken)!r}: "
            "that name belongs to the store; choose another"
        )
    return _flat(fields)


def _flat(mapping: Mapping[str, str] | Mapping[str, bytes]) -> list[Argument]:
    return [part for pair in mapping.items() for part in pair]


def _scores(due: Mapping[str, int]) -> list[Argument]:
    return [part for member, score in due.items() for part in (score, member)]
