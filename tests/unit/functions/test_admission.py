import asyncio

from agentworkflow.functions.admission import Answer, Joins, Slots
from agentworkflow.functions.output import Budget


async def test_slots_are_given_in_the_order_of_coming() -> None:
    slots, order = Slots(1), list[int]()
    assert slots.take_now()
    assert not slots.take_now()

    async def wait(number: int) -> None:
        await slots.take()
        order.append(number)
        slots.give_back()

    waiting = [asyncio.create_task(wait(number)) for number in range(3)]
    await asyncio.sleep(0)
    slots.give_back()
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2]
    assert slots.take_now()


async def test_a_slot_goes_to_who_waits_and_not_to_who_comes_then() -> None:
    slots = Slots(1)
    assert slots.take_now()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.give_back()
    assert not slots.take_now()
    await waiting


async def test_who_stops_waiting_does_not_keep_the_slot() -> None:
    slots = Slots(1)
    assert slots.take_now()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    slots.give_back()
    assert slots.take_now()


async def test_only_final_answers_are_given_again_and_not_for_ever() -> None:
    now = 0.0
    joins = Joins(lambda: now)

    async def answer(*, is_final: bool) -> Answer:
        return Answer(200, body=b"x", is_final=is_final)

    assert (await joins.begin("final", answer(is_final=True))).body == b"x"
    assert (await joins.begin("passing", answer(is_final=False))).body == b"x"
    await asyncio.sleep(0)
    again = joins.existing("final")
    assert again is not None
    assert (await again).body == b"x"
    assert joins.existing("passing") is None
    now = 601.0
    assert joins.existing("final") is None


async def test_kept_answers_are_bounded_in_number_and_bytes() -> None:
    joins = Joins(lambda: 0.0)

    async def answer(body: bytes) -> Answer:
        return Answer(200, body=body)

    for number in range(1100):
        await joins.begin(number, answer(b""))
    await asyncio.sleep(0)
    assert joins.existing(0) is None
    assert joins.existing(1099) is not None
    await joins.begin("huge", answer(b"x" * (17 * 1024 * 1024)))
    await asyncio.sleep(0)
    assert joins.existing(1099) is None


async def test_a_caller_that_goes_away_does_not_stop_the_work() -> None:
    joins, gate = Joins(lambda: 0.0), asyncio.Event()

    async def work() -> Answer:
        await gate.wait()
        return Answer(200)

    async def ask() -> Answer:
        return await joins.begin("key", work())

    caller = asyncio.create_task(ask())
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert joins.in_flight == 1
    gate.set()
    await joins.drained()
    assert joins.existing("key") is not None


def test_a_log_budget_is_a_burst_and_then_so_much_a_second() -> None:
    budget = Budget(now=0.0)
    assert budget.take(256 * 1024, now=0.0)
    assert not budget.take(1, now=0.0)
    assert budget.take(32 * 1024, now=1.0)
    assert not budget.take(32 * 1024, now=1.5)
