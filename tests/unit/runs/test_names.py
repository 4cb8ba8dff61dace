"""Names: of runs, shards, events, due members; and what is derived from a run's secret."""

import json
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentworkflow.runs import due
from agentworkflow.runs.due import DueEntry, parse_due
from agentworkflow.runs.ids import (
    event_id,
    idempotency_key,
    is_run_id,
    run_id_of_event,
    run_id_of_request,
    shard_of,
    shard_of_session,
)
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.tokens import is_token_of, jitter_of, token_of

RUN = "5b1f0c1e-2f64-5d7e-9d1c-6a5a3c1b7a10-2a"
NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,26}[a-z0-9])?", fullmatch=True)
SLOTS = st.builds(Slot, NAMES, st.none() | st.integers(0, 9_999))
ANY_TEXT = st.text(st.characters())


# --- ids: these values are in users' stores, so they may never change ------------------------


def test_the_id_of_a_request_comes_from_its_key() -> None:
    found = run_id_of_request("shop", "orders", None, "key-1", shards=64)
    assert found == KNOWN["key"]
    assert run_id_of_request("shop", "orders", None, "key-1", shards=64) == found
    assert found == f"{_uuid5('api', 'shop', 'orders', None, 'key-1')}-{found[-2:]}"


def test_the_key_of_a_request_is_scoped_to_its_session() -> None:
    found = run_id_of_request("shop", "orders", "ada", "key-1", shards=64)
    assert found == KNOWN["key in session"]


def test_the_id_of_an_event_comes_from_source_and_id() -> None:
    found = run_id_of_event("shop", "orders", None, "/tills/é", "7", shards=64)
    assert found == KNOWN["event"]
    in_session = run_id_of_event("shop", "orders", "ada", "/tills/é", "7", shards=64)
    assert in_session[:-2] == found[:-2]


KNOWN = {
    "key": "e6362879-45fa-538f-beae-4c7ea6e6d3e8-32",
    "key in session": "f0d821d7-8f0c-5fc7-858f-fbbdff23d192-35",
    "event": "04cbbb5e-f4dd-5335-8fdd-9555c1d51f61-30",
}


def _uuid5(*parts: str | None) -> uuid.UUID:
    namespace = uuid.UUID("5a0d6a43-7a3d-5a7e-9c0e-6f6b1c0f9d21")
    return uuid.uuid5(namespace, json.dumps(parts, ensure_ascii=False))


def test_without_a_key_the_id_is_random() -> None:
    ids = {run_id_of_request("shop", "orders", None, None, shards=1) for _ in range(50)}
    assert len(ids) == 50


def test_different_starts_have_different_ids() -> None:
    ids = {
        run_id_of_request("shop", "orders", None, "a", shards=1),
        run_id_of_request("shop", "orders", "a", "a", shards=1),
        run_id_of_request("shop", "orders", "", "a", shards=1),
        run_id_of_request("shop", "others", None, "a", shards=1),
        run_id_of_request("bank", "orders", None, "a", shards=1),
        run_id_of_event("shop", "orders", None, "a", "b", shards=1),
        run_id_of_event("shop", "orders", None, "b", "a", shards=1),
        run_id_of_event("shop", "orders", None, '","', "a", shards=1),
    }
    assert len(ids) == 8


@given(ANY_TEXT, ANY_TEXT, st.none() | ANY_TEXT, st.sampled_from([1, 64]))
def test_ids_have_their_form_whatever_they_are_made_from(
    source: str, identifier: str, session: str | None, shards: int
) -> None:
    for found in (
        run_id_of_event("shop", "orders", session, source, identifier, shards=shards),
        run_id_of_request("shop", "orders", session, identifier, shards=shards),
    ):
        assert is_run_id(found)
        assert 0 <= shard_of(found) < shards


@given(ANY_TEXT, st.lists(ANY_TEXT, min_size=2, max_size=5))
def test_runs_of_one_session_share_a_shard(session: str, keys: list[str]) -> None:
    expected = shard_of_session("shop", "orders", session, shards=64)
    for key in keys:
        assert shard_of(run_id_of_request("shop", "orders", session, key, shards=64)) == expected


def test_shards_are_spread() -> None:
    ids = [run_id_of_request("shop", "orders", None, str(n), shards=64) for n in range(2_000)]
    assert len({shard_of(found) for found in ids}) == 64


@pytest.mark.parametrize(
    "text",
    ["", "x", RUN[:-3], RUN + "0", RUN.upper(), RUN + "\n", RUN.replace("-", "_"), "/" + RUN],
)
def test_what_is_no_run_id_is_told(text: str) -> None:
    assert is_run_id(RUN)
    assert not is_run_id(text)


