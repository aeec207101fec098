"""The Qini coefficient and the area under the uplift curve of one ranking, in one pass and without further memory.

Customers with equal scores are one step of the curve, so that their order within it changes nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def qini_and_auuc(
    order: np.ndarray, score: np.ndarray, y: np.ndarray, treated: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    """Qini coefficient per treated customer, and area under the uplift curve.

    order (n,) rows by falling score; score, y, weight (n,) floats; treated (n,) bool. NaN without both arms.
    """
    total_t = total_c = 0.0
    for i in range(order.size):
        if treated[i]:
            total_t += weight[i]
        else:
            total_c += weight[i]
    if total_t <= 0.0 or total_c <= 0.0:
        return np.nan, np.nan
    n_t = n_c = s_t = s_c = 0.0
    share = gain = uplift = area = auuc = 0.0
    for k in range(order.size):
        row = order[k]
        if treated[row]:
            n_t += weight[row]
            s_t += weight[row] * y[row]
        else:
            n_c += weight[row]
            s_c += weight[row] * y[row]
        if k + 1 < order.size and score[order[k + 1]] == score[row]:
            continue
        new_share = (n_t + n_c) / (total_t + total_c)
        new_gain = s_t - (s_c * n_t / n_c if n_c > 0.0 else 0.0)
        new_uplift = (s_t / n_t - s_c / n_c) * new_share if n_t > 0.0 and n_c > 0.0 else 0.0
        area += (new_share - share) * (new_gain + gain) / 2.0
        auuc += (new_share - share) * (new_uplift + uplift) / 2.0
        share, gain, uplift = new_share, new_gain, new_uplift
    return (area - gain / 2.0) / total_t, auuc
