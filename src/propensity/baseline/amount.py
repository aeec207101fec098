"""Amounts of buyers: caps that keep a single purchase from moving the forecasts of others, and calibration in total."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WIDE = 3.5  # standard deviations of the log ratio to the usual amount
NARROWEST = 0.5  # standard deviation that is assumed at least, where most ratios are equal
QUANTILE = 0.99  # of the ratios, which is never capped
DRIFT = 0.1  # standard deviation of the log of expected over observed revenue from one window to the next


SMALLEST = 0.01  # usual amount, in units of money


def in_units(amount: np.ndarray, unit: float) -> np.ndarray:
    """Amounts in units of money, at least a hundredth, so that they have a logarithm.

    Parameters
    ----------
    amount : np.ndarray
        Any shape, in the log's currency.
    unit : float
        Revenue that counts as 1, in the log's currency.

    Examples
    --------
    >>> in_units(np.array([0.0, 5.0]), 10.0)
    array([0.01, 0.5 ])
    """
    return np.maximum(amount / unit, SMALLEST)


class AmountCap(NamedTuple):
    """The largest amount that a model learns from, as a multiple of what is usual for the pair.

    Attributes
    ----------
    ratio : float
        Multiple of the usual amount; infinite where there are no purchases.
    fallback : float
        Usual amount of a pair without one, in the log's currency.
    """

    ratio: float
    fallback: float

    def of(self, usual: np.ndarray) -> np.ndarray:
        """Caps of pairs with the usual amounts (K,), in the log's currency: (K,)."""
        return self.ratio * np.where(usual > 0, usual, self.fallback)


def amount_caps(revenue: np.ndarray, usual: np.ndarray) -> AmountCap:
    """The cap for a sample of purchases.

    Parameters
    ----------
    revenue : np.ndarray
        (K,) spend of the buyers in the label window, in the log's currency.
    usual : np.ndarray
        (K,) their usual amounts.

    Returns
    -------
    AmountCap
        So many robust standard deviations above the median of the log ratio, and at least its 99 % quantile.

    Notes
    -----
    A wholesaler whose purchases are always large has a large usual amount and is not capped. One purchase of a
    thousand times the usual amount is. The standard deviation is estimated by the 16 % and 84 % quantiles.

    Examples
    --------
    >>> cap = amount_caps(np.array([9.0, 10.0, 11.0, 10.0, 38_970.0]), np.full(5, 10.0))
    >>> round(float(cap.of(np.array([10.0]))[0]))
    58
    """
    positive = revenue > 0
    if not positive.any():
        return AmountCap(float("inf"), 1.0)
    fallback = float(np.quantile(revenue[positive], 0.5, method="lower"))
    ratio = revenue[positive] / np.where(usual[positive] > 0, usual[positive], fallback)
    low, middle, high = np.quantile(np.log(ratio), [0.16, 0.5, 0.84], method="lower")
    tail = float(np.quantile(ratio, QUANTILE, method="lower"))
    return AmountCap(max(float(np.exp(middle + WIDE * max((high - low) / 2, NARROWEST))), tail), fallback)


def calibration(paid: np.ndarray, expected: np.ndarray, weight: np.ndarray) -> float:
    """Total paid over total expected, weighted; 1 where either is 0.

    Examples
    --------
    >>> calibration(np.array([2.0, 4.0]), np.array([1.0, 1.0]), np.ones(2))
    3.0
    """
    total, forecast = (float(np.sum(weight * values, dtype=np.float64)) for values in (paid, expected))
    return total / forecast if total > 0 and 0 < forecast < np.inf else 1.0


def shrunk_factor(paid: np.ndarray, expected: np.ndarray, weight: np.ndarray, drift: float = DRIFT) -> float:
    """Total paid over total expected, shrunk to 1 where its standard error is large.

    Parameters
    ----------
    paid, expected : np.ndarray
        (K,) amounts of buyers.
    weight : np.ndarray
        (K,)
    drift : float
        Standard deviation of the log factor that is expected before the data are seen.

    Returns
    -------
    float
        A factor for `expected`.

    Examples
    --------
    >>> shrunk_factor(np.full(4, 2.0), np.full(4, 1.0), np.ones(4))
    2.0
    >>> round(shrunk_factor(np.array([0.1, 0.1, 0.1, 7.7]), np.full(4, 1.0), np.ones(4)), 2)  # four purchases
    1.01
    """
    factor = calibration(paid, expected, weight)
    total = float(np.sum(weight * paid, dtype=np.float64))
    if total <= 0:
        return 1.0
    variance = float(np.sum((weight * (paid - factor * expected)) ** 2, dtype=np.float64)) / total**2
    return float(np.exp(np.log(factor) * drift**2 / (drift**2 + variance)))
