"""Scaling of columns for a network: ranks, standardised signed logs, and flags of missing values, in one pass."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def scale(x, knots, size, unit, mean, deviation, flagged, out):  # type: ignore[no-untyped-def]
    """Fill (P, 2 F + flags) float32 from columns (P, F).

    Parameters
    ----------
    knots, size : (F, K) ascending different quantiles, and their number
    unit, mean, deviation : (F,) of the signed log
    flagged : columns for which a flag says where they are missing
    """
    rows, columns = x.shape
    for p in range(rows):
        for c in range(columns):
            v = x[p, c]
            n = size[c]
            if np.isnan(v) or n == 0:
                out[p, 2 * c], out[p, 2 * c + 1] = 0.0, 0.0
                continue
            v = min(max(v, knots[c, 0]), knots[c, n - 1])
            low, high = 0, n - 1
            while high - low > 1:
                middle = (low + high) // 2
                if knots[c, middle] <= v:
                    low = middle
                else:
                    high = middle
            rank = 0.0
            if n > 1:
                width = knots[c, high] - knots[c, low]
                place = low + (v - knots[c, low]) / width if width > 0 else low
                rank = 2.0 * place / (n - 1) - 1.0
            out[p, 2 * c] = rank
            log = np.log1p(abs(v) / unit[c])
            z = ((log if v >= 0 else -log) - mean[c]) / deviation[c]
            out[p, 2 * c + 1] = min(max(z, -5.0), 5.0)
        for k in range(flagged.size):
            out[p, 2 * columns + k] = 1.0 if np.isnan(x[p, flagged[k]]) else 0.0
