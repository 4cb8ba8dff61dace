"""Events and heads are written and read back without loss, and hold no secret."""

import json
from dataclasses import fields, replace
from functools import cache
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runs.world import RUN, SECRET, Step, World, build_definition

from agentworkflow.runs import events
from agentworkflow.runs.events import (
    VALUE_FIELDS,
    Event,
    RunFinished,
    RunRequested,
    SignalReceived,
    StepCompleted,
    StepFailed,
    WaitElapsed,
    decode_event,
    encode_event,
    stow_event,
)
from agentworkflow.runs.head import digest_of_head, unsaved_fields
from agentworkflow.runs.model import Attempts, Failure, Items, Run, RunState, StepState
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.values import (
    INLINE_LIMIT,
    Blob,
    EventData,
    Inline,
    OutputOf,
    Value,
    decode_value,
    digest_of,
    dump,
    encode_value,
    stow,
)

KINDS = sorted(
    (kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)),
    key=lambda kind: kind.__name__,
)
KINDS.remove(Event)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
VALUES = st.one_of(
    JSON.map(Inline),
    st.builds(Blob, digest=st.text(), size=st.integers(0)),
    st.builds(OutputOf, step=st.text()),
    st.just(EventData()),
)
PROBLEMS = st.dictionaries(st.text(), JSON, max_size=3)
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "problem": PROBLEMS,
    "steps": st.lists(PROBLEMS, max_size=2).map(tuple),
    "cause": st.dictionaries(st.text(), st.text(), max_size=3),
}


BY_TYPE: tuple[tuple[Any, st.SearchStrategy[Any]], ...] = (
    (int, st.integers(0, 10**15)),
    (bool, st.booleans()),
    (str, st.text()),
    (Value, VALUES),
)


def strategy_of(name: str, kind: Any) -> st.SearchStrategy[Any]:
    found = next((s for of, s in BY_TYPE if kind in (of, of | None)), st.nothing())
    found = BY_NAME.get(name, found)
    return st.none() | found if type(None) in get_args(kind) else found


def any_event() -> st.SearchStrategy[Event]:
    built = [
        st.builds(kind, **{f.name: strategy_of(f.name, f.type) for f in fields(kind)})
        for kind in KINDS
    ]
    return st.one_of(built)


@given(any_event())
def test_every_event_is_read_back_as_it_was_written(event: Event) -> None:
    text = encode_event(event)
    assert decode_event(text) == event
    assert "\n" not in text
    text.encode()


def test_every_kind_of_event_has_a_type_of_its_own() -> None:
    assert len(KINDS) == 14
    assert len({kind.type for kind in KINDS}) == 14


def test_what_the_fold_does_not_know_is_skipped() -> None:
    assert decode_event('{"type":"step.progressed","time":1,"step":"a","fraction":0.5}') is None


def test_none_is_left_out_and_null_is_kept() -> None:
    absent = RunFinished(time=1, state="Failed")
    null = RunFinished(time=1, state="Succeeded", output=Inline(None))
    assert json.loads(encode_event(absent)) == {
        "type": "run.finished",
        "time": 1,
        "state": "Failed",
    }
    assert json.loads(encode_event(null))["output"] == {"v": None}
    assert decode_event(encode_event(null)) == null


@given(VALUES)
def test_values_are_read_back(value: Value) -> None:
    assert decode_value(json.loads(dump(encode_value(value)))) == value


@given(JSON)
def test_a_dump_is_one_line_of_json_that_can_be_encoded(value: Any) -> None:
    text = dump(value)
    assert json.loads(text) == value
    assert "\n" not in text


def test_half_of_a_surrogate_pair_is_kept() -> None:
    text = dump({"a": "é\ud800"})
    assert json.loads(text.encode()) == {"a": "é\ud800"}


@pytest.mark.parametrize(("size", "beside"), [(INLINE_LIMIT - 2, False), (INLINE_LIMIT - 1, True)])
def test_a_value_is_kept_beside_the_log_above_256_kib_of_json(size: int, beside: bool) -> None:
    text = "x" * size  # its JSON has two quotes more
    value, blobs = stow(text)
    if not beside:
        assert (value, blobs) == (Inline(text), {})
        return
    body = dump(text).encode()
    assert value == Blob(digest_of(body), len(body))
    assert blobs == {digest_of(body): body}


def test_a_digest_is_the_sha_256_of_the_bytes() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest_of(b"") == f"sha256:{empty}"


def test_only_large_values_of_an_event_are_stowed() -> None:
    large, small = Inline(["x" * 300_000]), Inline(1)
    requested = RunRequested(time=1, digest="d", input=small, event=large)
    kept, blobs = stow_event(requested)
    assert isinstance(kept, RunRequested)
    assert (kept.input, type(kept.event), len(blobs)) == (small, Blob, 1)

    plain = SignalReceived(time=1, name="go", output=small)
    assert stow_event(plain) == (plain, {})


