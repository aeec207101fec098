"""Differences between arms: raw, adjusted for covariates, winsorised; the minimum detectable effect; Holm's correction.

All are intention-to-treat: a customer counts in the arm that was drawn, whether or not a message arrived.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from propensity.ab.distribution import normal_quantile, student_p, student_quantile

ALPHA, POWER = 0.05, 0.8
CAP = 0.99  # quantile of the amounts that are not zero to which larger amounts are lowered
ROWS_PER_COLUMN = 5  # customers of an arm for each covariate below which no regression is fitted


class Effect(NamedTuple):
    """A difference, its standard error and degrees of freedom; an error of 0 means that nothing varied."""

    effect: float
    error: float
    freedom: float

    @property
    def p(self) -> float:
        """Two-sided p-value; 1 where nothing varied."""
        return student_p(self.effect / self.error, self.freedom) if self.error > 0 else 1.0

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        """The 1 - alpha interval."""
        half = student_quantile(alpha, self.freedom) * self.error if self.error > 0 else math.nan
        return self.effect - half, self.effect + half

    def detectable(self, alpha: float = ALPHA, power: float = POWER) -> float:
        """Minimum detectable effect: the true effect that is found with probability `power`."""
        return (normal_quantile(1 - alpha / 2) + normal_quantile(power)) * self.error


def difference(
    y: np.ndarray, treated: np.ndarray, control: np.ndarray, weight: np.ndarray, unit: np.ndarray | None = None
) -> Effect:
    """Difference of weighted means with Welch's standard error, or one that is clustered by customer.

    Parameters
    ----------
    y, weight : np.ndarray
        (n,) outcomes, and inverse probabilities of the own arm.
    treated, control : np.ndarray
        (n,) bool.
    unit : np.ndarray, optional
        (n,) customer of each row, where customers have several.

    Returns
    -------
    Effect
        Treated minus control.

    Notes
    -----
    Welch, Biometrika 1947; with weights the Hájek estimator with its linearised variance. Clustered: Liang and Zeger,
    Biometrika 1986.

    Examples
    --------
    >>> y = np.array([1.0, 3.0, 0.0, 2.0])
    >>> difference(y, y % 2 == 1, y % 2 == 0, np.ones(4)).effect
    1.0
    """
    mean, variance, size = zip(*(_mean(y[mask], weight[mask]) for mask in (treated, control)), strict=True)
    if unit is not None:
        share = np.zeros(y.size)
        for mask, sign, centre in zip((treated, control), (1.0, -1.0), mean, strict=True):
            share[mask] = sign * weight[mask] * (y[mask] - centre) / weight[mask].sum()
        return _clustered(float(mean[0] - mean[1]), share, unit, treated | control)
    total = sum(variance)
    freedom = total**2 / sum(v**2 / (n - 1) for v, n in zip(variance, size, strict=True)) if total > 0 else 1.0
    return Effect(float(mean[0] - mean[1]), math.sqrt(total), float(freedom))


def _clustered(effect: float, share: np.ndarray, unit: np.ndarray, mask: np.ndarray) -> Effect:
    """Standard error of a sum of shares (n,) whose rows are independent between customers only."""
    total = np.bincount(unit[mask], weights=share[mask])
    count = int(np.unique(unit[mask]).size)
    correction = count / (count - 1) if count > 1 else 1.0
    return Effect(effect, math.sqrt(float(total @ total) * correction), float(max(count - 1, 1)))


def error_of_sum(share: np.ndarray, unit: np.ndarray | None) -> float:
    """Standard error of the sum of shares (n,) of mean 0, which are independent between customers (n,) only."""
    total = share if unit is None else np.bincount(unit, weights=share)
    return math.sqrt(float(total @ total))


def adjusted_difference(
    y: np.ndarray,
    x: np.ndarray,
    treated: np.ndarray,
    control: np.ndarray,
    weight: np.ndarray,
    unit: np.ndarray | None = None,
) -> Effect | None:
    """Difference after a linear regression on the covariates in each arm.

    Parameters
    ----------
    y, weight : np.ndarray
        (n,) outcomes, and inverse probabilities.
    x : np.ndarray
        (n, C) covariates measured before the assignment.
    treated, control : np.ndarray
        (n,) bool.
    unit : np.ndarray, optional
        (n,) customer of each row, where customers have several.

    Returns
    -------
    Effect or None
        None without covariates, or where an arm is too small for them.

    Notes
    -----
    Lin, Annals of Applied Statistics 2013, of which CUPED (Deng et al., WSDM 2013) is the case of one covariate. It is
    consistent whether or not the outcome is linear in the covariates, because the arms were drawn.
    """
    smallest = min(int(treated.sum()), int(control.sum()))
    if not x.shape[1] or smallest < ROWS_PER_COLUMN * (x.shape[1] + 1):
        return None
    both = treated | control
    fits = [_fit(y[mask], x[mask], weight[mask]) for mask in (treated, control)]
    predicted = [fit[0] + x[both] @ fit[1:] for fit in fits]
    gap, w = predicted[0] - predicted[1], weight[both]
    effect, spread, _ = _mean(gap, w)
    if unit is not None:
        share = np.zeros(y.size)
        share[both] = w * (gap - effect) / w.sum()
        for fit, mask, sign in zip(fits, (treated, control), (1.0, -1.0), strict=True):
            share[mask] += sign * weight[mask] * (y[mask] - fit[0] - x[mask] @ fit[1:]) / weight[mask].sum()
        return _clustered(float(effect), share, unit, both)
    variance = [spread]
    for fit, mask in zip(fits, (treated, control), strict=True):
        residual = y[mask] - fit[0] - x[mask] @ fit[1:]
        _, each, size = _mean(residual, weight[mask])
        variance.append(each * (size - 1) / (size - x.shape[1] - 1))
    return Effect(float(effect), math.sqrt(sum(variance)), float(both.sum() - 2 * x.shape[1] - 2))


def winsorised(y: np.ndarray, cap: float = CAP) -> np.ndarray:
    """Amounts (n,) with the largest lowered to a quantile of those that are not zero, on both sides of zero.

    Examples
    --------
    >>> winsorised(np.array([0.0, 1.0, 2.0, 100.0]), 0.5).tolist()
    [0.0, 1.0, 2.0, 2.0]
    """
    size = np.abs(y[y != 0])
    if not size.size:
        return y
    limit = float(np.quantile(size, cap))
    return np.clip(y, -limit, limit)


def is_binary(y: np.ndarray) -> bool:
    """Whether outcomes are 0 and 1 only."""
    return bool(np.isin(y, (0.0, 1.0)).all())


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values, which bound the probability of any false claim in the family.

    Notes
    -----
    Holm, Scandinavian Journal of Statistics 1979.

    Examples
    --------
    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda each: p[each])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = highest
    return adjusted


def _mean(y: np.ndarray, weight: np.ndarray) -> tuple[float, float, int]:
    """Weighted mean, variance of the mean, and size."""
    total, size = float(weight.sum()), y.size
    mean = float(weight @ y) / total
    variance = float(np.sum((weight * (y - mean)) ** 2)) / total**2
    return mean, variance * size / (size - 1), size


def _fit(y: np.ndarray, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted least squares with an intercept: (C + 1,)."""
    design = np.column_stack([np.ones(y.size), x])
    scaled = design * weight[:, None]
    return np.asarray(np.linalg.lstsq(scaled.T @ design, scaled.T @ y, rcond=1e-10)[0])
