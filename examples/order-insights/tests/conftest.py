"""Makes the example importable, and gives each test a data folder of its own."""

import importlib
import sys
import warnings
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent
sys.path.insert(0, str(EXAMPLE))


# Apprise's e-mail plugin asks for a module that Python 3.13 no longer has, if it is there; a
# warning is an error in these tests, but that one is not ours.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
    importlib.import_module("order_insights.notifications")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    monkeypatch.setenv("ORDER_INSIGHTS_DATA", str(folder))
    monkeypatch.delenv("ORDERS_DATABASE_URL", raising=False)
    monkeypatch.delenv("NOTIFY_URLS", raising=False)
    return folder
