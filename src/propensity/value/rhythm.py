"""Early warning: how far a customer is behind his own rhythm, and since when.

The alarm rings on the day on which the silence becomes so long that a customer who stays would have ordered before it,
but for a rare exception. How rare follows from a rate of false alarms in 13 weeks, which is the mean of all customers:
one who orders every week has 13 silences in that time, one who orders twice a year has none or one. Frequent customers
get more of the false alarms, because their alarms come early.
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
SHARING = 0.3  # 1: each customer has the same rate of false alarms; 0: each silence has
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

    def scale(self, state: Recency, false_alarms: float) -> float:
        """How rare a silence has to be where the usual gap is a quarter; customers far behind count for less."""
        share, usual = 1.0 - self.behind(state), np.maximum(self.usual(state), DAY) / QUARTER
        mean = float(share @ usual ** (SHARING - 1.0)) / max(float(share.sum()), 1e-300)
        return -float(np.log1p(-false_alarms)) / max(mean, 1e-300)

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
        scale = self.scale(state if among is None else among, false_alarms)
        level = -np.expm1(-scale * (np.maximum(self.usual(state), DAY) / QUARTER) ** SHARING)
        gaps = np.maximum(state.x, 0.0)
        return alarm_silence(self.shape, self.q, self.gamma, gaps, state.t_x, np.clip(level, RAREST, COMMONEST))


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
