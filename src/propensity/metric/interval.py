"""Uncertainty of a metric: 95 % intervals from a paired bootstrap over customers, and the verdict they give.

The interval covers the sampling of customers, not of weeks: read the sign at every cutoff as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from propensity.errors import DataError

POWER = 1.96 + 0.84  # standard errors of an effect that a 95 % interval detects with power 0.8


class Interval(NamedTuple):
    """A point estimate and the ends of its interval."""

    value: float
    low: float
    high: float


def resample_weights(customers: Sequence[np.ndarray], resamples: int, seed: int) -> list[np.ndarray]:
    """Bootstrap weights of each cutoff's customers.

    Resamples are multinomial over the union of all cutoffs' customers, so that a customer has the same weight at every
    cutoff. Two models measured with these weights are compared in pairs.

    Parameters
    ----------
    customers : sequence of arrays (N,)
        Customer ids of each cutoff.
    resamples : int
        Number of resamples.
    seed : int
        Of the random generator.

    Returns
    -------
    list of arrays (N, 1 + resamples), uint8
        A column of ones, then how often each resample holds each customer.

    Raises
    ------
    DataError
        For a negative number of resamples.

    Notes
    -----
    Efron, Annals of Statistics 1979.
    """
    if resamples < 0:
        raise DataError(f"resamples is {resamples}; ask for 0 or more")
    union = np.unique(np.concatenate([np.asarray(ids) for ids in customers]))
    random = np.random.default_rng(seed)
    weight = np.ones((union.size, 1 + resamples), dtype=np.uint8)  # a draw of mean 1 never comes near 256
    chance = np.full(union.size, 1.0 / union.size)
    for column in range(1, 1 + resamples):
        weight[:, column] = random.multinomial(union.size, chance)
    return [weight[np.searchsorted(union, ids)] for ids in customers]


def bootstrap_interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Point estimate and the percentiles of the resamples, recentred on it: (1 + resamples,) -> Interval.

    A resample holds some customers twice, which biases some metrics (average precision and calibration error upwards).
    Recentring keeps the spread and removes the bias. Resamples that are not finite are left out; with none left the
    ends are NaN.

    >>> bootstrap_interval(np.array([10., 1., 2., 3.]), level=0.5)
    Interval(value=10.0, low=9.5, high=10.5)
    """
    value, resampled = float(values[0]), values[1:][np.isfinite(values[1:])]
    if resampled.size == 0:
        return Interval(value, float("nan"), float("nan"))
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(resampled - resampled.mean() + value, [tail, 100.0 - tail])
    return Interval(value, float(low), float(high))


def minimum_detectable_effect(values: np.ndarray) -> float:
    """Minimum detectable effect at level 0.05 and power 0.8: (1 + resamples,) -> float.

    2.8 standard deviations of the resamples; NaN where fewer than two are finite. Source: Cohen, Psychological Bulletin
    1992.

    >>> round(minimum_detectable_effect(np.array([0., 1., -1.])), 2)
    3.96
    """
    resampled = values[1:][np.isfinite(values[1:])]
    return POWER * float(resampled.std(ddof=1)) if resampled.size > 1 else float("nan")


def verdict(difference: Interval, lower_is_better: bool = False) -> str:
    """`win` or `loss` where the whole interval of (ours - theirs) lies on one side of zero, else `tie`.

    >>> verdict(Interval(.2, .1, .3)), verdict(Interval(.2, .1, .3), lower_is_better=True)
    ('win', 'loss')
    """
    if difference.low > 0.0:
        return "loss" if lower_is_better else "win"
    if difference.high < 0.0:
        return "win" if lower_is_better else "loss"
    return "tie"
