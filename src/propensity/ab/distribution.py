"""Tails and quantiles of the normal, Student's t and chi-square distributions, in double precision."""

from __future__ import annotations

import math
from statistics import NormalDist

NORMAL = NormalDist()
LARGE = 1e6  # degrees of freedom above which Student's t is the normal distribution in double precision
TERMS, TINY = 500, 1e-300


def normal_p(z: float) -> float:
    """Two-sided p-value of a standard normal statistic.

    Examples
    --------
    >>> round(normal_p(1.959964), 4)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2.0))


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution, `probability` in (0, 1)."""
    return NORMAL.inv_cdf(probability)


def chi_square_p(statistic: float, freedom: int) -> float:
    """Upper tail of the chi-square distribution.

    Parameters
    ----------
    statistic : float
        At least 0.
    freedom : int
        Degrees of freedom, at least 1.

    Returns
    -------
    float
        Probability of a larger statistic.

    Examples
    --------
    >>> round(chi_square_p(3.841459, 1), 4), round(chi_square_p(5.991465, 2), 4), round(chi_square_p(11.0705, 5), 4)
    (0.05, 0.05, 0.05)
    """
    half = statistic / 2.0
    if half <= 0:
        return 1.0
    odd = freedom % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    for k in range((freedom - odd) // 2):
        power = k + odd / 2.0
        total += math.exp(power * math.log(half) - half - math.lgamma(power + 1.0))
    return min(total, 1.0)


def student_p(t: float, freedom: float) -> float:
    """Two-sided p-value of Student's t.

    Parameters
    ----------
    t : float
        The statistic.
    freedom : float
        Degrees of freedom, above 0.

    Examples
    --------
    >>> round(student_p(2.776445, 4), 4), round(student_p(12.7062, 1), 4)
    (0.05, 0.05)
    """
    if math.isinf(t):
        return 0.0
    if freedom >= LARGE:
        return normal_p(t)
    return _beta_share(freedom / (freedom + t * t), freedom / 2.0, 0.5)


def student_quantile(p: float, freedom: float) -> float:
    """The t whose two-sided p-value is `p`, by bisection.

    Examples
    --------
    >>> round(student_quantile(0.05, 4), 4), round(student_quantile(0.05, 1e9), 4)
    (2.7764, 1.96)
    """
    if freedom >= LARGE:
        return normal_quantile(1.0 - p / 2.0)
    low, high = 0.0, 1.0
    while student_p(high, freedom) > p:
        high *= 2.0
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if student_p(middle, freedom) > p else (low, middle)
    return (low + high) / 2.0


def _beta_share(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function, by Lentz's continued fraction. Source: DLMF 8.17.22."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _beta_share(1.0 - x, b, a)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    fraction = d
    for m in range(1, TERMS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away_from_zero(1.0 + numerator * d)
            c = _away_from_zero(1.0 + numerator / c)
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return math.exp(front) * fraction / a


def _away_from_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY


def fisher_p(statistic: float, above: int, below: float) -> float:
    """Upper tail of Fisher's F with `above` and `below` degrees of freedom.

    Examples
    --------
    >>> round(fisher_p(4.102821, 2, 10), 4)
    0.05
    """
    if statistic <= 0:
        return 1.0
    return _beta_share(below / (below + above * statistic), below / 2.0, above / 2.0)
