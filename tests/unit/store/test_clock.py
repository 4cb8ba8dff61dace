"""The store's clock follows the server, not this machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentworkflow.store.clock import StoreClock


class Monotonic:
    """A monotonic clock that a test moves; in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def clock(monotonic: Monotonic) -> StoreClock:
    return StoreClock(monotonic)


def test_before_any_answer_there_is_no_time(clock: StoreClock) -> None:
    with pytest.raises(RuntimeError, match="connect the store first"):
        clock.now_ms()


def test_it_starts_from_the_middle_of_the_round_trip_and_runs_on(
    clock: StoreClock, monotonic: Monotonic
) -> None:
    clock.observe(99.990, 100.0, 1_000_000)

    assert clock.now_ms() == 1_000_005
    monotonic.now += 2.5
    assert clock.now_ms() == 1_002_505


def test_a_longer_round_trip_does_not_replace_a_shorter_one(
    clock: StoreClock, monotonic: Monotonic
) -> None:
    clock.observe(99.998, 100.0, 1_000_000)
    # The answer waited for an fsync, so its middle is half a second off.
    clock.observe(100.0, 101.0, 1_000_002)

    monotonic.now = 101.0
    assert clock.now_ms() == 1_001_001


def test_a_sample_that_has_grown_old_is_replaced(clock: StoreClock, monotonic: Monotonic) -> None:
    clock.observe(99.999, 100.0, 1_000_000)
    clock.observe(140.0, 140.2, 1_040_600)

    monotonic.now = 140.2
    assert clock.now_ms() == 1_040_700


def test_it_is_never_behind_what_the_server_has_said(
    clock: StoreClock, monotonic: Monotonic
) -> None:
    clock.observe(99.999, 100.0, 1_000_000)
    clock.observe(100.0, 100.5, 1_000_400)

    monotonic.now = 100.1
    assert clock.now_ms() == 1_000_400


def test_a_small_correction_does_not_turn_it_back(clock: StoreClock, monotonic: Monotonic) -> None:
    clock.observe(99.9, 100.0, 1_000_000)
    shown = clock.now_ms()
    clock.observe(100.0, 100.001, 1_000_000)

    assert clock.now_ms() == shown == 1_000_050


@pytest.mark.parametrize("set_to", [500_000, 9_000_000])
def test_a_server_whose_clock_was_set_is_followed(
    clock: StoreClock, monotonic: Monotonic, set_to: int
) -> None:
    clock.observe(99.999, 100.0, 1_000_000)
    clock.now_ms()
    clock.observe(100.0, 100.1, set_to)

    monotonic.now = 100.1
    assert clock.now_ms() == set_to + 50


@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.floats(0, 0.5), st.floats(0, 1)), min_size=1, max_size=20
    )
)
def test_it_errs_by_less_than_a_round_trip_and_never_goes_back(
    answers: list[tuple[float, float, float]],
) -> None:
    monotonic = Monotonic()
    clock = StoreClock(monotonic)
    shown = 0
    for pause, round_trip, share in answers:
        monotonic.now += pause
        asked = monotonic.now
        monotonic.now += round_trip
        clock.observe(asked, monotonic.now, int((asked + round_trip * share) * 1000))

        now = clock.now_ms()
        assert abs(now - monotonic.now * 1000) <= 0.5 * 500 + 2
        assert now >= shown
        shown = now
