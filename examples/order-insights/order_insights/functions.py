"""The workflow's three functions. What they import is heavy on purpose, as an agent's tools are."""

from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa
from pydantic import Field

from agentworkflow import Context, Failure, Retry, function
from order_insights import database, notifications, prices, settings
from order_insights.forecast import Forecast, predict
from order_insights.revenue import Revenue, UnknownOrderError, revenue_until


@dataclass(frozen=True, slots=True)
class Trend:
    """One symbol's forecast."""

    symbol: str
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class Notification:
    """What was told, and whether it was told now or by an earlier attempt."""

    title: str
    body: str
    targets: int
    sent_before: bool


@function
def analyze_data(
    order_id: str, days: Annotated[int, Field(ge=1, le=180)] = 30, *, ctx: Context
) -> Revenue:
    """Revenue of the days up to an order, against the same time before it."""
    try:
        with database.begin() as connection:
            ctx.progress(0.3, "connected to the orders database")
            return revenue_until(connection, order_id, days)
    except UnknownOrderError as error:
        raise Failure(
            "unknown-order", "No such order", f"The database has no order {order_id}."
        ) from error
    except sa.exc.OperationalError as error:
        raise Retry("the orders database does not answer", after=5) from error


@function
def predict_market_trend(
    symbol: str | None = None,
    horizon: Annotated[int, Field(ge=1, le=12)] = 3,
    csv: str | None = None,
    *,
    ctx: Context,
) -> Trend:
    """The next prices of a symbol, from the CSV given or else from real monthly prices."""
    try:
        frame = prices.read_prices(csv) if csv is not None else prices.monthly_prices()
        found, series = prices.series_of(frame, symbol)
        ctx.progress(0.2, f"read {len(series)} prices of {found}")
        return Trend(found, predict(series, horizon))
    except ValueError as error:
        raise Failure("bad-prices", "Prices that cannot be used", str(error)) from error


@function
def send_notification(
    revenue: Revenue, trend: Trend | None = None, *, ctx: Context
) -> Notification:
    """Tells whoever is set in NOTIFY_URLS; the same run never tells twice."""
    title = f"Order {revenue.order_id}: {revenue.order_total:.2f} {revenue.currency}"
    body = _body(revenue, trend)
    urls = settings.notify_urls()
    sent_before = False
    try:
        with database.begin() as connection:
            notifications.send_once(connection, ctx.idempotency_key, urls, title=title, body=body)
    except notifications.AlreadySentError:
        sent_before = True
    except notifications.BadTargetError as error:
        raise Failure("bad-target", "NOTIFY_URLS cannot be used", str(error)) from error
    except notifications.NotDeliveredError as error:
        raise Retry(str(error), after=10) from error
    except sa.exc.OperationalError as error:
        raise Retry("the orders database does not answer", after=5) from error
    return Notification(title, body, targets=len(urls), sent_before=sent_before)


def _body(revenue: Revenue, trend: Trend | None) -> str:
    change = "" if revenue.change is None else f" ({revenue.change:+.1%} on the time before)"
    products = ", ".join(product.name for product in revenue.top_products)
    text = (
        f"{revenue.first_day} to {revenue.last_day}: {revenue.orders} orders,"
        f" {revenue.revenue:,.2f} {revenue.currency}{change}.\n"
        f"{revenue.customer_orders} of them by {revenue.customer}. Best sellers: {products}."
    )
    if trend is None:
        return text
    forecast, held_back = trend.forecast, trend.forecast.held_back
    worth = "better" if held_back.better_than_naive else "no better"
    return (
        f"{text}\n{trend.symbol} looks {forecast.direction}: {forecast.last} now,"
        f" {forecast.next[-1]} in {len(forecast.next)} months ({forecast.method}).\n"
        f"On {held_back.observations} held-back months it was off by {held_back.mape:.1%},"
        f" {worth} than repeating the last price ({held_back.naive_mape:.1%})."
    )
