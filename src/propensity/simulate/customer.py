"""Who shops: fixed, hidden characteristics, and the chances that follow from them. n customers, M categories."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.simulate.catalogue import AGE_GROUPS, REGIONS, TASTES, YEAR, Catalogue, Floats, Ints
from propensity.simulate.settings import BLOCK, Settings

ACTIVE, DORMANT, NEW = 0, 1, 2
DORMANT_RATE = -np.log(0.98) / 7  # visits a day: two in a hundred dormant customers come in a week
NOVELTY = 0.5  # a category never bought before, against the average of one that was
WEEK = np.array([[1.1, 1.0, 1.0, 1.05, 1.2, 0.95, 0.7], [0.5, 0.5, 0.5, 0.6, 1.1, 2.1, 1.7]])  # from Monday
WEEK = WEEK / WEEK.mean(axis=1, keepdims=True)


class Customers(NamedTuple):
    """Characteristics of n customers. `t` is a day of the world, the first being 0."""

    regime: Ints  # (n,) ACTIVE, DORMANT or NEW
    rate: Floats  # (n,) visits a day while active
    joined: Ints  # (n,) `t`, negative before the world starts
    lapse: Ints  # (n,) `t` from which a dormant customer is dormant
    week: Ints  # (n,) row of WEEK
    slot: Ints  # (n,) t mod 7 of the day on which a message may be sent
    web: Floats  # (n,) share of visits that are online
    size: Floats  # (n,) mean number of units beyond the first
    age: Ints  # (n,)
    region: Ints  # (n,)
    taste: Floats  # (n, M) purchase intensity per visit
    gap: Floats  # (n, M) days between purchases, typically

    def rows(self, index: Ints) -> Customers:
        return Customers._make(column[index] for column in self)


def draw_shoppers(rng: np.random.Generator, catalogue: Catalogue, settings: Settings) -> Customers:
    """One block. Dormant customers lapse in the first third of the world or before it; new ones join later."""
    n, days, draw = BLOCK, settings.days, rng.random(BLOCK)
    other = np.where(draw < settings.dormant_share + settings.new_share, NEW, ACTIVE)
    regime = np.where(draw < settings.dormant_share, DORMANT, other)
    age, region = rng.integers(0, len(AGE_GROUPS), n), rng.integers(0, len(REGIONS), n)
    factor = rng.normal(size=(n, TASTES)) + catalogue.age_taste[age] + catalogue.region_taste[region]
    affinity = factor @ catalogue.loading.T + rng.normal(0, 0.5, (n, catalogue.gap.size))
    return Customers(
        regime=regime,
        rate=np.exp(rng.normal(np.log(0.12), 0.6, n)),
        joined=np.where(regime == NEW, rng.integers(days // 4, days, n), -rng.integers(1, 3 * 365, n)),
        lapse=np.where(regime == DORMANT, rng.integers(-(days // 3), days // 3 + 1, n), np.iinfo(np.int64).max),
        week=rng.integers(0, 2, n),
        slot=rng.integers(0, 7, n),
        web=rng.beta(1.0, 2.0, n),
        size=rng.gamma(1.0, 0.3, n),
        age=age,
        region=region,
        taste=catalogue.appeal * np.exp(affinity - 0.8),  # 0.8: about half the variance of the affinity
        gap=catalogue.gap * np.exp(rng.normal(0, 0.3, (n, catalogue.gap.size))),
    )


def visit_chance(who: Customers, t: int, day: int) -> Floats:
    """P(visit on that day), (n,): weekly rhythm, and a year that peaks in the middle of December."""
    rate = np.where(t >= who.lapse, DORMANT_RATE, who.rate)
    year = 1.0 + 0.2 * np.cos(2 * np.pi * (day - 349) / YEAR)
    chance = -np.expm1(-rate * WEEK[who.week, (day + 3) % 7] * year)  # 1970-01-01 was a Thursday
    return np.where(t >= who.joined, chance, 0.0)


def rhythm(catalogue: Catalogue, since: Ints, gap: Floats) -> Floats:
    """Replenishment factor, (..., M), from days `since` the last purchase (negative: never bought).

    Low just after a purchase, highest when one gap has passed, fading once the customer is overdue. Triggers of the
    planted pairs have no memory, which is what keeps the truth of their targets a short recursion.
    """
    due = since / gap
    wave = due * np.exp(1.0 - due)
    factor: Floats = np.where(since < 0, NOVELTY, 0.3 + 1.7 * wave * wave * wave)
    factor[..., catalogue.trigger] = 1.0
    return factor
