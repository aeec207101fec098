"""The distribution of a customer's revenue: mass at zero, and quantiles of a mixture that closed windows give.

With an order, revenue is its expectation times a factor. The factor's distribution is that of closed windows among
customers with similar expected orders, so its tail ends at the largest factor seen: no single order of a size that
the log has never seen moves a quantile.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEVELS = np.linspace(0.0025, 0.9975, 200)
GROUPS = 6  # of expected orders of a customer with an order
LEAST = 200  # customers with an order in a group


class RevenueShape(NamedTuple):
    """Quantiles of revenue over its expectation, among customers with an order.

    Parameters
    ----------
    edges : (G - 1,) expected orders that separate the groups
    factor : (G, Q) quantiles at `LEVELS`
    """

    edges: np.ndarray
    factor: np.ndarray

    def group(self, orders: np.ndarray) -> np.ndarray:
        """The group of expected orders of a customer with an order."""
        return np.searchsorted(self.edges, orders, side="right")

    def quantile(self, level: float, active: np.ndarray, orders: np.ndarray, revenue: np.ndarray) -> np.ndarray:
        """Quantile of the revenue of customers, given their expectations: (N,) x 3 -> (N,)."""
        if not revenue.size:
            return np.zeros(0)
        inside = (level - (1.0 - active)) / np.maximum(active, 1e-12)
        place, result = self.group(orders / np.maximum(active, 1e-12)), np.zeros(revenue.size)
        for g in range(self.factor.shape[0]):
            rows = (place == g) & (inside > 0)
            result[rows] = np.interp(inside[rows], LEVELS, self.factor[g])
        return result * revenue / np.maximum(active, 1e-12)

    def rank(
        self, observed: np.ndarray, active: np.ndarray, orders: np.ndarray, revenue: np.ndarray, seed: int
    ) -> np.ndarray:
        """Randomised probability integral transform of observed revenues: uniform if the distribution is right.

        Notes
        -----
        Czado, Gneiting and Held 2009: at a mass, a number between both sides of the jump is drawn.
        """
        draw = np.random.default_rng(seed).random(observed.size)
        mean = revenue / np.maximum(active, 1e-12)
        factor, place = observed / np.maximum(mean, 1e-12), self.group(orders / np.maximum(active, 1e-12))
        share = np.empty(observed.size)
        for g in range(self.factor.shape[0]):
            rows = place == g
            low = np.interp(factor[rows] * (1 - 1e-9), self.factor[g], LEVELS, left=0.0, right=1.0)
            share[rows] = low
        return np.where(observed > 0, 1.0 - active + active * share, draw * (1.0 - active))


def fit_shape(factor: np.ndarray, orders: np.ndarray, weight: np.ndarray) -> RevenueShape:
    """Quantiles of factors in groups of expected orders; lognormal with a spread of 1 without enough of them."""
    count = int(np.clip(factor.size // LEAST, 0, GROUPS))
    if count == 0:
        from statistics import NormalDist

        normal = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
        return RevenueShape(np.zeros(0), np.exp(normal - 0.5)[None, :])
    edges = np.unique(np.quantile(orders, np.linspace(0, 1, count + 1)[1:-1], method="lower"))
    edges = edges[edges > orders.min()]  # no group is empty
    place = np.searchsorted(edges, orders, side="right")
    rows = [_quantiles(factor[place == g], weight[place == g]) for g in range(edges.size + 1)]
    return RevenueShape(edges, np.stack(rows))


def _quantiles(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted quantiles at `LEVELS`, of values scaled to a mean of 1."""
    order = np.argsort(values, kind="stable")
    values, weight = values[order], weight[order]
    below = (np.cumsum(weight) - 0.5 * weight) / weight.sum()
    mean = float(values @ weight) / float(weight.sum())
    return np.interp(LEVELS, below, values / max(mean, 1e-12))
