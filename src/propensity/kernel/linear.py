"""What the pair columns contribute to the log-odds of a logistic regression on signed logarithms.

Shapes: B customers, M offers, P pair columns.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.signed_log import FAST_SUMS, signed_logs


@njit(cache=True, nogil=True, fastmath=FAST_SUMS)
def clipped_sum(
    log: np.ndarray,
    mean: np.ndarray,
    inverse: np.ndarray,
    coefficient: np.ndarray,
    missing: np.ndarray,
    widest: float,
) -> float:
    """Sum over the columns of one pair; see `linear_sums`."""
    total, bound = np.float32(0.0), np.float32(widest)
    for p in range(log.size):
        scaled = min(max((log[p] - mean[p]) * inverse[p], -bound), bound) * coefficient[p]
        total += missing[p] if np.isnan(log[p]) else scaled
    return float(total)


@njit(cache=True, nogil=True)
def linear_sums(
    pair: np.ndarray,
    factor: np.ndarray,
    mean: np.ndarray,
    inverse: np.ndarray,
    coefficient: np.ndarray,
    missing: np.ndarray,
    present: float,
    widest: float,
    out: np.ndarray,
) -> None:
    """Compute the contributions of all pairs.

    Parameters
    ----------
    pair : ndarray of shape (B, M, P), float32
        Pair columns; NaN where missing.
    factor : ndarray of shape (P,), float32
        What columns are multiplied by first.
    mean, inverse : ndarray of shape (P,), float32
        Mean of the signed logarithms, and one over their standard deviation.
    coefficient : ndarray of shape (P,), float32
        Coefficients of the scaled columns.
    missing : ndarray of shape (P,), float32
        What a missing column contributes.
    present : float
        Added to every sum.
    widest : float
        Bound of the scaled columns.
    out : ndarray of shape (B, M), float32
        Filled with the contributions.
    """
    columns = pair.shape[2]
    value, one, log = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    bits = one.view(np.int32)
    for b in range(pair.shape[0]):
        for m in range(pair.shape[1]):
            row = pair[b, m]
            for p in range(columns):
                value[p] = row[p] * factor[p]
            signed_logs(value, columns, one, bits, log)
            out[b, m] = present + clipped_sum(log, mean, inverse, coefficient, missing, widest)
