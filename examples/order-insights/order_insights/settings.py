"""What can be set from outside, by environment variables, and what holds without them."""

import os
from pathlib import Path

# Beside workflow.yaml, so that whoever runs the example finds what it wrote.
DEFAULT_DATA = Path(__file__).parent.parent / "data"


def data_folder() -> Path:
    """`ORDER_INSIGHTS_DATA`: the folder for the SQLite file and the notifications."""
    return Path(os.environ.get("ORDER_INSIGHTS_DATA") or DEFAULT_DATA).absolute()


def database_url() -> str | None:
    """`ORDERS_DATABASE_URL`: an SQLAlchemy URL, e.g. of Postgres; none: the sample in SQLite."""
    return os.environ.get("ORDERS_DATABASE_URL") or None


def notify_urls() -> list[str]:
    """`NOTIFY_URLS`: Apprise URLs between spaces; none: a text file in the data folder."""
    chosen = os.environ.get("NOTIFY_URLS", "").split()
    return chosen or [(data_folder() / "notifications.txt").as_uri()]
