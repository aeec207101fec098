"""Qini coefficient of a ranking with its bootstrap interval, and p-values against other gains.

Source: Radcliffe, Direct Marketing Analytics Journal 2007.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.kernel.qini import qini_and_auuc
from propensity.kernel.rank import falling


class Ranking(NamedTuple):
    """Outcomes (n,), treatment (n,) bool and weights (n,) of one treatment arm and the control.

    `unit` (n,) is the customer of each row where customers have several: they are resampled and ordered together.
    """

    y: np.ndarray
    treated: np.ndarray
    weight: np.ndarray
    unit: np.ndarray | None = None

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Outcomes, treatment and weights."""
        return self.y, self.treated, self.weight

    def resampled(self, rng: np.random.Generator) -> np.ndarray:
        """(n,) weights of a Poisson bootstrap over customers."""
        if self.unit is None:
            return self.weight * rng.poisson(1.0, self.weight.size)
        return np.asarray(self.weight * rng.poisson(1.0, int(self.unit.max()) + 1)[self.unit])


class Qini(NamedTuple):
    """Coefficient per treated customer with its 95 % interval; area under the uplift curve."""

    qini: float
    low: float
    high: float
    auuc: float


def qini(ranking: Ranking, score: np.ndarray, resamples: int, seed: int) -> Qini:
    """Qini coefficient: mean gain per treated customer of a ranking over a random one, over all shares contacted.

    Parameters
    ----------
    ranking : Ranking
        n customers.
    score : np.ndarray
        (n,) predicted uplift; equal scores are one step.
    resamples : int
        Poisson bootstrap resamples of customers; 0 gives no interval.
    seed : int
        Of the bootstrap.

    Examples
    --------
    >>> ranking = Ranking(np.array([1.0, 0, 0, 0]), np.array([True, False, True, False]), np.ones(4))
    >>> qini(ranking, np.array([2.0, 2, 1, 1]), 0, 0).qini, qini(ranking, np.zeros(4), 0, 0).qini
    (0.125, 0.0)
    """
    order = falling(score)
    value, auuc = qini_and_auuc(order, score, *ranking.arrays)
    rng = np.random.default_rng(seed)
    draws = np.empty(resamples)
    for k in range(resamples):
        weight = ranking.resampled(rng)
        draws[k] = qini_and_auuc(order, score, ranking.y, ranking.treated, weight)[0]
    low, high = np.nanquantile(draws, (0.025, 0.975)) if resamples else (np.nan, np.nan)
    return Qini(float(value), float(low), float(high), float(auuc))


def paired_difference(
    ranking: Ranking, one: np.ndarray, two: np.ndarray, resamples: int, seed: int
) -> tuple[float, float, float]:
    """Qini coefficient of one ranking minus another, with its 95 % interval by a paired bootstrap over customers.

    Parameters
    ----------
    ranking : Ranking
        n customers.
    one, two : np.ndarray
        (n,) predicted uplift.
    resamples, seed : int
        Poisson bootstrap resamples, and their seed.
    """
    orders = [(falling(score), score) for score in (one, two)]

    def gain(weight: np.ndarray) -> float:
        first, second = (qini_and_auuc(*each, ranking.y, ranking.treated, weight)[0] for each in orders)
        return float(first - second)

    rng = np.random.default_rng(seed)
    draws = [gain(ranking.resampled(rng)) for _ in range(resamples)]
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return gain(ranking.weight), float(low), float(high)


def p_against(value: float, null: np.ndarray) -> float:
    """One-sided p-value: share of random orderings that are at least as good, the observed one included.

    Examples
    --------
    >>> p_against(0.5, np.array([0.0, 0.1, 0.6])), p_against(1.0, np.array([0.0, 0.1, 0.6]))
    (0.5, 0.25)
    """
    return float(1 + null.size - np.searchsorted(null, value, "left")) / (null.size + 1)
