"""The last closed window before a cutoff: which blend was best there, and how the model did."""

from __future__ import annotations

from typing import Any

import numpy as np

from propensity.kernel.order_day import OrderDays, ahead, recency
from propensity.value.closed import GRID
from propensity.value.model import EVEN, WEIGHTS, Expectation, ValueModel, blend, fit
from propensity.value.quality import auc, quality

PAST = 3  # the log before the last closed window is at least this many windows long, less one


def last_window(first_day: int, cutoff: int, longest: int) -> int | None:
    """Weeks of the last closed window, None where the log is too short for one."""
    usable = [weeks for weeks in GRID if weeks <= max(longest, GRID[0]) and PAST * 7 * weeks <= cutoff - first_day]
    return max(usable, default=None)


def choose(
    orders: OrderDays, first_day: int, cutoff: int, weeks: list[int], seed: int
) -> tuple[tuple[float, ...], dict[str, Any]]:
    """Weights of the trees for probability, orders and revenue, and the table of the last closed window.

    Both parts are fitted on what was known when the window began. The weights minimise the log loss of the probability,
    and the Poisson deviance of orders and revenue, after each blend has the observed level: a single window says little
    about levels.
    """
    length = last_window(first_day, cutoff, max(weeks))
    if length is None:
        return EVEN, {}
    start = cutoff - 7 * length
    model = fit(orders, first_day, start, [length], EVEN, seed)
    by_model, by_trees = model.components(orders, start, [length])
    row = np.flatnonzero(recency(orders, start).x >= 0)
    count, revenue = (column[row] for column in ahead(orders, start, cutoff))
    table: dict[str, Any] = {"weeks": length, "model": model.parametric.orders.name, "candidates": {}}
    table["candidates"]["parametric"] = quality(_first(by_model), count, revenue)
    if by_trees is None or not (count > 0).any():
        return EVEN, table
    table["candidates"]["trees"] = quality(_first(by_trees), count, revenue)
    weights = _best(by_model, by_trees, model, count, revenue)
    blended = blend(by_model, by_trees, weights, model.amount)
    table["candidates"]["blend"] = quality(_first(blended), count, revenue)
    table["weights"] = dict(zip(("active", "orders", "revenue"), weights, strict=True))
    return weights, table


def _first(expectation: Expectation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return expectation.active[:, 0], expectation.orders[:, 0], expectation.revenue[:, 0]


def _best(
    by_model: Expectation, by_trees: Expectation, model: ValueModel, count: np.ndarray, revenue: np.ndarray
) -> tuple[float, ...]:
    losses = []
    for weight in WEIGHTS:
        values = blend(by_model, by_trees, (weight,) * 3, model.amount)
        losses.append((-auc(count > 0, values.active[:, 0]), _deviance(values.orders[:, 0], count),
                       _deviance(values.revenue[:, 0], revenue)))  # fmt: skip
    # Half stays where another weight is better by less than a thousandth: the window is one draw.
    best = []
    for column in np.array(losses).T:
        least = float(column.min())
        even = float(column[WEIGHTS.index(0.5)])
        best.append(0.5 if even - least < 1e-3 * abs(least) else WEIGHTS[int(column.argmin())])
    return tuple(best)


def _deviance(expected: np.ndarray, observed: np.ndarray) -> float:
    """Poisson deviance up to a constant, with expectations that sum to what was observed."""
    if observed.sum() <= 0:
        return 0.0
    expected = np.maximum(expected * observed.sum() / max(expected.sum(), 1e-12), 1e-12)
    return float((expected - observed * np.log(expected)).sum() / observed.sum())
