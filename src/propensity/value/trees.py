"""LightGBM on closed windows: probability of an order, number of orders and revenue of the next weeks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from propensity.value.closed import ClosedWindows

SETTINGS = {
    "num_leaves": 15, "learning_rate": 0.06, "min_child_samples": 150, "lambda_l2": 10.0, "max_bin": 127,
    "poisson_max_delta_step": 0.01,
    "verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip
ROUNDS = 110
WEEKS_COLUMN = 20  # of `propensity.value.closed.inputs`


class Trees(NamedTuple):
    """Boosters of the three outcomes with the rates a week from which they start.

    Parameters
    ----------
    active, orders, revenue : boosters; revenue is None for a log without amounts
    rate, money : orders and revenue of a customer and week
    """

    active: Any
    orders: Any
    revenue: Any
    rate: float
    money: float

    def predict(self, table: np.ndarray, weeks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probability of an order, orders, and revenue, for rows of inputs and lengths of windows: (R,) x 3."""
        active = _start(self.rate, weeks) + self.active.predict(table, raw_score=True)
        orders = self.rate * weeks * np.exp(self.orders.predict(table, raw_score=True))
        if self.revenue is None:
            return 1 / (1 + np.exp(-active)), orders, np.zeros(weeks.size)
        revenue = self.money * weeks * np.exp(self.revenue.predict(table, raw_score=True))
        return 1 / (1 + np.exp(-active)), orders, revenue


def _start(rate: float, weeks: np.ndarray) -> np.ndarray:
    """Log odds of an order if all customers ordered at the same rate."""
    silent = rate * weeks
    return np.log(np.maximum(np.expm1(np.minimum(silent, 5.0)), 1e-9))


def fit_trees(windows: ClosedWindows, seed: int) -> Trees | None:
    """Fit the three boosters; None without LightGBM or where nothing was bought in any window."""
    try:
        import lightgbm as lgb
    except ImportError:
        return None
    weeks, total = windows.weeks, float(windows.weight @ windows.weeks)
    rate, money = (float(windows.weight @ column) / total for column in (windows.orders, windows.revenue))
    bought = windows.orders > 0
    if not bought.any() or bought.all():
        return None

    def booster(objective: dict[str, Any], label: np.ndarray, start: np.ndarray) -> Any:
        data = lgb.Dataset(windows.inputs, label, weight=windows.weight, init_score=start, params={"verbose": -1})
        return lgb.train(SETTINGS | objective | {"seed": seed}, data, ROUNDS)

    rising = [int(column == WEEKS_COLUMN) for column in range(windows.inputs.shape[1])]
    active = booster({"objective": "binary", "monotone_constraints": rising}, bought.astype(float), _start(rate, weeks))
    orders = booster({"objective": "poisson"}, windows.orders, np.log(rate * weeks))
    revenue = None
    if money > 0:
        revenue = booster({"objective": "poisson"}, windows.revenue / money, np.log(weeks))  # unbiased, unlike Tweedie
    return Trees(active, orders, revenue, rate, money)
