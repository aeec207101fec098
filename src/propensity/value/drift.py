"""What forecasts of earlier cutoffs missed, by age of the relation and by tenth, as far as it is expected to go on.

A model of closed windows lags behind a market that changes, and knows no customer older than the windows. Where windows
as long as the one asked for have closed, forecasts from what was known when they began are compared with what followed.
The differences are drawn to 0 by a normal prior: a year of a market is one draw.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TOTAL, PART, SHOCK = 0.1, 0.15, 0.1  # standard deviations of logarithms: of totals, of parts, of one window's chance
TENTHS = 10
OUTCOMES = ("active", "orders", "revenue")


class Closed(NamedTuple):
    """Forecasts of a window for N customers, and what followed.

    Parameters
    ----------
    age : (N,) years since the first order, int
    expected, observed : probability of an order or whether there was one, orders, revenue: (N,) x 3
    """

    age: np.ndarray
    expected: tuple[np.ndarray, ...]
    observed: tuple[np.ndarray, ...]


class Drift(NamedTuple):
    """Logarithms of the factors of the three outcomes.

    Parameters
    ----------
    total : (3,)
    age : (3, A) by years since the first order, on top of the total; the last one is of all older customers
    tenth : (3, `TENTHS`) by rank of the expectation, from the lowest
    weeks : length of the closed windows; a shorter window has a part of the logarithms
    """

    total: np.ndarray
    age: np.ndarray
    tenth: np.ndarray
    weeks: int

    def applied(self, values: np.ndarray, outcome: int, age: np.ndarray, weeks: float) -> np.ndarray:
        """Expectations of an outcome, moved by the drift: (N,)."""
        share, scale = min(weeks / self.weeks, 1.0), hazard(values) if outcome == 0 else values
        place = np.minimum(age, self.age.shape[1] - 1)
        scale = scale * np.exp(share * (self.total[outcome] + self.age[outcome][place]))
        moved = scale * np.exp(share * by_rank(scale, self.tenth[outcome]))
        moved *= scale.sum() / max(float(moved.sum()), 1e-300)
        return -np.expm1(-moved) if outcome == 0 else moved


def no_drift() -> Drift:
    """A drift that changes nothing."""
    return Drift(np.zeros(3), np.zeros((3, 1)), np.zeros((3, TENTHS)), 1)


def hazard(probability: np.ndarray) -> np.ndarray:
    """Cumulative hazard of an order: (N,)."""
    return -np.log1p(-np.clip(probability, 0.0, 1 - 1e-9))


def by_rank(values: np.ndarray, tenth: np.ndarray) -> np.ndarray:
    """The value of each customer's tenth, interpolated between the middles of the tenths: (N,).

    Examples
    --------
    >>> by_rank(np.array([3.0, 1.0, 2.0]), np.arange(10.0)).round(2).tolist()
    [7.83, 1.17, 4.5]
    """
    share = (_ranks(values) + 0.5) / max(values.size, 1)
    return np.interp(share, (np.arange(TENTHS) + 0.5) / TENTHS, tenth)


def fit_drift(windows: list[Closed], weeks: int) -> Drift:
    """The drift that some windows show.

    Parameters
    ----------
    windows : list of Closed
        Windows after each other.
    weeks : int
        Their length.

    Notes
    -----
    A window in which nothing was expected, as of revenue before the log has amounts, says nothing of that outcome.
    """
    ages = 1 + max(int(window.age.max(initial=0)) for window in windows)
    total, age, tenth = np.zeros(3), np.zeros((3, ages)), np.zeros((3, TENTHS))
    for i in range(3):
        known = [window for window in windows if window.expected[i].sum() > 0]
        ratios = [np.log(w.observed[i].sum() / w.expected[i].sum()) for w in known if w.observed[i].sum() > 0]
        if not ratios:
            continue
        groups = np.concatenate([window.age for window in known])
        expected, observed = (np.concatenate([w[k][i] for w in known]) for k in (1, 2))
        noise = float((observed**2).sum() / observed.sum() ** 2)
        total[i] = np.mean(ratios) * TOTAL**2 / (TOTAL**2 + SHOCK**2 / len(ratios) + noise)
        age[i] = _parts(groups, ages, expected, observed, len(known))
        moved = [w.expected[i] * np.exp(age[i][w.age]) for w in known]
        places = np.concatenate([_tenths(column) for column in moved])
        tenth[i] = _parts(places, TENTHS, np.concatenate(moved), observed, len(known))
    return Drift(total, age, tenth, weeks)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 for the lowest: (N,) int64."""
    rank = np.empty(values.size, np.int64)
    rank[np.argsort(values, kind="stable")] = np.arange(values.size)
    return rank


def _tenths(values: np.ndarray) -> np.ndarray:
    """Tenth of each customer, from 0 for the lowest: (N,) int64."""
    return _ranks(values) * TENTHS // max(values.size, 1)


def _parts(place: np.ndarray, size: int, expected: np.ndarray, observed: np.ndarray, windows: int) -> np.ndarray:
    """Logarithms of observed over expected of parts, less that of the whole, drawn to 0: (size,)."""
    sums, squares = (np.bincount(place, column, size) for column in (observed, observed**2))
    means = np.bincount(place, expected, size) * observed.sum() / expected.sum()
    unit = float((observed**2).sum() / observed.sum())  # of one event
    ratio = np.log((sums + unit) / (means + unit))
    # a part with few events has the noise of the expected number; a part without customers has a ratio of 1
    events = np.maximum(np.maximum(sums, means), 1e-9 * unit)
    noise = np.maximum(squares, means * unit) / events**2
    return ratio * PART**2 / (PART**2 + SHOCK**2 / windows + noise)
