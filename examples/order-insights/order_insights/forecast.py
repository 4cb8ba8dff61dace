"""Where a series of prices is heading: Holt's method with a damped trend, on logarithms.

Exponential smoothing with a trend that flattens out is the usual first choice for a short,
noisy series (Gardner and McKenzie, 1985); on logarithms a trend is a rate of growth. Prices are
close to a random walk, so the method is judged against the forecast that costs nothing: «the
next price is the last one». Both errors are measured on observations that were held back.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from statsmodels.tools.sm_exceptions import ConvergenceWarning
from statsmodels.tsa.holtwinters import Holt

METHOD = "Holt's linear trend, damped, on log prices"
LEAST = 24  # observations; below it the held-back ones leave too few to fit


@dataclass(frozen=True, slots=True)
class HeldBack:
    """One-step errors on the last `observations`, each forecast from what came before it."""

    observations: int
    mape: float  # mean absolute percentage error, as a fraction
    mae: float  # mean absolute error, in units of the price
    naive_mape: float
    naive_mae: float
    better_than_naive: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """The next prices, and what the method was worth lately."""

    method: str
    observations: int
    last: float
    next: list[float]
    change: float  # from the last price to the last forecast, as a fraction
    direction: str  # rising | falling | flat; flat: a change no larger than the expected error
    held_back: HeldBack


def predict(prices: list[float], horizon: int) -> Forecast:
    """The next `horizon` prices; raises ValueError for a series that is too short."""
    if len(prices) < LEAST:
        raise ValueError(f"{len(prices)} prices are too few: the method needs at least {LEAST}")
    series = np.log(np.asarray(prices, dtype=float))
    held_back = _held_back(series, count=min(12, len(prices) // 4))
    following = np.exp(_fit(series, horizon))
    change = float(following[-1] / prices[-1] - 1)
    return Forecast(
        method=METHOD,
        observations=len(prices),
        last=round(prices[-1], 2),
        next=[round(float(price), 2) for price in following],
        change=round(change, 4),
        direction=_direction(change, held_back.mape * math.sqrt(horizon)),
        held_back=held_back,
    )


def _direction(change: float, error: float) -> str:
    """`error`: of one step, times the root of the steps, as the error of a random walk grows."""
    if abs(change) <= error:
        return "flat"
    return "rising" if change > 0 else "falling"


def _held_back(series: np.ndarray, count: int) -> HeldBack:
    first = len(series) - count
    actual = np.exp(series[first:])
    naive = np.exp(series[first - 1 : -1])
    forecast = np.exp([_fit(series[:end], 1)[0] for end in range(first, len(series))])
    # Rounded before they are compared: a lead that nobody can see is none.
    mape = round(float(np.mean(np.abs(forecast / actual - 1))), 4)
    naive_mape = round(float(np.mean(np.abs(naive / actual - 1))), 4)
    return HeldBack(
        observations=count,
        mape=mape,
        mae=round(float(np.mean(np.abs(forecast - actual))), 2),
        naive_mape=naive_mape,
        naive_mae=round(float(np.mean(np.abs(naive - actual))), 2),
        better_than_naive=mape < naive_mape,
    )


def _fit(series: np.ndarray, horizon: int) -> np.ndarray:
    with warnings.catch_warnings():
        # A fit that stops early is still a forecast; the held-back error says what it is worth.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = Holt(series, damped_trend=True, initialization_method="estimated").fit()
    return np.asarray(model.forecast(horizon))
