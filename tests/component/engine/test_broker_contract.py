"""Knative's data-plane contract, row by row: real HTTP subscribers, a real stream underneath."""

import asyncio
import base64
import json
from dataclasses import replace

import pytest
from starlette.responses import Response
from tests.component.engine.broker_world import (
    BROKER,
    QUICK,
    OfType,
    World,
    in_turn,
    make_event,
    reply,
    status,
)

from agentworkflow.events.cloudevent import CloudEvent

# --- filters ----------------------------------------------------------------------------------


async def test_each_trigger_gets_what_its_filter_lets_through(world: World) -> None:
    a, b, everything = [await world.subscriber() for _ in range(3)]
    await world.trigger("a", a, filter=OfType("a"))
    await world.trigger("b", b, filter=OfType("b"))
    await world.trigger("all", everything)
    await world.send(make_event(1, type="a"), make_event(2, type="b"), make_event(3, type="a"))
    assert [each.id for each in await a.got(2)] == ["1", "3"]
    assert [each.id for each in await b.got(1)] == ["2"]
    assert [each.id for each in await everything.got(3)] == ["1", "2", "3"]
    await world.drained()


async def test_events_of_ours_reach_only_a_trigger_that_names_their_type(world: World) -> None:
    named, everything = [await world.subscriber() for _ in range(2)]
    await world.trigger("named", named, filter=OfType("dev.agentworkflow.run.succeeded"))
    await world.trigger("all", everything)
    await world.send(make_event(1, type="dev.agentworkflow.run.succeeded"), make_event(2))
    assert [each.id for each in await named.got(1)] == ["1"]
    assert [each.id for each in await everything.got(1)] == ["2"]
    await world.drained()
    assert [each.id for each in everything.events] == ["2"]


# --- answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 202, 204])
async def test_any_2xx_is_delivered_once(world: World, code: int) -> None:
    sink, dead = await world.subscriber(status(code)), await world.subscriber()
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(make_event())
    await sink.got(1)
    await world.drained()
    assert (len(sink.events), len(dead.events)) == (1, 0)


@pytest.mark.parametrize("code", [404, 409, 429, 500, 502, 503, 504])
async def test_what_knative_retries_is_retried_and_then_dead_lettered(
    world: World, code: int
) -> None:
    sink, dead = await world.subscriber(status(code)), await world.subscriber()
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(make_event())
    (letter,) = await dead.got(1)
    assert len(sink.events) == 1 + QUICK.retry
    assert letter.extensions["knativeerrorcode"] == str(code)


@pytest.mark.parametrize("code", [300, 302, 400, 401, 403, 405, 408, 410, 422])
async def test_any_other_answer_is_dead_lettered_at_once(world: World, code: int) -> None:
    refuse = lambda _: Response(b"no such thing", status_code=code)  # noqa: E731
    sink, dead = await world.subscriber(refuse), await world.subscriber()
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(make_event(1, extensions={"tone": "loud"}))
    (letter,) = await dead.got(1)
    assert len(sink.events) == 1
    assert letter.extensions == {
        "tone": "loud",
        "knativeerrordest": sink.url,
        "knativeerrorcode": str(code),
        "knativeerrordata": base64.b64encode(b"no such thing").decode(),
    }
    assert (letter.id, letter.source, letter.type) == ("1", "/test", "com.example.made")
    assert letter.data == {"n": 1}


