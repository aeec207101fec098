"""The last closed window before a cutoff: which blend was best there, and how the model did."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from propensity.kernel.order_day import OrderDays, Recency, ahead, recency
from propensity.value.closed import GRID, PAST
from propensity.value.model import EVEN, WEIGHTS, Expectation, ValueModel, blend, fit
from propensity.value.parametric import MODELS, PARETO_NBD, fit_orders, fit_spend
from propensity.value.quality import auc, deciles, normalised_gini, quality
from propensity.value.season import fit_clock


def last_window(first_day: int, cutoff: int, longest: int) -> int | None:
    """Weeks of the last closed window, None where the log is too short for one."""
    usable = [weeks for weeks in GRID if weeks <= max(longest, GRID[0]) and PAST * 7 * weeks <= cutoff - first_day]
    return max(usable, default=None)


class Choice(NamedTuple):
    """What the last closed window says.

    Parameters
    ----------
    name : buy-till-you-die model of orders
    weights : of the trees, for probability, orders and revenue
    table : metrics of the candidates, for JSON; empty without a closed window
    """

    name: str
    weights: tuple[float, ...]
    table: dict[str, Any]


def choose(orders: OrderDays, first_day: int, cutoff: int, weeks: list[int], seed: int) -> Choice:
    """Choose the buy-till-you-die model and the weights of the trees on the last closed window.

    All parts are fitted on what was known when the window began. The weights minimise the log loss of the probability,
    and the Poisson deviance of orders and revenue, after each blend has the observed level: a single window says little
    about levels.
    """
    length = last_window(first_day, cutoff, max(weeks))
    if length is None:
        return Choice(PARETO_NBD, EVEN, {})
    start = cutoff - 7 * length
    state = recency(orders, start)
    row = np.flatnonzero(state.x >= 0)
    count, revenue = (column[row] for column in ahead(orders, start, cutoff))
    clock = fit_clock(orders, first_day, start)
    timed = (
        (state, float(length))
        if clock is None
        else (clock.state(state, start), float(clock.weeks(start, np.array(length))))
    )
    name, table = best_parametric(timed[0], row, count, revenue, timed[1])
    table = {"weeks": length, **table}
    model = fit(orders, first_day, start, [length], EVEN, seed, name)
    by_model, by_trees = model.components(orders, start, [length])
    if by_trees is None or not (count > 0).any():
        return Choice(name, EVEN, table)
    table["candidates"]["trees"] = quality(_first(by_trees), count, revenue)
    weights = _best(by_model, by_trees, model, count, revenue)
    blended = blend(by_model, by_trees, weights, model.amount)
    table["candidates"]["blend"] = quality(_first(blended), count, revenue)
    table["deciles"] = deciles(_first(blended)[2], revenue)
    table["weights"] = dict(zip(("active", "orders", "revenue"), weights, strict=True))
    return Choice(name, weights, table)


def best_parametric(
    state: Recency, row: np.ndarray, count: np.ndarray, revenue: np.ndarray, length: float
) -> tuple[str, dict[str, Any]]:
    """The buy-till-you-die model with the best ranking of orders in a window, and the metrics of all of them.

    Parameters
    ----------
    state : Recency
        Customers when the window began.
    row : numpy.ndarray of shape (N,), int
        Customers with an order.
    count, revenue : numpy.ndarray of shape (N,)
        What followed.
    length : float
        Weeks of the window, in the time of the states.
    """
    own, candidates, ranking = Recency(*(column[row] for column in state)), {}, {}
    spend = fit_spend(own)
    amount = np.zeros(row.size) if spend is None else spend.mean(own)
    for name in MODELS:
        active, expected = (column[:, 0] for column in fit_orders(name, own).forecast(own, np.array([length])))
        candidates[name] = quality((active, expected, expected * amount), count, revenue)
        ranking[name] = auc(count > 0, active) + normalised_gini(count, expected)  # level and shape are the trees'
    best = max(ranking, key=lambda name: ranking[name] if np.isfinite(ranking[name]) else -1.0)
    return best, {"model": best, "candidates": candidates}


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
