"""How unusual the silence of a customer is, given his own rhythm.

Weeks between two orders are gamma distributed with a shape that all customers share and a rate of the customer's own,
whose distribution over customers is gamma too. A silence beyond the last order then has the distribution function of a
beta prime variable.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def log_beta_tail(p: float, q: float, x: float) -> float:
    """Logarithm of 1 - I_x(p, q), the upper tail of a beta variable, by the continued fraction of Lentz."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return -np.inf
    front = math.lgamma(p + q) - math.lgamma(p) - math.lgamma(q) + p * math.log(x) + q * math.log1p(-x)
    if x > (p + 1.0) / (p + q + 2.0):
        return front + math.log(_fraction(q, p, 1.0 - x)) - math.log(q)
    lower = math.exp(front) * _fraction(p, q, x) / p
    return math.log1p(-min(lower, 1.0 - 1e-16))


@njit(cache=True, nogil=True)
def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > 1e-300 else 1e-300)
    value = d
    for m in range(1, 500):
        step = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        d = 1.0 + step * d
        c = 1.0 + step / c
        d = 1.0 / (d if abs(d) > 1e-300 else 1e-300)
        c = c if abs(c) > 1e-300 else 1e-300
        value *= d * c
        step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        d = 1.0 + step * d
        c = 1.0 + step / c
        d = 1.0 / (d if abs(d) > 1e-300 else 1e-300)
        c = c if abs(c) > 1e-300 else 1e-300
        change = d * c
        value *= change
        if abs(change - 1.0) < 1e-12:
            break
    return value


@njit(cache=True, nogil=True)
def log_longer(
    shape: float, q: float, gamma: float, gaps: np.ndarray, total: np.ndarray, silence: np.ndarray
) -> np.ndarray:
    """Log probability that a customer who stays is silent for longer, from gaps seen and their sum: (N,) x 3 -> (N,).

    Parameters
    ----------
    shape, q, gamma : of the gaps, and of the gamma distribution of the rates
    gaps : weeks between two orders that were seen, their number
    total : their sum in weeks
    silence : weeks since the last order
    """
    result = np.empty(silence.size)
    for n in range(silence.size):
        scale = gamma + total[n]
        result[n] = log_beta_tail(shape, q + shape * gaps[n], silence[n] / (silence[n] + scale))
    return result


@njit(cache=True, nogil=True)
def alarm_silence(
    shape: float, q: float, gamma: float, gaps: np.ndarray, total: np.ndarray, level: np.ndarray
) -> np.ndarray:
    """Weeks of silence that a customer who stays exceeds with probability `level`: (N,) x 3 -> (N,)."""
    result = np.empty(gaps.size)
    for n in range(gaps.size):
        scale, target, low, high = gamma + total[n], math.log(level[n]), 0.0, 1.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            if log_beta_tail(shape, q + shape * gaps[n], middle) > target:
                low = middle
            else:
                high = middle
        x = 0.5 * (low + high)
        result[n] = scale * x / max(1.0 - x, 1e-12)
    return result