def test_event_ids_and_keys_name_the_attempt() -> None:
    assert idempotency_key("r", "a", None) == "r/a"
    assert idempotency_key("r", "a", 0) == "r/a/0"
    assert event_id("r", "requested", "a", None, 2) == "r/a/2/requested"
    assert event_id("r", "completed", "a", 0, 1) == "r/a/0/1/completed"
    assert (str(Slot("a")), str(Slot("a", 0))) == ("a", "a/0")


# --- due members -----------------------------------------------------------------------------


@given(SLOTS, st.integers(1, 99))
def test_due_members_of_attempts_are_read_back(slot: Slot, attempt: int) -> None:
    call, timer = due.call_of(RUN, slot, attempt), due.attempt_timer_of(RUN, slot, attempt)
    assert parse_due(call) == DueEntry("call", RUN, slot, attempt)
    assert parse_due(timer) == DueEntry("attempt", RUN, slot, attempt)


@pytest.mark.parametrize(
    ("member", "text", "entry"),
    [
        (due.call_of("r", Slot("a"), 1), "call|r|a||1", DueEntry("call", "r", Slot("a"), 1)),
        (due.call_of("r", Slot("a", 0), 1), "call|r|a|0|1", DueEntry("call", "r", Slot("a", 0), 1)),
        (
            due.attempt_timer_of("r", Slot("a", 2), 3),
            "timer|r|attempt|a|2|3",
            DueEntry("attempt", "r", Slot("a", 2), 3),
        ),
        (due.deadline_timer_of("r"), "timer|r|deadline", DueEntry("deadline", "r")),
        (due.wait_timer_of("r", "w"), "timer|r|wait|w", DueEntry("wait", "r", Slot("w"))),
        (due.start_of("r"), "start|r", DueEntry("start", "r")),
        (due.publication_of("r", 7), "pub|r|7", DueEntry("pub", "r", number=7)),
        (due.webhook_of("r"), "hook|r", DueEntry("hook", "r")),
        ("purge|r", "purge|r", DueEntry("purge", "r")),  # made by commit.lua
        (due.user_event_of("p"), "event|p", DueEntry("event", "p")),
    ],
)
def test_due_members_have_the_names_that_the_store_knows(
    member: str, text: str, entry: DueEntry
) -> None:
    assert member == text
    assert parse_due(text) == entry


@pytest.mark.parametrize(
    "member",
    ["", "call", "call|r", "call|r|a|1", "call|r|a||x", "timer|r", "timer|r|nap", "pub|r", "x|r"],
)
def test_a_due_member_that_is_none_of_ours_is_refused(member: str) -> None:
    with pytest.raises(ValueError, match=r"due member|not enough values|invalid literal"):
        parse_due(member)


# --- tokens ----------------------------------------------------------------------------------


def test_a_token_is_known_by_its_attempt_only() -> None:
    token = token_of("secret", "a", 0, 1)
    assert is_token_of(token, "secret", "a", 0, 1)
    for other in [
        ("other", "a", 0, 1),
        ("secret", "b", 0, 1),
        ("secret", "a", 1, 1),
        ("secret", "a", None, 1),
        ("secret", "a", 0, 2),
    ]:
        assert not is_token_of(token, *other)
    for forged in ("", token[:-1], token + "A", token.swapcase(), "é", "\ud800"):
        assert not is_token_of(forged, "secret", "a", 0, 1)


def test_tokens_and_jitter_are_stable() -> None:
    assert token_of("secret", "a", None, 1) == KNOWN_TOKEN
    assert jitter_of("secret", "a", None, 1) == pytest.approx(KNOWN_JITTER)


KNOWN_TOKEN = "jf5obW20gtQc5b5XP_NUwnmc"
KNOWN_JITTER = 0.8433752911896928


@given(st.text(), SLOTS, st.integers(1, 99))
def test_a_token_has_24_characters_for_headers_and_jitter_is_below_one(
    secret: str, slot: Slot, attempt: int
) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{24}", token_of(secret, slot.step, slot.item, attempt))
    assert 0 <= jitter_of(secret, slot.step, slot.item, attempt) < 1


def test_jitter_is_spread() -> None:
    found = sorted(jitter_of("secret", "a", None, n) for n in range(1_000))
    assert found[100] < 0.2
    assert 0.4 < found[500] < 0.6
    assert found[900] > 0.8
