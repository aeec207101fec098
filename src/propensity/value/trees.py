"""LightGBM on closed windows: probability of an order, number of orders and revenue of the next weeks.

In a log of two years or more, boosting starts from the forecast of the buy-till-you-die models, moved to the level that
closed windows show for it. The trees learn what those models miss. From the mean of all customers, a hundred small
steps do not lead to the almost nothing of customers who left long ago. In a shorter log customers are older at the
cutoff than in most closed windows, and those models' decline with age would be extrapolated: boosting starts from the
mean there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from propensity.kernel.order_day import OrderDays
from propensity.value.closed import ClosedWindows, Customers, Parametric, inputs, season

SETTINGS = {
    "num_leaves": 15, "learning_rate": 0.06, "min_child_samples": 150, "lambda_l2": 10.0, "max_bin": 127,
    "poisson_max_delta_step": 0.01,
    "verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip
ROUNDS = 110
STEP = 1.0  # of a leaf before the learning rate: from a start near 0, one large amount would take a step far too long
WEEKS_COLUMN = 20  # of `propensity.value.closed.inputs`
ORDERS_COLUMN, ACTIVE_COLUMN, AMOUNT_COLUMN = 21, 22, 23
BINS = 50  # of a forecast
LEAST, MOST = 1e-9, 1 - 1e-6


class Calibration(NamedTuple):
    """A rising curve from a forecast to what followed, both as logarithms.

    Parameters
    ----------
    forecast, observed : (B,) ascending
    """

    forecast: np.ndarray
    observed: np.ndarray

    def log_level(self, forecast: np.ndarray) -> np.ndarray:
        """Logarithm of the calibrated forecast: (R,). It is constant below the curve and proportional above it."""
        place = np.log(np.maximum(forecast, LEAST))
        above = np.maximum(place - self.forecast[-1], 0.0)
        return np.interp(place, self.forecast, self.observed) + above


class Start(NamedTuple):
    """Where boosting starts.

    Parameters
    ----------
    curves : of the probability, orders and revenue; none to start from the means
    rate, money : orders and revenue of a customer and week
    """

    curves: tuple[Calibration, ...]
    rate: float
    money: float

    def scores(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log odds of an order, logarithms of orders and of revenue, for rows of inputs: (R,) x 3."""
        if not self.curves:
            weeks = table[:, WEEKS_COLUMN].astype(float)
            odds = np.log(np.maximum(np.expm1(np.minimum(self.rate * weeks, 5.0)), LEAST))
            return odds, np.log(self.rate * weeks), np.log(max(self.money, LEAST) * weeks)
        levels = zip(self.curves, forecasts(table), strict=True)
        active, orders, revenue = (curve.log_level(column) for curve, column in levels)
        probability = np.minimum(np.exp(active), MOST)
        return np.log(probability / (1 - probability)), orders, revenue