def test_the_fields_that_hold_values_are_listed() -> None:
    holders = {
        field.name for kind in KINDS for field in fields(kind) if "Value" in _named(field.type)
    }
    assert holders == set(VALUE_FIELDS)


def _named(kind: object) -> str:
    return "Value" if kind in (Value, Value | None) else ""


def rich_world() -> World:
    """A run that uses every field of its head."""
    steps: list[Step] = [
        {"name": "a", "function": "f"},
        {"name": "each", "function": "f", "forEach": "${[1, 2]}", "onFailure": "Continue"},
        {"name": "w", "waitFor": {"signal": "go", "timeout": "1h"}},
    ]
    world = World(
        build_definition(steps, deadline="1h", session={"update": "${1}"}),
        session="ada",
        webhook="https://shop.example/hook?key=1",
    )
    world.fail("a", "Retry", retry_after=5)
    world.complete("each", "x", 0, start_type="warm")
    world.signal("other")
    return world


@cache
def shared_world() -> World:
    """For tests that change nothing."""
    return rich_world()


def test_a_head_gives_its_run_back_after_every_event() -> None:
    world = rich_world()  # the world compares them after each event
    assert digest_of_head(world.head) == world.definition.digest
    world.restart()
    world.fail("each", "Failure", 1)
    world.signal("go", 1)
    world.complete("a", 1)
    assert world.state == "Succeeded"


def test_the_head_has_what_the_store_reads_of_it() -> None:
    world = rich_world()
    assert json.loads(world.head["run"])["st"] == "R"
    # A script compares the attempt of a slot before it takes progress.
    assert json.loads(world.head["s:a"])["n"] == 2
    assert json.loads(world.head["i:each:1"]) == {"st": "R", "n": 1} | {
        key: json.loads(world.head["i:each:1"])[key] for key in ("dl", "at")
    }
    world.cancel()
    assert json.loads(world.head["run"])["st"] == "C"


def test_every_state_has_a_letter() -> None:
    world = rich_world()
    for state in RunState:
        run = replace(world.run, state=state, live=type(world.run.live)(), waiting=0)
        read = world.of_head(world.head | unsaved_fields(marked(run)))
        assert read.state is state
    for step in StepState:
        known = Attempts(state=step)
        run = replace(world.run, steps=world.run.steps.insert("a", known))
        read = world.of_head(world.head | unsaved_fields(marked(run)))
        assert read.attempts(Slot("a")) == known


def marked(run: Run) -> Run:
    """The run with its own field and that of step a to be written."""
    unsaved = replace(run.unsaved, fields=run.unsaved.fields.insert("run").insert("s:a"))
    return replace(run, unsaved=unsaved)


@given(
    st.builds(
        Attempts,
        state=st.sampled_from(StepState),
        open_needs=st.integers(0, 20),
        attempt=st.integers(0, 9),
        reason=st.none() | st.text(),
        output=st.none() | st.integers(1),
        error=st.none() | st.integers(1),
        deadline=st.none() | st.integers(0),
        started=st.none() | st.integers(0),
        ended=st.none() | st.integers(0),
        start_type=st.none() | st.text(),
        retry_after=st.none() | st.integers(0),
        items=st.none()
        | st.builds(Items, *[st.integers(0, 99)] * 6).filter(lambda items: items.entry > 0),
    )
)
def test_what_is_known_of_a_step_is_read_back(known: Attempts) -> None:
    world = shared_world()
    run = marked(replace(world.run, steps=world.run.steps.insert("a", known)))
    assert world.of_head(world.head | unsaved_fields(run)).attempts(Slot("a")) == known


@pytest.mark.parametrize("item", [None, 3])
def test_a_failure_is_read_back(item: int | None) -> None:
    failure = Failure(Slot("each", item), "Crash", {"title": "é"})
    run = marked(
        replace(shared_world().run, failure=failure, cancel="WorkflowDeleted", expired=True)
    )
    read = shared_world().of_head(shared_world().head | unsaved_fields(run))
    assert (read.failure, read.cancel, read.expired) == (failure, "WorkflowDeleted", True)


def test_no_secret_and_no_token_is_in_the_log_the_head_the_due_set_or_a_print() -> None:
    from agentworkflow.runs.tokens import token_of  # noqa: PLC0415 - only here

    world = rich_world()
    secrets = [SECRET]
    secrets += [token_of(SECRET, "a", None, n) for n in (1, 2)]
    secrets += [token_of(SECRET, "each", item, 1) for item in (0, 1)]
    written = "".join([*world.log, *world.head.values(), *world.head, *world.due, repr(world.run)])
    assert RUN in written
    assert [secret for secret in secrets if secret in written] == []


def test_values_of_waits_and_answers_are_named_output() -> None:
    for kind in (StepCompleted, WaitElapsed, SignalReceived):
        assert "output" in {field.name for field in fields(kind)}
    assert "output" not in {field.name for field in fields(StepFailed)}
