"""The last closed window before a cutoff: which learners and which blend were best there, and how the model did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from propensity.kernel.order_day import OrderDays, Recency, ahead, recency
from propensity.value.closed import GRID, PAST
from propensity.value.drift import OUTCOMES, Closed, Drift, fit_drift
from propensity.value.model import (
    EVEN,
    LONG,
    WEIGHTS,
    Blend,
    Expectation,
    ValueModel,
    blend,
    fit,
    together,
    years,
)
from propensity.value.parametric import MODELS, PARETO_NBD, fit_orders, fit_spend
from propensity.value.quality import auc, deciles, normalised_gini, quality
from propensity.value.question import of_rows
from propensity.value.season import fit_clock, on_clock

FOLDS = 20  # of the customers, for the noise of a loss
CUSTOMERS = 100_000  # a sample that the choice is made on
WINDOWS = 2  # closed windows after each other that a drift is the mean of


def last_window(first_day: int, cutoff: int, longest: int) -> int | None:
    """Weeks of the last closed window, None where the log is too short for one."""
    usable = [weeks for weeks in GRID if weeks <= max(longest, GRID[0]) and PAST * 7 * weeks <= cutoff - first_day]
    return max(usable, default=None)


class Choice(NamedTuple):
    """What the last closed window says.

    Parameters
    ----------
    name : buy-till-you-die model of orders
    weights : of the blend
    table : metrics of the candidates, for JSON; empty without a closed window
    learners : whose mean is used
    drift : what forecasts of earlier cutoffs missed; None where that is not known
    """

    name: str
    weights: Blend
    table: dict[str, Any]
    learners: tuple[str, ...]
    drift: Drift | None = None


class _Window(NamedTuple):
    """State of all customers when a window began, the N with an order before it (`row`), and what these did in it."""

    state: Recency
    row: np.ndarray
    orders: np.ndarray
    revenue: np.ndarray

    def compared(self, expected: Expectation) -> Closed:
        """Expectations of one length of window beside what followed."""
        age = years(self.state.t_end[self.row])
        return Closed(age, _first(expected), (self.orders > 0, self.orders, self.revenue))


def _window(orders: OrderDays, start: int, end: int) -> _Window:
    state = recency(orders, start)
    row = np.flatnonzero(state.x >= 0)
    count, revenue = (column[row] for column in ahead(orders, start, end))
    return _Window(state, row, count, revenue)


def choose(
    orders: OrderDays, first_day: int, cutoff: int, weeks: list[int], seed: int, models: Sequence[str]
) -> Choice:
    """Choose the buy-till-you-die model, the learners and their weights on the last closed window.

    All parts are fitted on what was known when the window began. The weights maximise the AUC of the probability and
    minimise the Poisson deviance of orders and revenue at the observed level: a single window says little about levels.
    Halves, and the first of the learners `models` alone, stay unless others are better by more than a standard error
    over folds of the customers.
    """
    length, first = last_window(first_day, cutoff, max(weeks)), tuple(models[:1])
    if length is None:
        return Choice(PARETO_NBD, EVEN, {}, first)
    start, orders = cutoff - 7 * length, _sample(orders, seed)
    window = _window(orders, start, cutoff)
    row, count, revenue = window.row, window.orders, window.revenue
    timed, weeks_on_clock = on_clock(fit_clock(orders, first_day, start), window.state, start, np.array([length]))
    name, table = best_parametric(timed, row, count, revenue, float(weeks_on_clock[0]))
    table = {"weeks": length, **table}
    model = fit(orders, first_day, start, [length], EVEN, seed, name, models=models)
    by_model, by_learner = model.candidates(orders, start, [length])
    if not by_learner or not (count > 0).any():
        return Choice(name, EVEN, table, first)
    for learner, expected in by_learner.items():
        table["candidates"][learner] = quality(_first(expected), count, revenue)
    learners = _best_learners(by_model, by_learner, model, count, revenue)
    by_learners = together([by_learner[learner] for learner in learners])
    weights = _best(by_model, by_learners, model, count, revenue)
    blended = blend(by_model, by_learners, weights, model.amount)
    table["candidates"]["blend"] = quality(_first(blended), count, revenue)
    table["learners"] = list(learners)
    table["deciles"] = deciles(_first(blended)[2], revenue)
    table["weights"] = weights._asdict()
    drift = None
    if cutoff - first_day >= LONG:
        closed = [window.compared(blended)]
        for earlier in (start - 7 * length * k for k in range(1, WINDOWS)):
            if last_window(first_day, earlier + 7 * length, length) == length:
                closed.append(_forecast(orders, first_day, earlier, length, weights, seed, name, learners))
        drift = fit_drift(closed, length)
        table["drift"] = dict(zip(OUTCOMES, drift.total.tolist(), strict=True))
    return Choice(name, weights, table, learners, drift)


def _sample(orders: OrderDays, seed: int) -> OrderDays:
    """The orders of at most `CUSTOMERS` customers."""
    number = orders.offsets.size - 1
    if number <= CUSTOMERS:
        return orders
    return of_rows(orders, np.sort(np.random.default_rng(seed).choice(number, CUSTOMERS, replace=False)))


def _forecast(
    orders: OrderDays, first_day: int, start: int, length: int, weights: Blend, seed: int, name: str,
    learners: Sequence[str],
) -> Closed:  # fmt: skip
    """The forecast of a window from what was known when it began, and what followed."""
    window = _window(orders, start, start + 7 * length)
    model = fit(orders, first_day, start, [length], weights, seed, name, models=learners)
    return window.compared(model.expect(orders, start, [length]))


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


def _best_learners(
    by_model: Expectation, by_learner: dict[str, Expectation], model: ValueModel, count: np.ndarray,
    revenue: np.ndarray,
) -> tuple[str, ...]:  # fmt: skip
    """A learner or the mean of all, of the least sum of losses in an even blend; the first one within the noise."""
    candidates = list(dict.fromkeys([*((name,) for name in by_learner), tuple(by_learner)]))
    means = [together([by_learner[name] for name in names]) for names in candidates]
    losses = np.array([_losses(blend(by_model, each, EVEN, model.amount), count, revenue) for each in means])
    return candidates[_within_noise(losses.sum(axis=2), 0)]


def _best(
    by_model: Expectation, by_learners: Expectation, model: ValueModel, count: np.ndarray, revenue: np.ndarray
) -> Blend:
    """The blend of the least losses. `EVEN` stays where no other is better by more than a standard error."""
    weights = [Blend(weight, weight, weight, orders) for orders in (True, False) for weight in WEIGHTS]
    rows = [_losses(blend(by_model, by_learners, each, model.amount), count, revenue) for each in weights]
    losses = np.array(rows)  # (blends, folds, 3)
    best = [weights[_within_noise(losses[:, :, i], weights.index(EVEN))] for i in range(3)]
    return Blend(best[0].active, best[1].orders, best[2].revenue, best[0].with_orders)


def _losses(expected: Expectation, count: np.ndarray, revenue: np.ndarray) -> list[tuple[float, float, float]]:
    """Losses of the three outcomes in each fold of the customers."""
    active, orders, money = _first(expected)
    folds = [np.arange(k, count.size, FOLDS) for k in range(min(FOLDS, count.size))]
    return [(-auc(count[f] > 0, active[f]), _deviance(orders[f], count[f]), _deviance(money[f], revenue[f]))
            for f in folds]  # fmt: skip


def _within_noise(losses: np.ndarray, default: int) -> int:
    """The place of the least mean loss, or the default if that is within a standard error: (C, F).

    Examples
    --------
    >>> _within_noise(np.array([[2.0, 3.0, 4.0], [1.0, 2.1, 3.0]]), 0)
    1
    >>> _within_noise(np.array([[2.0, 3.0, 4.0], [1.0, 4.0, 3.9]]), 0)
    0
    """
    losses = losses[:, np.isfinite(losses).all(axis=0)]
    if losses.shape[1] < 2:
        return default
    least = int(losses.mean(axis=1).argmin())
    gain = losses[default] - losses[least]
    return least if gain.mean() > gain.std(ddof=1) / np.sqrt(gain.size) else default


def _deviance(expected: np.ndarray, observed: np.ndarray) -> float:
    """Poisson deviance up to a constant, with expectations that sum to what was observed."""
    if observed.sum() <= 0:
        return 0.0
    expected = np.maximum(expected * observed.sum() / max(expected.sum(), 1e-12), 1e-12)
    return float((expected - observed * np.log(expected)).sum() / observed.sum())
