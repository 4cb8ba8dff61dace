"""When an attempt gets a successor, and how late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runs.world import RUN, SECRET, START, Step, World, build_definition

from agentworkflow.runs.due import attempt_timer_of, call_of
from agentworkflow.runs.retries import MAX_ASKED_MS, MAX_DELAY_MS, retry_delay
from agentworkflow.runs.slots import Slot
from agentworkflow.runs.tokens import jitter_of
from agentworkflow.workflow.plan import RetryPolicy

A: list[Step] = [{"name": "a", "function": "f"}]


def world_of(**retry: object) -> World:
    return World(build_definition(A, functions={"f": {"retry": retry}} if retry else None))


@pytest.mark.parametrize("reason", ["Retry", "DeadlineExceeded", "Crash", "OutOfMemory"])
def test_by_default_these_reasons_get_three_more_attempts(reason: str) -> None:
    world = world_of()
    for attempt in range(1, 4):
        world.fail("a", reason)
        assert world.run.attempts(Slot("a")).attempt == attempt + 1
        assert world.state == "Running"

    world.fail("a", reason)

    assert (world.state, world.reason, world.run.requested) == ("Failed", "StepFailed", 4)
    assert world.step("a")["attempts"] == 4


@pytest.mark.parametrize("reason", ["Failure", "InvalidInput", "ExpressionFailed", "Whatever"])
def test_by_default_no_other_reason_is_retried(reason: str) -> None:
    world = world_of()
    world.fail("a", reason)
    assert (world.state, world.run.requested) == ("Failed", 1)


def test_failure_is_retried_where_it_is_listed() -> None:
    world = world_of(on=["Failure"], limit=1)
    world.fail("a", "Failure")
    assert world.state == "Running"
    world.fail("a", "Failure")
    assert world.state == "Failed"


def test_what_is_not_listed_is_not_retried() -> None:
    world = world_of(on=["Retry"])
    world.fail("a", "Crash")
    assert world.state == "Failed"


def test_limit_zero_means_one_attempt() -> None:
    world = world_of(limit=0)
    world.fail("a", "Crash")
    assert (world.state, world.run.requested) == ("Failed", 1)


def test_a_later_attempt_may_succeed_and_no_error_is_left() -> None:
    world = world_of()
    world.fail("a", "Crash")
    world.complete("a", 1)

    assert world.output == {"a": 1}
    step = world.step("a")
    assert (step["attempts"], step["reason"], step["problem"]) == (2, None, None)


def test_a_linear_delay_grows_with_the_attempt() -> None:
    world = world_of(backoff="Linear", delay="2s")
    for attempt in (1, 2, 3):
        world.fail("a", "Crash")
        assert world.due[call_of(RUN, Slot("a"), attempt + 1)] == START + 2000 * attempt


def test_an_exponential_delay_doubles_with_full_jitter_from_the_runs_secret() -> None:
    world = world_of(backoff="Exponential", delay="10s")
    for attempt in (1, 2, 3):
        world.fail("a", "Crash")
        jitter = jitter_of(SECRET, "a", None, attempt)
        expected = round(10_000 * 2 ** (attempt - 1) * jitter)
        assert world.due[call_of(RUN, Slot("a"), attempt + 1)] == START + expected


def test_a_retry_asks_for_its_own_delay() -> None:
    world = world_of(backoff="Linear", delay="2s")
    world.fail("a", "Retry", retry_after=120_000)
    assert world.due[call_of(RUN, Slot("a"), 2)] == START + 120_000

    world.fail("a", "Retry")
    assert world.due[call_of(RUN, Slot("a"), 3)] == START + 4000


def test_the_timer_of_an_attempt_runs_from_its_due_time() -> None:
    functions = {"f": {"timeout": "7s", "startTimeout": "3s", "retry": {"delay": "1s"}}}
    world = World(build_definition(A, functions=functions))
    assert world.due[attempt_timer_of(RUN, Slot("a"), 1)] == START + 10_000

    world.fail("a", "Retry", retry_after=5_000)

    assert world.due[attempt_timer_of(RUN, Slot("a"), 2)] == START + 15_000


def test_silence_ends_an_attempt_with_deadline_exceeded() -> None:
    functions = {"f": {"retry": {"limit": 0}}}
    world = World(build_definition(A, functions=functions))

    world.fire(attempt_timer_of(RUN, Slot("a"), 1))

    assert (world.state, world.reason) == ("Failed", "StepFailed")
    assert world.problem["reason"] == "DeadlineExceeded"
    assert world.now == START + 360_000


def test_the_answer_of_an_attempt_that_was_given_up_is_ignored() -> None:
    world = world_of()
    answer = world.completed("a", "late")
    world.fire(attempt_timer_of(RUN, Slot("a"), 1))

    assert world.give(answer) == [False]
    assert world.calls == ["a"]


@given(
    attempt=st.integers(1, 100),
    jitter=st.floats(0, 1, exclude_max=True),
    delay=st.integers(1, 10**7),
)
def test_an_exponential_delay_never_passes_its_cap(attempt: int, jitter: float, delay: int) -> None:
    policy = RetryPolicy(delay_ms=delay)
    found = retry_delay(policy, attempt, jitter, None)
    assert 0 <= found <= min(MAX_DELAY_MS, delay * 2 ** (attempt - 1))
    assert retry_delay(policy, attempt, 0.0, None) == 0


def test_the_cap_is_five_minutes_of_exponential_delays_only() -> None:
    just_below_one = 1 - 2**-53
    assert retry_delay(RetryPolicy(), 1_000, just_below_one, None) == 300_000
    assert retry_delay(RetryPolicy(backoff="Linear", delay_ms=60_000), 9, 0.5, None) == 540_000


@pytest.mark.parametrize(("asked", "delay"), [(0, 0), (-5, 0), (7, 7), (10**300, MAX_ASKED_MS)])
def test_what_a_handler_asks_for_stays_a_time(asked: int, delay: int) -> None:
    assert retry_delay(RetryPolicy(), 1, 0.5, asked) == delay
