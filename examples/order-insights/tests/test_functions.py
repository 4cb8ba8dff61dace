"""The three functions as plain Python: no server, no workflow."""

import csv
import io
import json
import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from order_insights.functions import analyze_data, predict_market_trend, send_notification
from order_insights.revenue import ProductRevenue, Revenue

from agentworkflow import Context, Failure, Retry

EXAMPLE = Path(__file__).parent.parent
ORDER = json.loads((EXAMPLE / "order.json").read_text())["data"]

REVENUE = Revenue(
    order_id="O-1",
    customer="C-1",
    supplier="AAPL",
    order_total=10.0,
    first_day="2010-01-01",
    last_day="2010-01-31",
    currency="EUR",
    revenue=1234.5,
    orders=3,
    average_order=411.5,
    change=-0.125,
    customer_orders=2,
    top_products=[ProductRevenue("Smartphone", 1000.0)],
)


def in_file(data: Path, query: str, *arguments: object) -> tuple[object, ...]:
    with sqlite3.connect(data / "orders.sqlite") as connection:
        row = connection.execute(query, arguments).fetchone()
    connection.close()
    return tuple(row)


def test_the_example_order_is_in_the_database_with_the_amount_of_its_event() -> None:
    found = analyze_data(ORDER["order_id"], ctx=Context())
    assert found.customer == ORDER["customer"]
    assert found.order_total == ORDER["amount"]


def test_revenue_agrees_with_a_query_written_by_hand(data: Path) -> None:
    found = analyze_data(ORDER["order_id"], 7, ctx=Context())
    value, orders = in_file(
        data,
        "SELECT SUM(quantity * unit_price) / 100.0, COUNT(DISTINCT id) FROM orders"
        " JOIN order_lines ON order_id = id WHERE placed_at < '2010-02-28 22:11:34'"
        " AND placed_at > '2010-02-21 22:11:34'",
    )
    assert (found.revenue, found.orders) == (value, orders)
    assert found.average_order == round(found.revenue / found.orders, 2)


def test_a_first_period_has_nothing_to_be_compared_with() -> None:
    assert analyze_data("O-100001", 30, ctx=Context()).change is None


def test_an_unknown_order_ends_the_step_with_its_id() -> None:
    with pytest.raises(Failure) as caught:
        analyze_data("O-0", ctx=Context())
    assert (caught.value.type, "O-0" in caught.value.detail) == ("unknown-order", True)


def test_a_database_that_does_not_answer_asks_for_another_attempt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ORDERS_DATABASE_URL", f"sqlite:///{tmp_path}/missing/orders.sqlite")
    with pytest.raises(Retry) as caught:
        analyze_data("O-1", ctx=Context())
    assert caught.value.after == 5.0


def test_the_sample_is_made_once_though_several_ask_for_it_at_once(data: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: analyze_data("O-100500", ctx=Context()), range(4)))
    assert found == [found[0]] * 4
    assert [path.name for path in data.iterdir()] == ["orders.sqlite"]


def test_the_sample_shop_is_the_same_every_time() -> None:
    from order_insights import sample_shop  # noqa: PLC0415 - only this test looks inside

    assert sample_shop.build() == sample_shop.build()


def test_a_trend_states_its_error_on_held_back_months_beside_the_naive_one() -> None:
    trend = predict_market_trend("AAPL", ctx=Context())
    held_back = trend.forecast.held_back
    assert (trend.symbol, trend.forecast.observations, trend.forecast.last) == ("AAPL", 123, 223.02)
    assert held_back.observations == 12
    assert 0.05 < held_back.mape < 0.1
    # «The next price is the last one», worked out by hand from the same file.
    assert held_back.naive_mape == naive_error("AAPL", 12)
    assert held_back.better_than_naive == (held_back.mape < held_back.naive_mape)


def naive_error(symbol: str, months: int) -> float:
    from vega_datasets import local_data  # noqa: PLC0415 - an independent reading of the file

    with Path(local_data.stocks.filepath).open(newline="") as file:
        prices = [float(row["price"]) for row in csv.DictReader(file) if row["symbol"] == symbol]
    pairs = list(zip(prices[-months - 1 :], prices[-months:], strict=False))
    return round(sum(abs(before / now - 1) for before, now in pairs) / months, 4)


