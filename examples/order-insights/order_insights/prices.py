"""Prices by date, from CSV text or from the real ones that `vega-datasets` carries with it."""

import io

import pandas as pd
from vega_datasets import local_data

COLUMNS = {"date", "price"}


class PricesError(ValueError):
    """The CSV holds no series of prices that could be used."""


def monthly_prices() -> pd.DataFrame:
    """Real closing prices of five companies, January 2000 to March 2010, one per month."""
    return local_data.stocks()


def read_prices(csv: str) -> pd.DataFrame:
    """CSV text with the columns `date` and `price`, and `symbol` if there are several series."""
    try:
        frame = pd.read_csv(io.StringIO(csv), skipinitialspace=True)
        missing = COLUMNS - set(frame.columns)
        if missing:
            raise PricesError(f"the CSV has no column named {' or '.join(sorted(missing))}")
        frame["date"] = pd.to_datetime(frame["date"], format="mixed")
        frame["price"] = pd.to_numeric(frame["price"])
    except PricesError:
        raise
    except ValueError as error:  # pandas' own errors: no table, no date, no number
        raise PricesError(f"the CSV cannot be read: {error}") from error
    return frame


def series_of(frame: pd.DataFrame, symbol: str | None) -> tuple[str, list[float]]:
    """The prices of one symbol in order of time; without a symbol, of the only one there is."""
    if "symbol" not in frame.columns:
        return symbol or "prices", _in_order(frame)
    symbols = sorted(str(name) for name in frame["symbol"].unique())
    if symbol is None and len(symbols) == 1:
        symbol = symbols[0]
    if symbol not in symbols:
        raise PricesError(f"no prices of {symbol or 'a chosen symbol'}; there are {symbols}")
    return symbol, _in_order(frame[frame["symbol"].astype(str) == symbol])


def _in_order(frame: pd.DataFrame) -> list[float]:
    prices = [float(price) for price in frame.sort_values("date", kind="stable")["price"]]
    if not all(price > 0 for price in prices):  # also refuses NaN
        raise PricesError("every price must be a number above 0")
    return prices
