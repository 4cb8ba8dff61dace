"""A year of orders of a small electronics shop: invented, but with the shape of real ones.

Sales grow over the year, peak before Christmas and on Mondays; few customers order often, most
once or twice; few products make most of the revenue. The same data come out every time.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

SEED = 20100228
FIRST_DAY = datetime(2009, 3, 1)  # noqa: DTZ001 - the database's times are UTC without a zone
DAYS = 365
ORDERS_PER_DAY = 14.0
GROWTH = 0.35  # over the year
WEEKDAYS = (1.25, 1.1, 1.05, 1.0, 0.95, 0.75, 0.9)
MONTHS = (0.95, 0.9, 1, 0.95, 0.95, 0.95, 0.9, 0.9, 1, 1.05, 1.35, 1.9)
CUSTOMERS = 700
COUNTRIES = ("DE", "DE", "DE", "FR", "FR", "NL", "AT", "IT")

# name, supplier's ticker symbol, price in cents of a euro, share of the lines sold
CATALOGUE = (
    ("Music player 16 GB", "AAPL", 17_900, 20),
    ("Notebook 13 inch", "AAPL", 89_900, 6),
    ("Smartphone 16 GB", "AAPL", 59_900, 9),
    ("Operating system upgrade", "MSFT", 11_999, 14),
    ("Office suite, home licence", "MSFT", 13_900, 10),
    ("Games console", "MSFT", 19_900, 8),
    ("E-book reader 6 inch", "AMZN", 25_900, 9),
    ("E-book reader 10 inch", "AMZN", 48_900, 3),
    ("Mail server licence", "IBM", 14_500, 5),
    ("Entry server", "IBM", 69_900, 2),
    ("Search appliance", "GOOG", 199_000, 1),
)


@dataclass(frozen=True, slots=True)
class Shop:
    """Rows for the tables of database.py, by column name."""

    customers: list[dict[str, Any]]
    products: list[dict[str, Any]]
    orders: list[dict[str, Any]]
    order_lines: list[dict[str, Any]]


def build() -> Shop:
    """The whole shop, from a generator with a fixed seed."""
    chance = random.Random(SEED)  # noqa: S311 - sample data, no secret
    shop = Shop(
        customers=[
            {"id": f"C-{1001 + number}", "country": chance.choice(COUNTRIES)}
            for number in range(CUSTOMERS)
        ],
        products=[
            {"id": f"P-{101 + number}", "name": name, "supplier": supplier}
            for number, (name, supplier, _, _) in enumerate(CATALOGUE)
        ],
        orders=[],
        order_lines=[],
    )
    # Zipf and Mandelbrot's law: the k-th best customer orders 1/(k + 25) as often.
    loyalty = list(accumulate(1 / (rank + 25) for rank in range(CUSTOMERS)))
    demand = list(accumulate(share for _, _, _, share in CATALOGUE))
    for placed_at in _arrivals(chance):
        order = f"O-{100001 + len(shop.orders)}"
        customer = chance.choices(shop.customers, cum_weights=loyalty)[0]
        shop.orders.append({"id": order, "customer_id": customer["id"], "placed_at": placed_at})
        wanted = 1 + (chance.random() < 0.3) + (chance.random() < 0.1)  # noqa: PLR2004
        picked = chance.choices(range(len(CATALOGUE)), cum_weights=demand, k=wanted)
        for number in sorted(set(picked)):
            shop.order_lines.append(
                {
                    "order_id": order,
                    "product_id": shop.products[number]["id"],
                    "quantity": picked.count(number),
                    "unit_price": CATALOGUE[number][2],
                }
            )
    return shop


def _arrivals(chance: random.Random) -> list[datetime]:
    """When orders were placed: a Poisson process whose rate follows season, weekday and growth."""
    arrivals = []
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        growth = 1 + GROWTH * number / DAYS
        rate = ORDERS_PER_DAY * growth * WEEKDAYS[day.weekday()] * MONTHS[day.month - 1]
        hour = chance.expovariate(rate / 16)  # the shop's customers sleep from 23 to 7 o'clock
        while hour < 16:  # noqa: PLR2004
            arrivals.append(day + timedelta(hours=7, seconds=round(hour * 3600)))
            hour += chance.expovariate(rate / 16)
    return arrivals
