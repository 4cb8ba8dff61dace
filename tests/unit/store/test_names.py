"""Names in Redis: which slot a key lives in is decided by its name alone."""

import pytest

from agentworkflow.store import StoreError, names

RUN = "5b1f3a52-0000-4000-8000-000000000000-2a"


def test_a_run_carries_its_shard() -> None:
    assert names.parse_shard(RUN) == 0x2A


@pytest.mark.parametrize(
    "member",
    [
        f"call|{RUN}|analyze|3|1",
        f"timer|{RUN}|attempt|analyze||1",
        f"timer|{RUN}|deadline",
        f"start|{RUN}",
        f"pub|{RUN}|7",
        f"hook|{RUN}",
        f"purge|{RUN}",
        f"event|{RUN}",
    ],
)
def test_every_due_member_carries_its_shard(member: str) -> None:
    assert names.shard_of_member(member) == 0x2A


def test_an_id_without_a_shard_is_refused() -> None:
    with pytest.raises(StoreError, match="'x' carries no shard; ids are made by"):
        names.parse_shard("x")


def test_a_member_without_an_id_is_refused() -> None:
    with pytest.raises(StoreError, match=r"'call' is no due member; it must look like kind\|id"):
        names.shard_of_member("call")


def test_all_keys_of_a_run_its_session_and_its_shard_have_one_tag() -> None:
    of_run = [names.head, names.log, names.blobs, names.tombstone, names.event]
    keys = [name(RUN) for name in of_run]
    keys += [names.due(42), names.tries(42), names.grown(42), names.definition(42, "d")]
    keys += [names.workflows(42, "ns"), names.active(42, "ns", "w"), names.finished(42, "ns", "w")]
    for of_session in (names.session, names.queue, names.of_session):
        # A session's id is the user's: braces in it must not become the tag.
        keys.append(of_session(42, "ns", "w", "{evil}"))

    assert {key[: key.index("}") + 1] for key in keys} == {"awf:{2a}"}
    assert len(set(keys)) == len(keys)
