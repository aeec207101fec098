"""The model of value: buy-till-you-die models and trees, blended, with the level and shape of closed windows.

Customers are ranked by a blend on a logarithmic scale, whose weight the last closed window chooses. The level, and the
level within bins of the ranking, is that of the trees, which fit what followed in closed windows. Beyond the longest
closed window, orders grow with a power of time that is fitted to the trees' own curve: a hazard that falls as a power.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from propensity.kernel.order_day import OrderDays, recency
from propensity.value.closed import YEAR, ClosedWindows, Customers, Parametric, closed_windows, lengths
from propensity.value.distribution import RevenueShape, fit_shape
from propensity.value.drift import Drift, no_drift
from propensity.value.hazard import fit_network
from propensity.value.parametric import PARETO_NBD, fit_orders, fit_spend
from propensity.value.season import fit_clock, on_clock
from propensity.value.trees import fit_trees
from propensity.value.week import STATE_WEEKS

TREES, NETWORK = "trees", "network"
MODELS = (TREES,)  # learners by default

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the trees in the blend
CUSTOMERS_PER_BIN, MOST_BINS = 500, 20
TRUSTED = 2_000  # customers at which level and shape are half the trees', half the buy-till-you-die models'
LONG = 2 * YEAR  # days of a log in which the trees start from the buy-till-you-die models
CURVE_CUSTOMERS = 100_000  # that the growth beyond the longest closed window is fitted to
LEAST_GROWTH = 0.3  # exponent of a power of time that orders follow at least


class Expectation(NamedTuple):
    """Expected values of N customers and W lengths of windows: (N, W) each.

    Parameters
    ----------
    active : probability of an order
    orders : expected orders
    revenue : expected revenue, in currency
    """

    active: np.ndarray
    orders: np.ndarray
    revenue: np.ndarray


class Blend(NamedTuple):
    """How models are combined.

    Parameters
    ----------
    active, orders, revenue : weights of the trees, on the logarithmic scale
    with_orders : whether the buy-till-you-die model ranks by the probability and the expected orders together
    """

    active: float
    orders: float
    revenue: float
    with_orders: bool


EVEN = Blend(0.5, 0.5, 0.5, True)


class Learner(Protocol):
    """What learns from closed windows."""

    def expect(self, customers: Customers, weeks: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probability of an order, orders and revenue in the next `weeks`: (N, W) x 3."""

    def of_windows(
        self, orders: OrderDays, first_day: int, windows: ClosedWindows, model: Parametric
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Expectations of the rows of closed windows: (R,) x 3."""


class Levelled(NamedTuple):
    """A learner at the level of closed windows.

    Parameters
    ----------
    learner : trees or network
    levels : (len(known), 3) observed over expected active customers, orders and revenue, by length of window
    """

    learner: Learner
    levels: np.ndarray


class ValueModel(NamedTuple):
    """A fitted model.

    Parameters
    ----------
    parametric : buy-till-you-die models
    learners : by name, their mean is used; none where no window has closed, or LightGBM is not installed
    known : lengths of windows in weeks that the learners have seen
    amount : revenue of an order in closed windows, in currency
    weights : of the blend
    shape : distribution of revenue around its expectation
    first_day : of the log
    drift : what forecasts of earlier cutoffs missed
    """

    parametric: Parametric
    learners: dict[str, Levelled]
    known: tuple[int, ...]
    amount: float
    weights: Blend
    shape: RevenueShape
    first_day: int
    drift: Drift

    @property
    def longest(self) -> int:
        """Weeks of the longest closed window, 0 without one."""
        return self.known[-1] if self.learners else 0

    def components(self, orders: OrderDays, cutoff: int, weeks: list[int]) -> tuple[Expectation, Expectation | None]:
        """Expectations of the buy-till-you-die models and of the learners for customers with an order: (N, W)."""
        by_model, by_learner = self.candidates(orders, cutoff, weeks)
        return by_model, together(list(by_learner.values())) if by_learner else None

    def candidates(
        self, orders: OrderDays, cutoff: int, weeks: list[int]
    ) -> tuple[Expectation, dict[str, Expectation]]:
        """Expectations of the buy-till-you-die models and of each learner for customers with an order: (N, W)."""
        row = np.flatnonzero(recency(orders, cutoff).x >= 0)
        grid = sorted({*weeks, *self._lengths(weeks), *([STATE_WEEKS] if "network" in self.learners else [])})
        customers = Customers.of(orders, self.first_day, cutoff, row, self.parametric, grid)
        forecast = customers.forecast
        by_model = Expectation(forecast.active, forecast.orders, forecast.orders * forecast.amount[:, None])
        by_learner = {name: self._of_learner(each, customers, by_model, weeks) for name, each in self.learners.items()}
        return _columns(by_model, grid, weeks), by_learner

    def _of_learner(
        self, levelled: Levelled, customers: Customers, by_model: Expectation, weeks: list[int]
    ) -> Expectation:
        """Expectations of a learner; beyond the longest closed window they are extended."""
        some = np.arange(0, customers.row.size, -(-customers.row.size // CURVE_CUSTOMERS) or 1)
        inside, needed = self._lengths(weeks), sorted({min(w, self.longest) for w in weeks})
        further = [w for w in inside if w not in needed]
        trained = self._at_level(levelled, customers, needed)
        curve = self._at_level(levelled, customers.part(some), further).orders if further else np.empty((some.size, 0))
        columns_of_orders = np.column_stack([trained.orders[some], curve]).T  # of each length, summed pairwise
        totals = {w: column.sum() for w, column in zip([*needed, *further], columns_of_orders, strict=True)}
        own = growth_exponent(np.array(inside, float), np.array([totals[w] for w in inside]))
        grid = list(customers.grid)
        columns = [self._extended(trained, needed, by_model, grid, w, own) for w in weeks]
        return Expectation(*(np.stack([column[i] for column in columns], axis=1) for i in range(3)))

    def _at_level(self, levelled: Levelled, customers: Customers, weeks: list[int]) -> Expectation:
        """Expectations of a learner at the level of closed windows: (N, W)."""
        active, orders, revenue = levelled.learner.expect(customers, weeks)
        for k, w in enumerate(weeks):
            level = levelled.levels[self.known.index(w)] if w in self.known else np.ones(3)
            active[:, k] = shifted(active[:, k], active[:, k].sum() * level[0])
            orders[:, k] *= level[1]
            revenue[:, k] *= level[2]
        return Expectation(active, orders, revenue)

    def _lengths(self, weeks: list[int]) -> list[int]:
        """Lengths that learners are asked for: those up to the longest closed window, and more for its curve."""
        if not self.learners:
            return []
        curve = {w for w in self.known if w >= self.longest / 3} if max(weeks) > self.longest else set()
        return sorted({min(w, self.longest) for w in weeks} | curve)

    def _extended(
        self, trees: Expectation, inside: list[int], by_model: Expectation, grid: list[int], w: int, own: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A learner's expectations for one length of window: (N,) x 3."""
        k = inside.index(min(w, self.longest))
        active, orders, revenue = (column[:, k] for column in trees)
        if w > self.longest:
            growth = (w / self.longest) ** own
            orders, revenue = orders * growth, revenue * growth
            more = by_model.active[:, grid.index(w)].sum() / max(
                by_model.active[:, grid.index(self.longest)].sum(), 1e-12
            )
            before, after = (by_model.orders[:, grid.index(length)].sum() for length in (self.longest, w))
            # of the growth in orders, the part that customers bring who had none before
            share = np.log(max(more, 1.0)) / max(np.log(after / max(before, 1e-12)), 1e-12)
            active = np.maximum(shifted(active, active.sum() * growth ** min(share, 1.0)), active)
        return active, orders, revenue

    def expect(self, orders: OrderDays, cutoff: int, weeks: list[int]) -> Expectation:
        """Blended and calibrated expectations of customers with an order, rising in `weeks` (ascending): (N, W)."""
        by_model, by_trees = self.components(orders, cutoff, weeks)
        if by_trees is None:
            return by_model
        state = recency(orders, cutoff)
        age = years(state.t_end[state.x >= 0])
        blended = blend(by_model, by_trees, self.weights, self.amount)
        pairs = enumerate(blended)
        columns = [[self.drift.applied(c[:, k], i, age, w) for k, w in enumerate(weeks)] for i, c in pairs]
        return rising(*(np.stack(column, axis=1) for column in columns))


def years(weeks: np.ndarray) -> np.ndarray:
    """Full years in weeks: (N,)."""
    return (7 * weeks / YEAR).astype(np.int64)


def _columns(expectation: Expectation, grid: list[int], weeks: list[int]) -> Expectation:
    return Expectation(*(column[:, [grid.index(w) for w in weeks]] for column in expectation))


def growth_exponent(weeks: np.ndarray, totals: np.ndarray) -> float:
    """Exponent of the power of time that a curve of totals follows, at most 1: the rate a week does not rise.

    Examples
    --------
    >>> round(growth_exponent(np.array([4.0, 8.0, 16.0]), np.array([2.0, 3.0, 4.5])), 3)
    0.585
    """
    if weeks.size < 2 or totals.min() <= 0:
        return 1.0
    x, y = np.log(weeks), np.log(totals)
    slope = float(((x - x.mean()) @ (y - y.mean())) / ((x - x.mean()) @ (x - x.mean())))
    return min(max(slope, LEAST_GROWTH), 1.0)


def shifted(probability: np.ndarray, target: float) -> np.ndarray:
    """Probabilities moved by a constant on the complementary log-log scale until they sum to `target`."""
    hazard = -np.log1p(-np.clip(probability, 1e-9, 1 - 1e-9))
    target = min(target, 0.9999 * probability.size)
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if -np.expm1(-hazard * np.exp(middle)).sum() < target else (low, middle)
    return -np.expm1(-hazard * np.exp(0.5 * (low + high)))


def together(expectations: list[Expectation]) -> Expectation:
    """The mean of learners on the logarithmic scale, at the totals of the first of them: (N, W)."""
    if len(expectations) == 1:
        return expectations[0]
    active, orders, revenue = (_mean(list(parts), i == 0) for i, parts in enumerate(zip(*expectations, strict=True)))
    target = expectations[0]
    for k in range(active.shape[1]):
        active[:, k] = shifted(active[:, k], target.active[:, k].sum())
    orders *= target.orders.sum(axis=0) / np.maximum(orders.sum(axis=0), 1e-300)
    revenue *= target.revenue.sum(axis=0) / np.maximum(revenue.sum(axis=0), 1e-300)
    return Expectation(active, orders, revenue)


def _mean(columns: list[np.ndarray], probability: bool) -> np.ndarray:
    """The mean of one or two columns on the logarithmic scale, of hazards where the values are probabilities."""
    return columns[0] if len(columns) == 1 else mixed(columns[0], columns[1], 0.5, probability)


def blend(by_model: Expectation, by_trees: Expectation, weights: Blend, amount: float) -> Expectation:
    """Rank by the blend, and take level and shape from the trees, the more so the more customers there are."""
    columns = [np.empty_like(by_trees.active) for _ in range(3)]
    trust = by_trees.active.shape[0] / (by_trees.active.shape[0] + TRUSTED)
    for w in range(by_trees.active.shape[1]):
        for i in range(3):
            one, other = by_model[i][:, w], by_trees[i][:, w]
            ranking = _with_orders(one, by_model.orders[:, w]) if i == 0 and weights.with_orders else one
            values = mixed(ranking, other, weights[:3][i], probability=i == 0)
            shape = in_shape(values, other)
            total = one.sum() ** (1 - trust) * other.sum() ** trust
            columns[i][:, w] = mixed(values, shape, trust, i == 0)
            columns[i][:, w] *= total / max(columns[i][:, w].sum(), 1e-12)
        if amount > 0 and columns[2][:, w].sum() > 0:  # two estimates of the same activity, each of half the weight
            ratio = np.sqrt(columns[1][:, w].sum() * amount / columns[2][:, w].sum())
            columns[1][:, w], columns[2][:, w] = columns[1][:, w] / ratio, columns[2][:, w] * ratio
    return rising(*columns)


def rising(active: np.ndarray, orders: np.ndarray, revenue: np.ndarray) -> Expectation:
    """Expectations that do not fall with the length of the window, with at least as many orders as probability."""
    active, orders, revenue = (np.maximum.accumulate(column, axis=1) for column in (active, orders, revenue))
    active = np.clip(active, 0.0, 1.0 - 1e-9)
    return Expectation(active, np.maximum(orders, active), revenue)


def _with_orders(active: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Geometric mean of the hazard of an order and expected orders, as a probability, to rank by.

    Among customers who are equally likely to order, those who order often are less likely to have left than the model
    of a constant rate until drop-out has it.
    """
    return -np.expm1(-np.sqrt(-np.log1p(-np.clip(active, 1e-12, 1 - 1e-9)) * np.maximum(orders, 1e-12)))


def mixed(one: np.ndarray, other: np.ndarray, weight: float, probability: bool) -> np.ndarray:
    """A weighted mean on the logarithmic scale, of hazards where the values are probabilities."""
    if probability:
        hazards = [-np.log1p(-np.clip(column, 1e-9, 1 - 1e-9)) for column in (one, other)]
        return -np.expm1(-np.exp((1 - weight) * np.log(hazards[0]) + weight * np.log(hazards[1])))
    return np.exp((1 - weight) * np.log(np.maximum(one, 1e-12)) + weight * np.log(np.maximum(other, 1e-12)))


def in_shape(values: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Move values, without a change of their ranking, to what `level` is in bins of it: (N,) x 2 -> (N,)."""
    bins = int(np.clip(values.size // CUSTOMERS_PER_BIN, 1, MOST_BINS))
    order = np.argsort(values, kind="stable")
    parts = np.array_split(order, bins)
    means = [(max(values[part].mean(), 1e-12), max(level[part].mean(), 1e-12)) for part in parts]
    place, target = (np.log(column) for column in zip(*means, strict=True))
    factor = np.maximum.accumulate(target) - place
    result = values * np.exp(np.interp(np.log(np.maximum(values, 1e-12)), place, factor))
    return result * (level.sum() / max(result.sum(), 1e-12))


def fit_parametric(orders: OrderDays, first_day: int, cutoff: int, name: str = PARETO_NBD) -> Parametric:
    """A buy-till-you-die model of orders, on the clock of the season, and Gamma-Gamma."""
    state, clock = recency(orders, cutoff), fit_clock(orders, first_day, cutoff)
    timed, _ = on_clock(clock, state, cutoff, np.zeros(0))
    return Parametric(fit_orders(name, timed), fit_spend(state), clock)


def fit(
    orders: OrderDays, first_day: int, cutoff: int, weeks: list[int], weights: Blend, seed: int,
    name: str = PARETO_NBD, drift: Drift | None = None, models: Sequence[str] = MODELS,
) -> ValueModel:  # fmt: skip
    """Fit a model of value on orders before the cutoff.

    Parameters
    ----------
    orders : OrderDays
        Orders; those from the cutoff on are not read.
    first_day, cutoff : int
        Days since 1970-01-01.
    weeks : list of int
        Ascending lengths of windows that are wanted.
    weights : Blend
        Weights of the blend.
    seed : int
        Seed of samples and trees.
    name : str
        Buy-till-you-die model of orders.
    drift : Drift, optional
        What forecasts of earlier cutoffs missed.
    models : sequence of str
        Learners whose mean is used: `TREES`, `NETWORK`.
    """
    parametric = fit_parametric(orders, first_day, cutoff, name)
    known = lengths(first_day, cutoff, max(weeks))
    windows = closed_windows(orders, first_day, cutoff, known, parametric, seed) if known else None
    learners = _learners(models, orders, first_day, cutoff, windows, parametric, seed) if windows is not None else {}
    if windows is None or not learners:
        empty = np.zeros(0)
        shape = fit_shape(empty, empty, empty)
        return ValueModel(parametric, {}, (), 0.0, weights, shape, first_day, no_drift())
    expected = {name: each.of_windows(orders, first_day, windows, parametric) for name, each in learners.items()}
    levelled = {
        name: Levelled(each, np.stack([_level(windows, expected[name], windows.weeks == w) for w in known]))
        for name, each in learners.items()
    }
    active, count, revenue = (_mean([own[i] for own in expected.values()], i == 0) for i in range(3))
    bought = windows.orders > 0
    shape = fit_shape(windows.revenue[bought] / (revenue / active)[bought].clip(1e-9), (count / active)[bought],
                      windows.weight[bought])  # fmt: skip
    amount = float(windows.weight @ windows.revenue) / float(windows.weight @ windows.orders)
    return ValueModel(parametric, levelled, tuple(known), amount, weights, shape, first_day, drift or no_drift())


def _learners(
    models: Sequence[str], orders: OrderDays, first_day: int, cutoff: int, windows: ClosedWindows, model: Parametric,
    seed: int,
) -> dict[str, Learner]:  # fmt: skip
    """The learners of some names, in this order, that closed windows and the installed packages allow."""
    fitted: dict[str, Callable[[], Learner | None]] = {
        TREES: lambda: fit_trees(windows, seed, cutoff - first_day >= LONG),
        NETWORK: lambda: fit_network(orders, first_day, cutoff, int(windows.weeks.max()), model, seed),
    }
    learners = {name: fitted[name]() for name in models}
    return {name: each for name, each in learners.items() if each is not None}


def _level(windows: ClosedWindows, expected: tuple[np.ndarray, ...], rows: np.ndarray) -> np.ndarray:
    """Observed over expected probability, orders and revenue in some rows: (3,)."""
    weight, observed = windows.weight[rows], (windows.orders > 0, windows.orders, windows.revenue)
    pairs = [(weight @ o[rows], weight @ e[rows]) for o, e in zip(observed, expected, strict=True)]
    return np.array([o / e if o > 0 and e > 0 else 1.0 for o, e in pairs])
