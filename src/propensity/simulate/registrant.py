"""Registrants of the synthetic market: people who register without having bought, and their first purchases.

Each has a source and an interest, which is drawn from a gamma distribution and never seen. Views, opens and carts
follow Poisson processes whose rates are proportional to the interest, and so does the first purchase, whose rate also
depends on the source. The gamma distribution is conjugate, so the probability of a first purchase given what a log
shows has a closed form.

Legend: R registrants, M categories, E events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.simulate.catalogue import Catalogue, Floats, Ints
from propensity.simulate.settings import SimulationConfig

SOURCES = ("fair", "newsletter", "referral", "search")
SOURCE_RATE = np.array([0.2, 0.7, 2.0, 1.1])  # relative rate of the first purchase
SHAPE = 0.8  # of the interest, whose mean is 1
FIRST_RATE = 0.006  # first purchases a day of a registrant of interest 1 and relative rate 1
REPEAT_RATE = 0.03  # later purchase days a day
ACTIVITY = {"view": 0.05, "open": 0.03, "cart": 0.01}  # events a day of a registrant of interest 1
ITEMLESS = "open"
TILT = 1.0  # standard deviation of the log preference of a source for a category


class Registrants(NamedTuple):
    """R registrants; `t` is a day of the simulation.

    Parameters
    ----------
    source : (R,) int
        Place in `SOURCES`.
    registered : (R,) int
        `t` of the registration.
    interest : (R,) float
        Multiplies all rates; not in the log.
    first : (R,) int
        `t` of the first purchase, which may be after the end of the simulation.
    """

    source: Ints
    registered: Ints
    interest: Floats
    first: Ints


class FirstPurchase(NamedTuple):
    """True probability of a first purchase of R registrants at a cutoff, given source, registration, views, opens and
    carts. Those who registered later, or have bought, are not among them."""

    customer: Ints
    probability: Floats


def draw_registrants(config: SimulationConfig) -> Registrants:
    """Draw the registrants of a market; the first of a larger number are those of a smaller one.

    Parameters
    ----------
    config : SimulationConfig
        Number of registrants, days and seed.
    """
    uniform = np.stack([config.stream(2, 0, k).random(config.registrants) for k in range(3)])
    interest = config.stream(2, 0, 3).gamma(SHAPE, 1.0 / SHAPE, config.registrants)
    source = (uniform[0] * len(SOURCES)).astype(np.int64)
    registered = (uniform[1] * config.days).astype(np.int64)
    waiting = -np.log1p(-uniform[2]) / (FIRST_RATE * SOURCE_RATE[source] * interest)
    first = registered + np.minimum(waiting, 100.0 * config.days).astype(np.int64)
    return Registrants(source, registered, interest, first)


def activity(config: SimulationConfig, people: Registrants) -> tuple[Ints, Ints, np.ndarray]:
    """Views, opens and carts until the end of the simulation.

    Returns
    -------
    row, t : (E,) int
        Registrant and day.
    kind : (E,) str
        Kind of the event.
    """
    rows, days, kinds = [], [], []
    for k, (kind, rate) in enumerate(ACTIVITY.items()):
        rng = config.stream(2, 1, k)
        exposure = config.days - people.registered
        count = rng.poisson(rate * people.interest * exposure)
        row = np.repeat(np.arange(count.size), count)
        rows.append(row)
        days.append(people.registered[row] + (rng.random(row.size) * exposure[row]).astype(np.int64))
        kinds.append(np.full(row.size, kind))
    return np.concatenate(rows), np.concatenate(days), np.concatenate(kinds)


def purchase_days(config: SimulationConfig, people: Registrants) -> tuple[Ints, Ints]:
    """Registrant (E,) and day (E,) of every purchase day before the end of the simulation."""
    rng = config.stream(2, 2)
    left = np.maximum(config.days - people.first, 0)
    again = np.where(left > 0, rng.poisson(REPEAT_RATE * left), 0)
    row = np.repeat(np.arange(again.size), again)
    later = people.first[row] + (rng.random(row.size) * left[row]).astype(np.int64)
    buyers = np.flatnonzero(left > 0)
    pairs = np.unique(np.stack([np.append(buyers, row), np.append(people.first[buyers], later)], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def source_preference(config: SimulationConfig, catalogue: Catalogue) -> Floats:
    """Share of each category in the baskets of each source: (S, M)."""
    tilt = config.stream(2, 3).normal(0.0, TILT, (len(SOURCES), catalogue.appeal.size))
    weight = catalogue.appeal * np.exp(tilt)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def registrant_events(config: SimulationConfig, catalogue: Catalogue) -> pl.DataFrame:
    """Raw events of the registrants, sorted by customer and day.

    Parameters
    ----------
    config : SimulationConfig
        Settings and seed.
    catalogue : Catalogue
        Items and prices.

    Returns
    -------
    polars.DataFrame
        With the columns of `propensity.simulate.transaction.transactions`. Ids follow those of the customers.
    """
    people, rng = draw_registrants(config), config.stream(2, 4)
    seen, seen_day, kind = activity(config, people)
    row, t = purchase_days(config, people)
    count = 1 + rng.poisson(max(config.basket - 1.0, 0.0), row.size)
    row, t = np.repeat(row, count), np.repeat(t, count)
    row, t = np.append(seen, row), np.append(seen_day, t)
    kind = np.append(kind, np.full(row.size - kind.size, "purchase"))
    cumulative = np.cumsum(source_preference(config, catalogue), axis=1)[people.source[row]]
    category = np.minimum((cumulative < rng.random(row.size)[:, None]).sum(axis=1), catalogue.appeal.size - 1)
    item = np.searchsorted(catalogue.category, category, "right") - 1  # the last of a category is sold from the start
    bought = kind == "purchase"
    frame = pl.DataFrame(
        {
            "customer": config.customers + row,
            "day": pl.Series((config.epoch_day(0) + t).astype(np.int32)).cast(pl.Date),
            "item": item,
            "kind": kind,
            "channel": np.where(kind == ITEMLESS, "email", "web"),
            "order": (config.customers + row) * config.days + t,
            "quantity": bought.astype(np.float64),
            "revenue": np.where(bought, catalogue.price[item], 0.0),
            "discount": np.zeros(row.size),
        }
    )
    without_item, without_order = pl.col("kind") == ITEMLESS, pl.col("kind") == ITEMLESS
    frame = frame.with_columns(item=pl.when(~without_item).then("item"), order=pl.when(~without_order).then("order"))
    return frame.unique(maintain_order=True).sort("customer", "day", maintain_order=True)


def first_purchase(config: SimulationConfig, cutoff: int, horizon: int) -> FirstPurchase:
    """True probability of a first purchase within a horizon.

    Parameters
    ----------
    config : SimulationConfig
        A market with registrants.
    cutoff : int
        Day of the simulation.
    horizon : int
        Days.

    Returns
    -------
    FirstPurchase
        Of the registrants without a purchase before the cutoff.

    Notes
    -----
    With interest ~ Gamma(a, a), n events in T days at the rate r, and no purchase at the rate f, the interest is
    Gamma(a + n, a + (r + f) T), and nobody buys in H days with probability (1 + f H / (a + (r + f) T)) ** -(a + n).
    """
    people = draw_registrants(config)
    row = np.flatnonzero((people.registered < cutoff) & (people.first >= cutoff))
    seen, day, _ = activity(config, people)
    count = np.bincount(seen[day < cutoff], minlength=config.registrants)[row]
    age, first = cutoff - people.registered[row], FIRST_RATE * SOURCE_RATE[people.source[row]]
    rate = SHAPE + (sum(ACTIVITY.values()) + first) * age
    return FirstPurchase(config.customers + row, -np.expm1(-(SHAPE + count) * np.log1p(first * horizon / rate)))
