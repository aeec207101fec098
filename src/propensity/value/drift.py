"""How far reality moves away from a buy-till-you-die model as a log grows older.

One curve of drop-out for all ages fits the average of the past: it is above the first closed windows and below the last
ones where drop-out slows down faster than the model allows. The movement of observed over expected totals from window to
window, against the logarithm of the age of the log in the middle of the window, goes on beyond the last closed window.
On that scale, a log of half a year moves as far in the next half as one of ten years in ten more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from propensity.kernel.order_day import OrderDays, Recency, ahead, recency
from propensity.value.closed import GRID, training_cutoffs

if TYPE_CHECKING:
    from propensity.value.closed import Parametric

CUSTOMERS = 30_000
WINDOWS, LEAST = 10, 4
MOST = 0.25  # of a logarithm: a level moves by at most a quarter or so
NEEDED = 400  # orders in each window


class Drift(NamedTuple):
    """Movement of the logarithm of observed over expected active customers, orders and revenue.

    Parameters
    ----------
    slope : (3,) in units of the logarithm of the age of the log
    age : weeks of age of the log in the middle of the last closed window
    """

    slope: np.ndarray
    age: float

    def factors(self, age: float, weeks: float) -> np.ndarray:
        """Factors (3,) of the level of a window of `weeks` that begins at an age of the log in weeks."""
        distance = np.log(max(age + 0.5 * weeks, self.age) / self.age)
        return np.exp(np.clip(self.slope * distance, -MOST, MOST))


NO_DRIFT = Drift(np.zeros(3), 1.0)


def fit_drift(orders: OrderDays, first_day: int, cutoff: int, model: Parametric) -> Drift:
    """The slope over the last closed windows of equal length, drawn to zero by its standard error."""
    history = (cutoff - first_day) // 7
    length = max((weeks for weeks in GRID if 3 * weeks <= history), default=0)
    cutoffs = [day for day in training_cutoffs(first_day, cutoff) if day + 7 * length <= cutoff]
    if not length or len(cutoffs) < LEAST:
        return NO_DRIFT
    chosen = [cutoffs[i] for i in np.unique(np.linspace(0, len(cutoffs) - 1, WINDOWS).astype(int))]
    size = orders.offsets.size - 1
    part = np.sort(np.random.default_rng(0).choice(size, CUSTOMERS, replace=False)) if size > CUSTOMERS else np.arange(size)
    ratios, ages = [], []
    for day in chosen:
        state, (count, revenue) = recency(orders, day), ahead(orders, day, day + 7 * length)
        row = part[state.x[part] >= 0]
        own = Recency(*(column[row] for column in state))
        forecast = model.forecast(own, np.array([float(length)]))
        expected = (forecast.active[:, 0], forecast.orders[:, 0], forecast.orders[:, 0] * forecast.amount)
        observed = (count[row] > 0, count[row], revenue[row])
        if observed[1].sum() < NEEDED or expected[2].sum() <= 0 or observed[2].sum() <= 0:
            return NO_DRIFT
        ratios.append([np.log(o.sum() / e.sum()) for o, e in zip(observed, expected, strict=True)])
        ages.append((day - first_day) / 7 + 0.5 * length)
    return Drift(shrunk_slope(np.log(ages), np.array(ratios)), max(ages))


def shrunk_slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least-squares slopes of the columns of y (W, K) on x (W,), each times t^2 / (1 + t^2) with t its t statistic.

    Examples
    --------
    >>> shrunk_slope(np.array([0.0, 1.0, 2.0, 3.0]), np.array([[1.0], [3.0], [5.0], [7.0]])).round(3)
    array([2.])
    """
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = centred @ (y - y.mean(axis=0)) / max(spread, 1e-12)
    left = y - y.mean(axis=0) - np.outer(centred, slope)
    error = (left**2).sum(axis=0) / max(x.size - 2, 1) / max(spread, 1e-12)
    return slope**3 / np.maximum(slope**2 + error, 1e-300)
