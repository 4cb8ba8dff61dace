"""Handlers that take and give all kinds of values."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypedDict

from pydantic import BaseModel

from agentworkflow import Context, Event, Failure, Retry, function


class Period(Enum):
    DAY = "day"
    WEEK = "week"


@dataclass
class Item:
    sku: str
    count: int


class Customer(BaseModel):
    name: str
    vip: bool = False


class Address(TypedDict):
    city: str


@dataclass
class Revenue:
    total: Decimal
    at: datetime
    period: Period
    customer: Customer


@function
def typed(
    items: list[Item],
    customer: Customer,
    address: Address,
    period: Period = Period.DAY,
    note: str | None = None,
) -> dict[str, Any]:
    """Says what it was given.

    With its types.
    """
    return {
        "items": [type(each).__name__ for each in items],
        "count": sum(each.count for each in items),
        "customer": type(customer).__name__,
        "vip": customer.vip,
        "city": address["city"],
        "period": period.name,
        "note": note,
    }


def rest(order: str, **fields: int) -> dict[str, Any]:
    return {"order": order, "fields": fields}


def revenue() -> Revenue:
    return Revenue(
        Decimal("12.50"), datetime(2026, 1, 2, tzinfo=UTC), Period.WEEK, Customer(name="Ada")
    )


def nothing() -> None:
    pass


def unholdable() -> dict[str, Any]:
    return {"rows": [1, object()]}


def about(*, ctx: Context) -> dict[str, Any]:
    return {
        "function": ctx.function,
        "workflow": ctx.workflow,
        "namespace": ctx.namespace,
        "run": ctx.run,
        "step": ctx.step,
        "item": ctx.item,
        "attempt": ctx.attempt,
        "session": ctx.session,
        "trigger": ctx.trigger,
        "deadline": ctx.deadline,
        "remaining": ctx.remaining(),
        "key": ctx.idempotency_key,
    }


def see(event: Event) -> dict[str, Any]:
    return {"id": event.id, "type": event.type, "source": event.source, "data": event.data}


def attributes(event: Event) -> dict[str, Any]:
    return event.attributes()


def half_a_character() -> None:
    raise ValueError("half: \ud800")


def retry(after: float | None = None) -> None:
    raise Retry("the bank sleeps", after=after)


async def retry_in_a_group() -> None:
    async def one() -> None:
        raise Retry("from within", after=1)

    async with asyncio.TaskGroup() as group:
        group.create_task(one())


def fail() -> None:
    raise Failure("urn:shop:closed", "The shop is closed", "it opens at nine")


def divide(by: int = 0) -> float:
    return 1 / by


async def divide_async(by: int = 0) -> float:
    return 1 / by


def picky(amount: int) -> int:
    return amount


def size_of(text: str) -> int:
    return len(text)


def large(mib: int) -> str:
    return "x" * (mib * 1024 * 1024)


def csv_length(csv: str, name: str = "none") -> dict[str, Any]:
    return {"length": len(csv), "name": name}


class Greeter:
    """Greets, as an object that can be called."""

    def __call__(self, name: str) -> str:
        return f"hello {name}"


greeter = Greeter()
