import pickle
from datetime import timedelta

import pytest

from agentworkflow import Context, Failure, Retry, function
from agentworkflow.functions.author import FunctionOptions, name_of, options_of


def test_a_decorated_function_is_the_same_function() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    assert function(add) is add
    assert function(name="sum", isolation="Thread")(add) is add
    assert add(1, 2) == 3
    assert options_of(add) == FunctionOptions(name="sum", isolation="Thread")


def test_a_plain_callable_has_the_default_options() -> None:
    assert options_of(len) == FunctionOptions()


def test_the_name_comes_from_the_callable_or_is_chosen() -> None:
    def analyze_data() -> None: ...

    class Planner:
        def __call__(self) -> None: ...

    assert name_of(analyze_data) == "analyze-data"
    assert name_of(function(name="other")(analyze_data)) == "other"
    assert name_of(Planner()) == "planner"


@pytest.mark.parametrize("name", ["Upper", "a--b", "-a", "a-", "", "x" * 29, "a_b"])
def test_a_name_that_is_no_dns_label_is_refused_with_a_hint(name: str) -> None:
    with pytest.raises(ValueError, match=r"choose one with @function\(name=…\)"):
        function(name=name)


def test_an_unknown_isolation_is_refused() -> None:
    with pytest.raises(ValueError, match="use 'Process' or 'Thread'"):
        function(isolation="Coroutine")  # type: ignore[call-overload]


def test_what_cannot_be_called_is_no_function() -> None:
    with pytest.raises(TypeError, match="can be called"):
        function(5)  # type: ignore[call-overload]


def test_retry_takes_seconds_or_a_timedelta() -> None:
    assert Retry().after is None
    assert Retry(after=3).after == 3.0
    assert Retry("later", after=timedelta(minutes=1)).after == 60.0


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf")])
def test_retry_in_the_past_or_never_is_refused(after: float) -> None:
    with pytest.raises(ValueError, match="seconds from now"):
        Retry(after=after)


def test_failure_and_retry_survive_pickling_as_process_pools_need() -> None:
    failure = pickle.loads(pickle.dumps(Failure("urn:x", "Title", "detail")))
    assert (failure.type, failure.title, failure.detail) == ("urn:x", "Title", "detail")
    retry = pickle.loads(pickle.dumps(Retry("later", after=2)))
    assert (retry.detail, retry.after) == ("later", 2.0)


def test_a_context_can_be_made_in_a_test_and_collects_progress() -> None:
    heard: list[tuple[float, str]] = []
    context = Context(report=lambda fraction, message: heard.append((fraction, message)))
    context.progress(0.5, "half")
    context.progress(1)
    assert heard == [(0.5, "half"), (1.0, "")]
    assert context.remaining() is None


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), True])
def test_progress_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Context().progress(fraction)
