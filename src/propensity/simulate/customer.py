"""Customers of the synthetic market: latent characteristics and the probabilities that follow from them.

Shapes: n customers, M categories.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.simulate.catalogue import AGE_GROUPS, FACTORS, REGIONS, YEAR, Catalogue, Floats, Ints
from propensity.simulate.settings import BLOCK, SimulationConfig

ACTIVE, DORMANT, NEW = 0, 1, 2
DORMANT_RATE = -np.log(0.98) / 7  # visits a day, so that 2 % of the dormant customers visit in a week
NEVER_BOUGHT_FACTOR = 0.5  # factor of a category that the customer has never bought
WEEK = np.array([[1.1, 1.0, 1.0, 1.05, 1.2, 0.95, 0.7], [0.5, 0.5, 0.5, 0.6, 1.1, 2.1, 1.7]])  # from Monday
WEEK = WEEK / WEEK.mean(axis=1, keepdims=True)


class Customers(NamedTuple):
    """Latent characteristics of n customers; `t` is a day of the simulation, counted from 0."""

    regime: Ints  # (n,) ACTIVE, DORMANT or NEW
    visit_rate: Floats  # (n,) visits a day while active
    joined: Ints  # (n,) `t` of joining; negative before the simulation starts
    lapse: Ints  # (n,) `t` from which a dormant customer is dormant
    week: Ints  # (n,) row of WEEK
    message_slot: Ints  # (n,) t mod 7 of the day on which a message may be sent
    online_share: Floats  # (n,) share of visits that are online
    extra_units: Floats  # (n,) mean number of units beyond the first
    age_group: Ints  # (n,)
    region: Ints  # (n,)
    preference: Floats  # (n, M) purchase intensity per visit
    interpurchase_time: Floats  # (n, M) typical days between purchases

    def rows(self, index: Ints) -> Customers:
        """Select customers by position.

        Parameters
        ----------
        index : numpy.ndarray of int
            Positions.

        Returns
        -------
        Customers
            The selected customers.
        """
        return Customers._make(column[index] for column in self)


def draw_customers(rng: np.random.Generator, catalogue: Catalogue, config: SimulationConfig) -> Customers:
    """Draw one block of customers.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of the block.
    catalogue : Catalogue
        Parameters that all customers share.
    config : SimulationConfig
        Shares of the regimes.

    Returns
    -------
    Customers
        `BLOCK` customers. Dormant customers lapse in the first third of the simulation or before it; new customers
        join after the first quarter.
    """
    n, days, draw = BLOCK, config.days, rng.random(BLOCK)
    not_dormant = np.where(draw < config.dormant_share + config.new_share, NEW, ACTIVE)
    regime = np.where(draw < config.dormant_share, DORMANT, not_dormant)
    age, region = rng.integers(0, len(AGE_GROUPS), n), rng.integers(0, len(REGIONS), n)
    factor = rng.normal(size=(n, FACTORS)) + catalogue.age_factor[age] + catalogue.region_factor[region]
    affinity = factor @ catalogue.loading.T + rng.normal(0, 0.5, (n, catalogue.interpurchase_time.size))
    return Customers(
        regime=regime,
        visit_rate=np.exp(rng.normal(np.log(0.12), 0.6, n)),
        joined=np.where(regime == NEW, rng.integers(days // 4, days, n), -rng.integers(1, 3 * 365, n)),
        lapse=np.where(regime == DORMANT, rng.integers(-(days // 3), days // 3 + 1, n), np.iinfo(np.int64).max),
        week=rng.integers(0, 2, n),
        message_slot=rng.integers(0, 7, n),
        online_share=rng.beta(1.0, 2.0, n),
        extra_units=rng.gamma(1.0, 0.3, n),
        age_group=age,
        region=region,
        preference=catalogue.appeal * np.exp(affinity - 0.8),  # 0.8: about half the variance of the affinity
        interpurchase_time=catalogue.interpurchase_time
        * np.exp(rng.normal(0, 0.3, (n, catalogue.interpurchase_time.size))),
    )


def visit_probability(customers: Customers, t: int, day: int) -> Floats:
    """Compute the probability that each customer visits on a day.

    Parameters
    ----------
    customers : Customers
        n customers.
    t : int
        Day of the simulation.
    day : int
        The same day in days since 1970-01-01.

    Returns
    -------
    numpy.ndarray of shape (n,)
        Visit probability from the visit rate, the weekday and a yearly season that peaks in mid-December.
    """
    rate = np.where(t >= customers.lapse, DORMANT_RATE, customers.visit_rate)
    year = 1.0 + 0.2 * np.cos(2 * np.pi * (day - 349) / YEAR)
    probability = -np.expm1(-rate * WEEK[customers.week, (day + 3) % 7] * year)  # 1970-01-01 was a Thursday
    return np.where(t >= customers.joined, probability, 0.0)


def replenishment_factor(catalogue: Catalogue, since: Ints, interpurchase_time: Floats) -> Floats:
    """Compute the replenishment factor of the purchase intensity.

    Parameters
    ----------
    catalogue : Catalogue
        Names the trigger categories, whose factor is always 1.
    since : numpy.ndarray of shape (..., M)
        Days since the last purchase; negative for never.
    interpurchase_time : numpy.ndarray of shape (..., M)
        Typical days between purchases.

    Returns
    -------
    numpy.ndarray of shape (..., M)
        Low just after a purchase, highest after one interpurchase time, then decreasing.

    Notes
    -----
    Trigger categories have no replenishment so that the true probability of their targets is a short recursion.
    """
    ratio = since / interpurchase_time
    wave = ratio * np.exp(1.0 - ratio)
    factor: Floats = np.where(since < 0, NEVER_BOUGHT_FACTOR, 0.3 + 1.7 * wave * wave * wave)
    factor[..., catalogue.trigger] = 1.0
    return factor
