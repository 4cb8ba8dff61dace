"""What the shop took in the days up to an order, read from the database with SQLAlchemy Core."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from order_insights.database import order_lines, orders, products

CURRENCY = "EUR"


@dataclass(frozen=True, slots=True)
class ProductRevenue:
    """One product's share."""

    name: str
    revenue: float


@dataclass(frozen=True, slots=True)
class Revenue:
    """The period that ends with the order. Money is in `currency`; changes are fractions."""

    order_id: str
    customer: str
    supplier: str  # of the larger part of the order's value, by ticker symbol
    order_total: float
    first_day: str
    last_day: str
    currency: str
    revenue: float
    orders: int
    average_order: float
    change: float | None  # against the period before; null when that had no orders
    customer_orders: int  # how many of the orders are this customer's
    top_products: list[ProductRevenue]


class UnknownOrderError(LookupError):
    """The database has no order of that id."""


_VALUE = sa.func.coalesce(sa.func.sum(order_lines.c.quantity * order_lines.c.unit_price), 0)
_SOLD = orders.join(order_lines, order_lines.c.order_id == orders.c.id)
_SOLD_PRODUCTS = _SOLD.join(products, products.c.id == order_lines.c.product_id)


def revenue_until(connection: sa.Connection, order_id: str, days: int) -> Revenue:
    """The `days` days up to and including the order, and the same time before for comparison."""
    order = connection.execute(
        sa.select(orders.c.customer_id, orders.c.placed_at).where(orders.c.id == order_id)
    ).one_or_none()
    if order is None:
        raise UnknownOrderError(order_id)
    end, start = order.placed_at, order.placed_at - timedelta(days=days)
    by_supplier = connection.execute(
        sa.select(products.c.supplier, _VALUE.label("value"))
        .select_from(_SOLD_PRODUCTS)
        .where(orders.c.id == order_id)
        .group_by(products.c.supplier)
        .order_by(sa.desc("value"), products.c.supplier)
    ).all()
    taken, count = _takings(connection, start, end)
    before, _ = _takings(connection, start - timedelta(days=days), start)
    top = connection.execute(
        sa.select(products.c.name, _VALUE.label("value"))
        .select_from(_SOLD_PRODUCTS)
        .where(_placed(start, end))
        .group_by(products.c.name)
        .order_by(sa.desc("value"), products.c.name)
        .limit(3)
    ).all()
    own = connection.scalar(
        sa.select(sa.func.count())
        .select_from(orders)
        .where(_placed(start, end), orders.c.customer_id == order.customer_id)
    )
    return Revenue(
        order_id=order_id,
        customer=order.customer_id,
        supplier=by_supplier[0].supplier if by_supplier else "",
        order_total=sum(int(row.value) for row in by_supplier) / 100,
        first_day=start.date().isoformat(),
        last_day=end.date().isoformat(),
        currency=CURRENCY,
        revenue=taken / 100,
        orders=count,
        average_order=round(taken / count / 100, 2) if count else 0.0,
        change=round(taken / before - 1, 4) if before else None,
        customer_orders=int(own or 0),
        top_products=[ProductRevenue(row.name, int(row.value) / 100) for row in top],
    )


def _placed(start: datetime, end: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(orders.c.placed_at > start, orders.c.placed_at <= end)


def _takings(connection: sa.Connection, start: datetime, end: datetime) -> tuple[int, int]:
    """Cents taken and orders placed in a period."""
    row = connection.execute(
        sa.select(_VALUE.label("value"), sa.func.count(sa.distinct(orders.c.id)).label("orders"))
        .select_from(_SOLD)
        .where(_placed(start, end))
    ).one()
    return int(row.value), int(row.orders)
