"""Lines of made-up shops for the market zoo: renewal processes of customer x offer pairs, with a kind of its own each.

Legend: N customers, M offers, P pairs of them, E events.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

WEEK = np.array([0.9, 0.9, 0.9, 1.0, 1.2, 1.3, 0.8])  # from Monday
COLUMNS = {"customer": "card", "day": "sold_on", "item": "sku", "revenue": "total", "kind": "kind"}


@dataclass(frozen=True)
class Shop:
    """Settings of one made-up shop.

    Each pair of a customer and an offer is a renewal process with gamma distributed gaps, from the day the customer
    joins until the customer lapses. Its rate is the customer's activity (gamma distributed) times the offer's share in
    the customer's taste (a softmax of normal variables). Season and weekday thin the events. An amount is the offer's
    price times the customer's scale times units with a Pareto tail.
    """

    customers: int = 2500
    offers: int = 12
    days: int = 420
    start: str = "2023-01-02"
    yearly: float = 20.0  # expected visits of an offer by a customer in a year, summed over the offers, before thinning
    shape: float = 1.0  # of the gamma gaps: 1 is a Poisson process, 40 is a subscription
    taste: float = 1.2  # standard deviation of the log taste
    season: float = 0.2  # amplitude of the yearly season of each offer on the log scale
    autumn: float = 0.0  # amplitude of a season that all offers share, with its peak in mid-October
    joining: float = 0.4  # share of customers who join while the log runs
    lifetime: float = 700.0  # mean days from joining to lapsing
    price: float = 8.0  # median price in currency
    price_spread: float = 0.5  # standard deviation of the log prices of the offers
    customer_spread: float = 0.2  # standard deviation of the log amount scale of the customers
    tail: float = 0.0  # Pareto exponent of the units of a line; 0: one unit each
    views: float = 0.0  # mean views before each decision
    conversion: float = 1.0  # share of decisions that end in a purchase
    seed: int = 1


SHOPS = {
    # two autumns; the cutoff lies in the second
    "fashion": Shop(days=685, yearly=50, season=0.8, autumn=1.2, price=35, seed=11),
    # three plans, each renewed every thirty days or so until the customer lapses
    "subscription": Shop(offers=3, yearly=11, shape=40, taste=2.5, season=0, lifetime=400, price=19, seed=12),
    # a purchase in two years at prices of hundreds
    "furniture": Shop(yearly=0.5, taste=0.5, price=600, price_spread=0.9, lifetime=3000, days=730, seed=13),
    # few customers; the scale of amounts spans four orders of magnitude and units have no finite variance
    "wholesale": Shop(customers=500, yearly=60, customer_spread=1.6, tail=1.6, price=40, lifetime=2000, seed=14),
    # a log of three months
    "startup": Shop(days=90, yearly=25, joining=0.8, lifetime=200, seed=15),
    # 20,000 visitors who look often, buy rarely, and hardly ever twice
    "marketplace": Shop(
        customers=20000, yearly=4, joining=0.7, lifetime=250, views=4, conversion=0.12, days=365, seed=16
    ),
}


def sales(shop: Shop) -> pl.DataFrame:
    """Draw the lines of a shop: columns card, sold_on, sku, category, kind and total, sorted by day and card.

    Every offer has three products of the same price; a product is drawn evenly.
    """
    random = np.random.default_rng(shop.seed)
    n, m = shop.customers, shop.offers
    start = (date.fromisoformat(shop.start) - date(1970, 1, 1)).days
    joins = random.random(n) < shop.joining
    joined = np.where(joins, random.integers(0, shop.days, n), -random.exponential(shop.lifetime / 2, n))
    lapse = joined + np.where(joins, 0, -joined) + random.exponential(shop.lifetime, n)
    activity = random.gamma(1.0, 1.0, n) + 0.05
    popularity, price = random.normal(0, 0.8, m), shop.price * np.exp(random.normal(0, shop.price_spread, m))
    taste = np.exp(popularity + random.normal(0, shop.taste, (n, m)))
    rate = activity[:, None] * shop.yearly / 365 * taste / taste.sum(axis=1, keepdims=True)
    first, last = np.maximum(joined, 0.0), np.minimum(lapse, shop.days)
    pair, moment = renewals(random, rate.ravel(), np.repeat(first, m), np.repeat(last, m), shop.shape)
    day = moment.astype(np.int64)
    peak = random.uniform(0, 365, m)
    kept = random.random(day.size) < thinning(shop, start + day, peak[pair % m])
    pair, day = pair[kept], day[kept]
    bought = random.random(day.size) < shop.conversion
    looks = random.poisson(shop.views, day.size)
    view = np.repeat(np.arange(day.size), looks)
    lead = random.integers(0, 10, view.size)  # a decision follows its views within ten days
    units = np.maximum(1, np.floor(random.random(day.size) ** (-1 / shop.tail))) if shop.tail else np.ones(day.size)
    scale = np.exp(random.normal(0, shop.customer_spread, n))
    amount = price[pair % m] * scale[pair // m] * units * np.exp(random.normal(0, 0.1, day.size))
    place = np.append(np.flatnonzero(bought), view)
    kind = np.repeat(["purchase", "view"], [bought.sum(), view.size])
    when = np.append(day[bought], day[view] - lead)
    total = np.append(amount[bought].round(2), np.zeros(view.size))
    offer = pair[place] % m
    frame = pl.DataFrame(
        {
            "card": pair[place] // m,
            "sold_on": pl.Series((start + when).astype(np.int32)).cast(pl.Date),
            "sku": offer * 3 + random.integers(0, 3, offer.size),
            "category": pl.Series([f"offer_{each:03d}" for each in range(m)]).gather(offer),
            "kind": kind,
            "total": total,
        }
    )
    return frame.filter(pl.Series(when >= 0)).sort("sold_on", "card", "sku", "kind", "total")


def renewals(
    random: np.random.Generator, rate: np.ndarray, first: np.ndarray, last: np.ndarray, shape: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the events of P renewal processes with `rate` events a day in [first, last): pair (E,) and time (E,)."""
    pairs, times = [np.empty(0, np.int64)], [np.empty(0)]
    alive = np.arange(rate.size)
    time = first + random.gamma(shape, 1 / (shape * rate)) * random.random(rate.size)
    while alive.size:
        inside = time < last[alive]
        alive, time = alive[inside], time[inside]
        pairs.append(alive)
        times.append(time)
        time = time + random.gamma(shape, 1 / (shape * rate[alive]))
    return np.concatenate(pairs), np.concatenate(times)


def thinning(shop: Shop, day: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Probability (E,) that an event on a day is kept: weekday and seasons over their largest value."""
    own = shop.season * (np.cos(2 * np.pi * (day - peak) / 365.25) - 1)
    shared = shop.autumn * (np.cos(2 * np.pi * (day - 288) / 365.25) - 1)  # day 288 of 1970: 15 October
    week = WEEK[(day + 3) % 7] / WEEK.max()  # 1970-01-01 was a Thursday
    kept: np.ndarray = np.exp(own + shared) * (week if shop.shape < 10 else 1.0)
    return kept