def growing(percent: float, count: int = 60) -> str:
    """A CSV of prices that grow steadily, with a little noise."""
    chance = random.Random(1)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["date", "price"])
    for number in range(count):
        price = 100 * (1 + percent / 100) ** number * (1 + chance.gauss(0, 0.002))
        writer.writerow([f"{2000 + number // 12}-{number % 12 + 1:02}-01", f"{price:.4f}"])
    return text.getvalue()


@pytest.mark.parametrize(
    ("percent", "direction"), [(3.0, "rising"), (-3.0, "falling"), (0.0, "flat")]
)
def test_a_clear_trend_in_an_uploaded_file_is_seen(percent: float, direction: str) -> None:
    forecast = predict_market_trend(csv=growing(percent), ctx=Context()).forecast
    assert forecast.direction == direction
    assert forecast.change == pytest.approx((1 + percent / 100) ** 3 - 1, abs=0.02)


@pytest.mark.parametrize(
    ("csv_text", "symbol", "detail"),
    [
        ("day,price\n2000-01-01,1\n", None, "no column named date"),
        ("date,price\n2000-01-01,one\n", None, "cannot be read"),
        ("", None, "cannot be read"),
        ("date,price\n2000-01-01,0\n", None, "above 0"),
        (growing(1.0, 10), None, "10 prices are too few"),
        (None, "NOPE", "no prices of NOPE"),
        (None, None, "no prices of a chosen symbol"),
    ],
)
def test_prices_that_cannot_be_used_end_the_step_with_what_is_wrong(
    csv_text: str | None, symbol: str | None, detail: str
) -> None:
    with pytest.raises(Failure, match=detail) as caught:
        predict_market_trend(symbol, csv=csv_text, ctx=Context())
    assert caught.value.type == "bad-prices"


def test_a_notification_is_appended_to_the_file_in_the_data_folder(data: Path) -> None:
    trend = predict_market_trend("AAPL", ctx=Context())
    told = send_notification(REVENUE, trend, ctx=Context(idempotency_key="r1/tell"))
    assert told.sent_before is False
    assert (data / "notifications.txt").read_text() == f"{told.title}\n{told.body}\n\n"
    assert "3 orders, 1,234.50 EUR (-12.5% on the time before)" in told.body
    assert "better than repeating the last price" in told.body


def test_the_same_key_never_notifies_twice_and_another_does(data: Path) -> None:
    keys = ["r1/tell", "r1/tell", "r2/tell"]
    told = [send_notification(REVENUE, ctx=Context(idempotency_key=key)) for key in keys]
    assert [one.sent_before for one in told] == [False, True, False]
    assert (data / "notifications.txt").read_text().count("Order O-1") == 2


def test_two_attempts_at_once_notify_once(data: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        told = list(
            pool.map(
                lambda _: send_notification(REVENUE, ctx=Context(idempotency_key="r1/tell")),
                range(4),
            )
        )
    assert sorted(one.sent_before for one in told) == [False, True, True, True]
    assert (data / "notifications.txt").read_text().count("Order O-1") == 1


def test_a_target_that_does_not_take_it_is_tried_again_and_the_key_stays_free(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(idempotency_key="r1/tell")
    monkeypatch.setenv("NOTIFY_URLS", "json://127.0.0.1:1")
    with pytest.raises(Retry) as caught:
        send_notification(REVENUE, ctx=context)
    assert caught.value.after == 10.0
    monkeypatch.delenv("NOTIFY_URLS")
    assert send_notification(REVENUE, ctx=context).sent_before is False
    assert (data / "notifications.txt").exists()


def test_an_unknown_target_fails_without_showing_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOTIFY_URLS", "nosuch://user:secret@host")
    with pytest.raises(Failure) as caught:
        send_notification(REVENUE, ctx=Context(idempotency_key="r1/tell"))
    assert "nosuch://" in caught.value.detail
    assert "secret" not in caught.value.detail


def test_without_a_trend_the_message_says_nothing_of_one() -> None:
    revenue = replace(REVENUE, change=None)
    told = send_notification(revenue, None, ctx=Context(idempotency_key="r1/tell"))
    assert "looks" not in told.body
    assert "on the time before" not in told.body
