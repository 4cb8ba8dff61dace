"""The orders database: its tables, and a connection to the one that is set.

Without `ORDERS_DATABASE_URL` it is a SQLite file with the sample shop in it, made on first use.
A database of one's own needs these tables; `python -m order_insights.database URL` creates
them there and fills them with the sample shop.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from order_insights import sample_shop, settings

metadata = sa.MetaData()

customers = sa.Table(
    "customers",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("country", sa.String(2), nullable=False),
)
products = sa.Table(
    "products",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("supplier", sa.String(8), nullable=False),  # the supplier's ticker symbol
)
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("customer_id", sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("placed_at", sa.DateTime, nullable=False, index=True),  # UTC
)
order_lines = sa.Table(
    "order_lines",
    metadata,
    sa.Column("order_id", sa.ForeignKey("orders.id"), primary_key=True),
    sa.Column("product_id", sa.ForeignKey("products.id"), primary_key=True),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("unit_price", sa.Integer, nullable=False),  # in cents of a euro
)
# Which notifications were sent, by idempotency key: see notifications.py.
notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("sent_at", sa.DateTime, nullable=False),  # UTC
)


@contextmanager
def begin() -> Iterator[sa.Connection]:
    """A connection in a transaction: committed at the end, rolled back by an exception."""
    engine = sa.create_engine(settings.database_url() or _sample_url(), poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def fill(engine: sa.Engine) -> None:
    """Creates the tables where they are missing, and puts the sample shop into them."""
    shop = sample_shop.build()
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(customers.insert(), shop.customers)
        connection.execute(products.insert(), shop.products)
        connection.execute(orders.insert(), shop.orders)
        connection.execute(order_lines.insert(), shop.order_lines)


def _sample_url() -> str:
    path = settings.data_folder() / "orders.sqlite"
    if not path.exists():
        _make_sample(path)
    return f"sqlite:///{path}"


def _make_sample(path: Path) -> None:
    """Makes the file whole or not at all: another process may be about to make it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder, path.name)
        engine = sa.create_engine(f"sqlite:///{draft}", poolclass=sa.NullPool)
        fill(engine)
        engine.dispose()
        with suppress(FileExistsError):  # the other was first, and its file holds the same
            os.link(draft, path)


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program's name and one URL
        sys.exit("usage: python -m order_insights.database URL   (an SQLAlchemy database URL)")
    fill(sa.create_engine(sys.argv[1]))