class Trees(NamedTuple):
    """Boosters of the three outcomes with the curves from which they start.

    Parameters
    ----------
    active, orders, revenue : boosters; revenue is None for a log without amounts
    start : of boosting
    """

    active: Any
    orders: Any
    revenue: Any
    start: Start

    def predict(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probability of an order, orders, and revenue, for rows of inputs: (R,) x 3."""
        active, orders, revenue = self.start.scores(table)
        active = active + self.active.predict(table, raw_score=True)
        orders = np.exp(orders + self.orders.predict(table, raw_score=True))
        if self.revenue is None:
            return 1 / (1 + np.exp(-active)), orders, np.zeros(orders.size)
        revenue = np.exp(revenue + self.revenue.predict(table, raw_score=True))
        return 1 / (1 + np.exp(-active)), orders, revenue

    def expect(self, customers: Customers, weeks: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probability of an order, orders and revenue in the next `weeks`: (N, W) x 3."""
        result, size = np.empty((3, customers.row.size, len(weeks))), customers.row.size
        for k, w in enumerate(weeks):
            year = season(customers.orders, customers.first_day, customers.cutoff, w)
            table = inputs(
                customers.orders, customers.cutoff, customers.row, np.full(size, float(w)), customers.at(w),
                np.full(size, year),
            )  # fmt: skip
            result[:, :, k] = self.predict(table)
        return result[0], result[1], result[2]

    def of_windows(
        self, orders: OrderDays, first_day: int, windows: ClosedWindows, model: Parametric
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Expectations of the rows of closed windows: (R,) x 3."""
        return self.predict(windows.inputs)


def forecasts(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability, orders and revenue that the buy-till-you-die models expect, from rows of inputs: (R,) x 3."""
    orders = np.exp(table[:, ORDERS_COLUMN].astype(float))
    active = 1 / (1 + np.exp(-table[:, ACTIVE_COLUMN].astype(float)))
    return active, orders, orders * table[:, AMOUNT_COLUMN]


def calibrated(forecast: np.ndarray, observed: np.ndarray, weight: np.ndarray, unit: float) -> Calibration:
    """The curve of what followed in bins of equal weight of a forecast: (R,) x 3.

    Parameters
    ----------
    forecast, observed : numpy.ndarray of shape (R,)
        What was expected and what followed.
    weight : numpy.ndarray of shape (R,)
        Weights of the rows.
    unit : float
        Size of one event. The forecast counts as much as one event of its own, so that a bin with nothing observed
        has a level above 0.

    Examples
    --------
    >>> curve = calibrated(np.array([1.0, 4.0]), np.array([2.0, 8.0]), np.ones(2), 1e-9)
    >>> np.exp(curve.log_level(np.array([0.5, 1.0, 2.0, 8.0]))).round(3).tolist()
    [2.0, 2.0, 4.0, 16.0]
    """
    order = np.argsort(forecast, kind="stable")
    share = np.cumsum(weight[order])
    bins = np.minimum((share / share[-1] * BINS).astype(np.int64), BINS - 1)
    total, size = np.bincount(bins, (weight * forecast)[order], BINS), np.bincount(bins, weight[order], BINS)
    followed = np.bincount(bins, (weight * observed)[order], BINS)
    filled = size > 0
    mean = np.maximum(total[filled] / size[filled], LEAST)
    level = np.maximum(mean * (followed[filled] + unit) / (total[filled] + unit), LEAST)
    place, first = np.unique(np.log(mean), return_index=True)
    return Calibration(place, np.maximum.accumulate(np.log(level))[first])


def fit_trees(windows: ClosedWindows, seed: int, from_forecast: bool) -> Trees | None:
    """Fit the three boosters; None without LightGBM or where nothing was bought in any window.

    Parameters
    ----------
    windows : ClosedWindows
        Rows to learn from.
    seed : int
        Seed of LightGBM.
    from_forecast : bool
        Whether boosting starts from the forecast of the buy-till-you-die models, or from the means.
    """
    try:
        import lightgbm as lgb
    except ImportError:
        return None
    bought, table = (windows.orders > 0).astype(float), windows.inputs
    if bought.min() == bought.max():
        return None
    start = _start(windows, from_forecast)
    scores, settings = start.scores(table), SETTINGS | ({"max_delta_step": STEP} if from_forecast else {})

    def booster(objective: dict[str, Any], label: np.ndarray, score: np.ndarray) -> Any:
        data = lgb.Dataset(table, label, weight=windows.weight, init_score=score, params={"verbose": -1})
        return lgb.train(settings | objective | {"seed": seed}, data, ROUNDS)

    rising = [int(column == WEEKS_COLUMN) for column in range(table.shape[1])]
    active = booster({"objective": "binary", "monotone_constraints": rising}, bought, scores[0])
    orders = booster({"objective": "poisson"}, windows.orders, scores[1])
    revenue = None
    if start.money > 0:  # Poisson deviance is unbiased, unlike Tweedie
        label, score = windows.revenue / start.money, scores[2] - np.log(start.money)
        revenue = booster({"objective": "poisson"}, label, score)
    return Trees(active, orders, revenue, start)


def _start(windows: ClosedWindows, from_forecast: bool) -> Start:
    weight = windows.weight
    sums = {name: float(weight @ getattr(windows, name)) for name in ("orders", "revenue", "weeks")}
    curves: tuple[Calibration, ...] = ()
    if from_forecast:
        amount = max(sums["revenue"] / sums["orders"], LEAST)
        outcomes = (((windows.orders > 0).astype(float), 1.0), (windows.orders, 1.0), (windows.revenue, amount))
        pairs = zip(forecasts(windows.inputs), outcomes, strict=True)
        curves = tuple(calibrated(forecast, observed, weight, unit) for forecast, (observed, unit) in pairs)
    return Start(curves, sums["orders"] / sums["weeks"], sums["revenue"] / sums["weeks"])
