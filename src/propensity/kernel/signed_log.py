"""Signed logarithms in loops that vectorise."""

from __future__ import annotations

import numpy as np
from numba import njit

FAST_WITH_NAN = {"contract", "arcp", "nsz"}  # NaN is preserved, and rounding errors can be compensated
FAST_SUMS = FAST_WITH_NAN | {"reassoc"}  # sums may have another order


@njit(cache=True, nogil=True, fastmath=FAST_WITH_NAN, error_model="numpy")
def signed_logs(value: np.ndarray, count: int, one: np.ndarray, bits: np.ndarray, log: np.ndarray) -> None:
    """Compute sign(x) log(1 + |x|); NaN stays NaN.

    Parameters
    ----------
    value : ndarray of shape (P,), float32
        The first `count` entries are read.
    count : int
        Number of values.
    one, bits : ndarray of shape (P,)
        Workspace as float32, and a view of the same memory as int32.
    log : ndarray of shape (P,), float32
        Filled with the result.

    Notes
    -----
    The polynomial for the mantissa is that of the Cephes library (Moshier), so that the loops vectorise. The rounding
    error of 1 + |x| is added to the result, so that small values keep their precision.
    """
    for k in range(count):
        one[k] = np.float32(1.0) + abs(value[k])
        log[k] = (abs(value[k]) - (one[k] - np.float32(1.0))) / one[k]
    for k in range(count):
        raw = bits[k] - np.int32(0x3F3504F3)
        log[k] += np.float32(raw >> np.int32(23)) * np.float32(0.6931471805599453)
        bits[k] = (raw & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)
    for k in range(count):
        x = one[k] - np.float32(1.0)
        z = x * x
        y = np.float32(7.0376836292e-2)
        y = y * x + np.float32(-1.1514610310e-1)
        y = y * x + np.float32(1.1676998740e-1)
        y = y * x + np.float32(-1.2420140846e-1)
        y = y * x + np.float32(1.4249322787e-1)
        y = y * x + np.float32(-1.6668057665e-1)
        y = y * x + np.float32(2.0000714765e-1)
        y = y * x + np.float32(-2.4999993993e-1)
        y = y * x + np.float32(3.3333331174e-1)
        log[k] = np.copysign(log[k] + (x + (y * x * z - np.float32(0.5) * z)), value[k])