async def test_the_log_of_a_dead_letter_does_not_hold_the_signed_address(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    sink, dead = (
        await world.subscriber(lambda _: Response(status_code=400)),
        await world.subscriber(),
    )
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(make_event(1))
    await dead.got(1)
    assert "answered 400" in caplog.text
    assert sink.url not in caplog.text


async def test_a_subscriber_that_does_not_listen_is_retried_and_counts_as_500(
    world: World,
) -> None:
    nobody, dead = await world.subscriber(), await world.subscriber()
    await world.servers[1].stop()
    await world.trigger("t", nobody, dead_letter_url=dead.url)
    await world.send(make_event())
    (letter,) = await dead.got(1)
    assert letter.extensions["knativeerrorcode"] == "500"
    data = base64.b64decode(str(letter.extensions["knativeerrordata"]))
    assert data.startswith(b"dispatch error: ConnectError")


async def test_a_subscriber_that_is_silent_too_long_is_tried_again(world: World) -> None:
    async def hang(_: CloudEvent) -> Response:
        await asyncio.sleep(30)
        return Response(status_code=202)

    sink = await world.subscriber(in_turn(hang, status(202)))
    await world.trigger("t", sink, policy=replace(QUICK, timeout=0.2))
    await world.send(make_event())
    await sink.got(2)
    await world.drained()


async def test_success_after_a_retry_ends_the_delivery(world: World) -> None:
    sink, dead = await world.subscriber(in_turn(status(503), status(202))), await world.subscriber()
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(make_event())
    await sink.got(2)
    await world.drained()
    assert (len(sink.events), len(dead.events)) == (2, 0)


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_is_honoured(world: World, code: int) -> None:
    sink = await world.subscriber(in_turn(status(code, retry_after="1"), status(202)))
    await world.trigger("t", sink)
    await world.send(make_event())
    await sink.got(2)
    assert sink.times[1] - sink.times[0] >= 1


async def test_without_a_dead_letter_sink_a_refused_event_is_dropped(world: World) -> None:
    sink = await world.subscriber(status(400))
    await world.trigger("t", sink)
    await world.send(make_event())
    await sink.got(1)
    await world.drained()


async def test_a_dead_letter_sink_that_is_down_gets_it_later(world: World) -> None:
    sink = await world.subscriber(status(400))
    dead = await world.subscriber(in_turn(status(503), status(202)))
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(make_event())
    letters = await dead.got(2)
    assert {letter.extensions["knativeerrorcode"] for letter in letters} == {"400"}
    assert len(sink.events) == 1
    assert "prefer" not in dead.headers[0]


# --- replies ----------------------------------------------------------------------------------


async def test_a_reply_in_a_200_goes_back_into_the_broker_one_deeper(world: World) -> None:
    answer = reply(200, make_event(9, type="answer", extensions={"awfdepth": 7}))
    sink, answers = await world.subscriber(answer), await world.subscriber()
    await world.trigger("t", sink, filter=OfType("com.example.made"))
    await world.trigger("answers", answers, filter=OfType("answer"))
    await world.send(make_event(1, extensions={"awfdepth": "2"}))
    (got,) = await answers.got(1)
    assert (got.id, got.type, got.data) == ("9", "answer", {"n": 9})
    assert got.extensions == {"awfdepth": "3"}


async def test_a_reply_in_a_202_is_ignored(world: World) -> None:
    sink = await world.subscriber(reply(202, make_event(9, type="answer")))
    answers = await world.subscriber()
    await world.trigger("t", sink, filter=OfType("com.example.made"))
    await world.trigger("answers", answers, filter=OfType("answer"))
    await world.send(make_event())
    await sink.got(1)
    await world.drained()
    assert answers.events == []


@pytest.mark.parametrize(
    "answer",
    [
        Response(b"done", 200, {"content-type": "text/plain"}),
        Response(b"{}", 200, {"content-type": "application/cloudevents+json"}),
        Response(b"", 200, {"ce-specversion": "1.0", "ce-id": "1"}),
        Response(b"x" * (1024 * 1024 + 1), 200),
    ],
    ids=["no event", "empty object", "attributes missing", "too large"],
)
async def test_a_reply_that_is_no_event_is_a_failed_delivery(
    world: World, answer: Response
) -> None:
    sink, dead = await world.subscriber(lambda _: answer), await world.subscriber()
    await world.trigger("t", sink, dead_letter_url=dead.url)
    await world.send(make_event())
    (letter,) = await dead.got(1)
    assert letter.extensions["knativeerrorcode"] == "502"
    assert len(sink.events) == 1 + QUICK.retry


async def test_events_that_cause_each_other_end_as_a_dead_letter(world: World) -> None:
    sink = await world.subscriber(reply(200, make_event(9)))
    dead = await world.subscriber()
    await world.trigger("echo", sink, dead_letter_url=dead.url)
    await world.send(make_event())
    (letter,) = await dead.got(1)
    await world.drained()
    assert [each.extensions.get("awfdepth", "0") for each in sink.events] == [
        str(depth) for depth in range(17)
    ]
    assert letter.extensions["awfdepth"] == "17"
    assert letter.extensions["knativeerrorcode"] == "508"
    problem = json.loads(base64.b64decode(str(letter.extensions["knativeerrordata"])))
    assert problem["reason"] == "Loop"


# --- side by side -----------------------------------------------------------------------------


async def test_a_slow_subscriber_holds_up_nobody_else(world: World) -> None:
    release = asyncio.Event()

    async def slow(_: CloudEvent) -> Response:
        await release.wait()
        return Response(status_code=202)

    stuck, quick = await world.subscriber(slow), await world.subscriber()
    await world.trigger("stuck", stuck, concurrency=2)
    await world.trigger("quick", quick)
    await world.send(*(make_event(n) for n in range(20)))
    await quick.got(20)
    assert len(stuck.events) == 2
    release.set()
    await stuck.got(20)
    await world.drained()


async def test_no_more_deliveries_are_open_than_a_trigger_allows(world: World) -> None:
    open_now, most = 0, 0

    async def count(_: CloudEvent) -> Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.01)
        open_now -= 1
        return Response(status_code=202)

    sink = await world.subscriber(count)
    await world.trigger("t", sink, concurrency=3)
    await world.send(*(make_event(n) for n in range(30)))
    await sink.got(30)
    assert most == 3


async def test_a_waiting_retry_blocks_no_other_event(world: World) -> None:
    def answer(got: CloudEvent) -> Response:
        return Response(status_code=503 if got.id == "0" else 202)

    sink = await world.subscriber(answer)
    await world.trigger("t", sink, concurrency=1, policy=replace(QUICK, delay=60))
    await world.send(*(make_event(n) for n in range(10)))
    got = await sink.got(10)
    assert sorted(each.id for each in got) == [str(n) for n in range(10)]
    await world.drained()


async def test_a_trigger_that_is_replaced_keeps_what_waits_for_it(world: World) -> None:
    first, second = await world.subscriber(status(503)), await world.subscriber()
    await world.trigger("t", first, policy=replace(QUICK, delay=0.5))
    await world.send(make_event())
    await first.got(1)
    await world.trigger("t", second)
    await second.got(1)


async def test_a_trigger_that_is_removed_leaves_nothing_behind(world: World) -> None:
    sink, other = await world.subscriber(status(503)), await world.subscriber()
    await world.trigger("t", sink, policy=replace(QUICK, delay=60))
    await world.send(make_event(1))
    await sink.got(1)
    await world.broker.unsubscribe(BROKER, "w/t")
    await world.send(make_event(2))
    await world.drained()
    await world.trigger("t", other)
    await world.send(make_event(3))
    assert [each.id for each in await other.got(1)] == ["3"]
