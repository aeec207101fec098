"""Mean and spread of pair columns among the customers for the same offer."""

from __future__ import annotations

import numpy as np
from numba import njit

ENOUGH = 10  # customers with a value of a column for an offer, at least; with fewer they are not compared
NARROW = 0.05  # an offer's standard deviation counts as at least this share of that over all offers
CONSTANT = 1e-3  # below this share of the root mean square over all offers, a column is constant for the offer


@njit(cache=True, nogil=True)
def add_moments(pair: np.ndarray, factor: np.ndarray, sums: np.ndarray) -> None:
    """Adds number, sum and sum of squares of the signed logs of B customers that are not missing.

    Parameters
    ----------
    pair : (B, M, P) float32
        Pair columns; NaN where missing.
    factor : (P,) float32
        What the columns are multiplied by before the logarithm.
    sums : (3, M, P) float64
        Changed in place.
    """
    for b in range(pair.shape[0]):
        for m in range(pair.shape[1]):
            for k in range(pair.shape[2]):
                value = pair[b, m, k] * factor[k]
                if np.isnan(value):
                    continue
                sums[0, m, k] += 1.0
                if value != 0.0:
                    log = np.copysign(np.log1p(abs(value)), value)
                    sums[1, m, k] += log
                    sums[2, m, k] += log * log


def standardisation(sums: np.ndarray) -> np.ndarray:
    """Mean and inverse standard deviation of P columns within each of M offers.

    Parameters
    ----------
    sums : (3, M, P) float64
        Number, sum and sum of squares of the values, see `add_moments`.

    Returns
    -------
    (M, 2, P) float32
        Mean, and one over the standard deviation. Both are 0 where a column is constant for the offer, or has fewer
        than `ENOUGH` values.

    Notes
    -----
    For an offer with few buyers a deviation is small by chance. It counts as at least `NARROW` of the deviation over
    all pairs.

    Examples
    --------
    >>> standardisation(np.array([[[20.0]], [[20.0]], [[100.0]]])).ravel()
    array([1. , 0.5], dtype=float32)
    """
    count, total, squares = sums
    mean, square = total / np.maximum(count, 1), squares / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    pairs = np.maximum(count.sum(axis=0), 1)
    size = squares.sum(axis=0) / pairs
    overall = np.sqrt(np.maximum(size - (total.sum(axis=0) / pairs) ** 2, 0.0))
    varies = (deviation > CONSTANT * np.sqrt(size)) & (count >= ENOUGH)
    inverse = np.where(varies, 1.0 / np.maximum(np.maximum(deviation, NARROW * overall), 1e-12), 0.0)
    return np.stack([np.where(varies, mean, 0.0), inverse], axis=1).astype(np.float32)
