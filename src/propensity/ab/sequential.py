"""Intervals and p-values that hold at every look, for experiments that are looked at before their planned end.

Source: Robbins, Annals of Mathematical Statistics 1970 (normal mixture); Johari et al., Operations Research 2022
(mSPRT); Waudby-Smith et al., Annals of Statistics 2024 (asymptotic confidence sequences).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from propensity.ab.effect import ALPHA, Effect

FEWEST = 100  # customers of the smaller arm before the first look: the normal approximation needs them


class AlwaysValid(NamedTuple):
    """An interval and a p-value that are valid at every look; infinite and 1 before the first look."""

    low: float
    high: float
    p: float


def always_valid(effect: Effect, customers: int, smallest: int, planned: int, alpha: float = ALPHA) -> AlwaysValid:
    """The confidence sequence at one look.

    Parameters
    ----------
    effect : Effect
        Difference and standard error at this look.
    customers, smallest : int
        Customers of both arms so far, and of the smaller arm.
    planned : int
        Customers of both arms at the planned end, where the interval is narrowest. It is fixed before the first look.
    alpha : float
        Probability that the interval misses the effect at any look.

    Examples
    --------
    >>> look = always_valid(Effect(0.3, 0.1, 1e9), 1000, 500, 1000)
    >>> look.low < 0.3 - 1.96 * 0.1 and look.p > 0.0027
    True
    """
    if smallest < FEWEST or effect.error <= 0:
        return AlwaysValid(-math.inf, math.inf, 1.0)
    wish = -2.0 * math.log(alpha)
    ratio = customers * (wish + math.log(wish + 1.0)) / planned  # n rho^2
    half = effect.error * math.sqrt(2.0 * (ratio + 1.0) / ratio * math.log(math.sqrt(ratio + 1.0) / alpha))
    z = effect.effect / effect.error
    log_bayes = z * z * ratio / (2.0 * (1.0 + ratio)) - 0.5 * math.log1p(ratio)
    return AlwaysValid(effect.effect - half, effect.effect + half, math.exp(-max(log_bayes, 0.0)))
