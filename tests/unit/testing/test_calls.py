"""A single function under test: input, event, context in; result, failure and progress out."""

import asyncio
from dataclasses import dataclass
from datetime import date

import pytest

from agentworkflow import Context, Event, Failure, Retry, function
from agentworkflow.testing import CallFailedError, Crash, Progress, call


@dataclass
class Line:
    article: str
    quantity: int


def test_input_is_converted_by_the_annotations() -> None:
    def first_day(day: date, line: Line) -> list[object]:
        return [day.day, line.quantity + 1]

    result = call(first_day, input={"day": "2026-11-20", "line": {"article": "tea", "quantity": 2}})

    assert result.succeeded
    assert result.output == [20, 3]


def test_a_dataclass_may_be_given_as_input() -> None:
    def count(line: Line) -> int:
        return line.quantity

    assert call(count, input={"line": Line("tea", 2)}).output == 2


def test_a_result_is_what_the_next_step_sees() -> None:
    @function
    def order() -> Line:
        return Line("tea", 2)

    assert call(order).output == {"article": "tea", "quantity": 2}


def test_input_that_the_handler_does_not_take_is_refused() -> None:
    def count(quantity: int) -> int:
        return quantity

    result = call(count, input={"quantity": "many", "what": 1})

    assert result.reason == "InvalidInput"
    assert result.problem is not None
    assert [error["path"] for error in result.problem["errors"]] == ["quantity", "what"]


def test_a_retry_is_a_result_with_what_it_asked_for() -> None:
    def busy() -> None:
        raise Retry("not yet", after=30)

    result = call(busy)

    assert (result.reason, result.retry_after) == ("Retry", 30.0)
    assert isinstance(result.error, Retry)


def test_a_failure_is_a_result_with_its_problem() -> None:
    def refuse() -> None:
        raise Failure("sold-out", "Sold out", "No tea left.")

    result = call(refuse)

    assert result.reason == "Failure"
    assert result.problem is not None
    assert result.problem["type"] == "sold-out"
    assert result.problem["title"] == "Sold out"
    assert result.problem["detail"] == "No tea left."


def test_the_output_of_a_failed_call_raises_with_the_handlers_own_exception() -> None:
    def blunder() -> None:
        raise LookupError("no such order")

    result = call(blunder)

    with pytest.raises(CallFailedError, match="no such order") as caught:
        _ = result.output
    assert isinstance(caught.value.__cause__, LookupError)


def test_progress_is_recorded() -> None:
    def work(ctx: Context) -> None:
        ctx.progress(0.25, "begun")
        ctx.progress(1)

    assert call(work).progress == (Progress(0.25, "begun"), Progress(1.0, ""))


def test_progress_reaches_a_context_that_listens_too() -> None:
    heard: list[tuple[float, str]] = []

    def work(ctx: Context) -> None:
        ctx.progress(0.5, "half")

    call(work, context=Context(report=lambda fraction, text: heard.append((fraction, text))))

    assert heard == [(0.5, "half")]


def test_a_context_is_handed_on() -> None:
    def tell(ctx: Context) -> list[object]:
        return [ctx.attempt, ctx.idempotency_key, ctx.session]

    context = Context(attempt=2, idempotency_key="run/step", session="ada")

    assert call(tell, context=context).output == [2, "run/step", "ada"]


def test_an_event_without_input_fills_the_fields_and_unknown_ones_are_ignored() -> None:
    def price(article: str, event: Event) -> list[object]:
        return [article, event.type]

    event = Event(id="1", source="/shop", type="ordered", data={"article": "tea", "more": 1})

    assert call(price, event=event).output == ["tea", "ordered"]


def test_an_event_beside_an_input_is_seen_with_the_input_as_its_data() -> None:
    def see(article: str, event: Event) -> list[object]:
        return [article, event.type, event.data]

    event = Event(id="1", source="/shop", type="ordered", data={"article": "tea"})

    result = call(see, input={"article": "cup"}, event=event)

    assert result.output == ["cup", "ordered", {"article": "cup"}]


def test_an_async_function_is_run_to_its_end() -> None:
    async def work(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    assert call(work, input={"n": 1}).output == 2


async def test_an_async_function_may_be_called_from_an_async_test() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise Failure("late")

    assert call(fail).reason == "Failure"


def test_a_result_that_json_cannot_hold_is_a_bad_answer() -> None:
    def give() -> object:
        return object()

    assert call(give).reason == "BadAnswer"


def test_a_replacement_may_play_a_crash() -> None:
    def die() -> None:
        raise Crash("killed")

    assert call(die).reason == "Crash"
