"""Early warning: how far a customer is behind his own rhythm, and since when.

The alarm rings on the day on which the silence becomes so long that a customer who stays would have ordered before it,
but for a rare exception. How rare follows from a rate of false alarms in 13 weeks, which is the mean of all customers:
one who orders every week has 13 silences in that time, one who orders twice a year has none or one.

The false alarms are shared such that half of those who leave are found early. A customer with short gaps is found soon
even by a rare silence, and costs few false alarms. One with long gaps is found late whatever is spent, so the silence
that counts is the rarer, the longer the gaps are beyond those of most customers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.kernel.btyd import gamma_gamma_log_likelihood
from propensity.kernel.order_day import OrderDays, Recency
from propensity.kernel.rhythm import alarm_silence, log_longer
from propensity.value.minimise import minimise

QUARTER = 13.0
RAREST, COMMONEST = 1e-6, 0.5
TYPICAL = 0.4  # share of the customers whose usual gap is below the typical one
PATIENCE = 0.5  # 0: the same rarity for shorter gaps than that; 1: about the same number of days
STEEPNESS = 3.0  # power of the typical gap over longer ones that their rarity falls with
LARGEST = 100_000  # customers that the scale is computed from
SAMPLE = 30_000
DAY = 1.0 / 7.0


class Rhythm(NamedTuple):
    """Distribution of the weeks between two orders.

    Parameters
    ----------
    shape : of the gamma distribution of one customer's gaps; 1 is a Poisson process, more is regular
    q, gamma : of the gamma distribution of the customers' rates
    """

    shape: float
    q: float
    gamma: float

    def usual(self, state: Recency) -> np.ndarray:
        """Expected weeks between two orders of each customer: (N,)."""
        gaps = np.maximum(state.x, 0.0)
        return self.shape * (self.gamma + state.t_x) / (self.q + self.shape * gaps - 1.0)

    def behind(self, state: Recency) -> np.ndarray:
        """Probability that a customer who stays would have ordered again by now: (N,), 1 is far behind."""
        gaps = np.maximum(state.x, 0.0)
        silence = np.maximum(state.t_end - state.t_x, 0.0)
        return -np.expm1(log_longer(self.shape, self.q, self.gamma, gaps, state.t_x, silence))

    def level(self, usual: np.ndarray, typical: float, scale: float) -> np.ndarray:
        """Probability of the silence that is an alarm, by usual gap: (N,)."""
        ratio = typical / np.maximum(usual, DAY)
        level = np.exp(-scale * (1.0 - PATIENCE + PATIENCE * ratio)) * np.minimum(ratio, 1.0) ** STEEPNESS
        return np.clip(level, RAREST, COMMONEST)

    def scale(self, state: Recency, false_alarms: float) -> tuple[float, float]:
        """Typical gap, and the scale of `level` at which customers who stay have as many alarms in 13 weeks.

        Customers far behind count for less.
        """
        if not state.x.size:
            return 1.0, 1.0
        step = -(-state.x.size // LARGEST)
        some = Recency(*(column[::step] for column in state))
        share, usual = 1.0 - self.behind(some), self.usual(some)
        typical = weighted_quantile(usual, share, TYPICAL)
        silences, target = share * QUARTER / np.maximum(usual, DAY), -float(np.log1p(-false_alarms))
        low, high = 0.0, -float(np.log(RAREST)) / (1.0 - PATIENCE)
        for _ in range(40):
            middle = 0.5 * (low + high)
            rate = float(silences @ -np.log1p(-self.level(usual, typical, middle))) / max(float(share.sum()), 1e-300)
            low, high = (middle, high) if rate > target else (low, middle)
        return typical, 0.5 * (low + high)

    def alarm(self, state: Recency, false_alarms: float, among: Recency | None = None) -> np.ndarray:
        """Weeks of silence after which the alarm rings: (N,).

        Parameters
        ----------
        state : Recency
            Customers at a cutoff.
        false_alarms : float
            Share of customers who stay and yet have an alarm in 13 weeks, on average.
        among : Recency, optional
            Customers over whom the average is; by default those of `state`.
        """
        typical, scale = self.scale(state if among is None else among, false_alarms)
        level, gaps = self.level(self.usual(state), typical, scale), np.maximum(state.x, 0.0)
        return alarm_silence(self.shape, self.q, self.gamma, gaps, state.t_x, level)


def weighted_quantile(values: np.ndarray, weight: np.ndarray, share: float) -> float:
    """The least value with at least `share` of the weight at or below it: (N,) x 2.

    Examples
    --------
    >>> weighted_quantile(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0]), 0.5)
    2.0
    """
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(below, share * below[-1])])


def fit_rhythm(state: Recency, orders: OrderDays, cutoff: int) -> Rhythm:
    """Fit the distribution of gaps to customers with two orders or more; a vague one without any."""
    rows = np.flatnonzero(state.x >= 1)
    if not rows.size:
        return Rhythm(1.0, 2.0, max(float(np.max(state.t_end, initial=1.0)), 1.0))
    if rows.size > SAMPLE:
        rows = np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))
    gaps, mean = state.x[rows], np.maximum(state.t_x[rows] / state.x[rows], DAY)
    scale, likelihood_of = float(np.median(mean)), _likelihood(orders, cutoff, rows)

    def loss(logarithms: np.ndarray) -> float:
        if np.abs(logarithms).max() > 12:
            return np.inf
        shape, q, gamma = np.exp(logarithms)
        between = gamma_gamma_log_likelihood(np.array([shape, q + 1.0, gamma]), gaps, mean / scale)
        prior = 0.5 * float(((logarithms / 3.0) ** 2).sum())
        return float(-(between.sum() + likelihood_of(shape))) + prior

    shape, q, gamma = np.exp(minimise(loss, np.zeros(3), tolerance=1e-5))
    return Rhythm(float(shape), float(q) + 1.0, float(gamma) * scale)


def _likelihood(orders: OrderDays, cutoff: int, rows: np.ndarray):  # type: ignore[no-untyped-def]
    """How the gaps of a customer vary around their mean, given their shape: a Dirichlet distribution of shares."""
    from math import lgamma

    logs, counts = [], []
    for row in rows[:3_000]:
        days = orders.day[orders.offsets[row] : orders.offsets[row + 1]]
        gaps = np.diff(days[days < cutoff])
        if gaps.size > 1:
            logs.append(float(np.log(np.maximum(gaps, 0.5) / gaps.sum()).sum()))
            counts.append(gaps.size)
    if not counts:
        return lambda shape: 0.0
    total, number, factor = sum(logs), np.array(counts), rows.size / min(rows.size, 3_000)

    def value(shape: float) -> float:
        ends = sum(lgamma(shape * n) - n * lgamma(shape) for n in number)
        return factor * (ends + (shape - 1.0) * total)

    return value
