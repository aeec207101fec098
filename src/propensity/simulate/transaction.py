"""Items, quantities and prices for the events of a walk, and the returns."""

from __future__ import annotations

import numpy as np
import polars as pl

from propensity.simulate.catalogue import Catalogue, Floats, Ints, shelf
from propensity.simulate.customer import Customers
from propensity.simulate.settings import BLOCK, Settings
from propensity.simulate.simulate import PURCHASE, RETURN, VIEW, Trace

KINDS = ("purchase", "view", "message", "return")
CHANNELS = ("store", "web", "email")
PROMOTED, REDUCTION = 0.15, 0.2  # share of purchases at a reduced price, and by how much
MEAN_PAID = 1.0 - PROMOTED * REDUCTION  # of the price, on average


def item_ladder(settings: Settings, catalogue: Catalogue) -> Floats:
    """(T * I,) ascending: (day, category) in whole numbers, the item's cumulated share behind the point."""
    t = np.arange(settings.days)
    share = shelf(catalogue, t)
    base = np.cumsum(share, axis=1) - catalogue.category  # each category's shares add up to one
    return (t[:, None] * settings.categories + catalogue.category + base).ravel()


def draw_items(
    rng: np.random.Generator, settings: Settings, catalogue: Catalogue, trace: Trace, ladder: Floats
) -> Ints:
    """An item of the event's category, by popularity on its day; meaningless for newsletters."""
    category = np.maximum(trace.category, 0)
    row = np.searchsorted(ladder, trace.t * settings.categories + category + rng.random(category.size), "right")
    last = np.searchsorted(catalogue.category, category, "right") - 1
    item: Ints = np.clip(row - trace.t * settings.items, catalogue.first[category], last)
    return item


def receipts(
    settings: Settings, catalogue: Catalogue, who: Customers, trace: Trace, ladder: Floats, block: int
) -> pl.DataFrame:
    """The block's events as raw tables hold them, customer by customer, day by day."""
    rng, size = settings.stream(1, block, 1), trace.t.size
    item, purchase = draw_items(rng, settings, catalogue, trace, ladder), trace.kind == PURCHASE
    units = np.where(purchase, 1.0 + rng.poisson(who.size[trace.customer]), 0.0)
    off = np.where(rng.random(size) < PROMOTED, REDUCTION, 0.0)
    back = np.flatnonzero(purchase & (rng.random(size) < settings.returns))
    delay = rng.integers(1, 15, back.size)
    back, delay = back[trace.t[back] + delay < settings.days], delay[trace.t[back] + delay < settings.days]
    row = np.append(np.arange(size), back)  # a return repeats its purchase, later and negative
    kind = np.append(trace.kind, np.full(back.size, RETURN))
    t = trace.t[row] + np.append(np.zeros(size, np.int64), delay)
    units = units[row] * np.where(kind == RETURN, -1.0, 1.0)
    customer, visit = trace.customer[row], (kind == PURCHASE) | (kind == VIEW)
    order = np.lexsort((rng.random(row.size), visit, t, customer))  # a message comes first; baskets are shuffled
    order = order[block * BLOCK + customer[order] < settings.customers]
    row, kind, t, units, visit = row[order], kind[order], t[order], units[order], visit[order]
    customer, price = block * BLOCK + customer[order], catalogue.price[item[row]]
    return pl.DataFrame(
        {
            "customer": customer,
            "day": pl.Series((settings.epoch_day(0) + t).astype(np.int32)).cast(pl.Date),
            "item": blank(item[row], trace.category[row] < 0),
            "kind": pl.Series(KINDS).gather(kind),
            "channel": pl.Series(CHANNELS).gather(trace.channel[row]),
            "order": blank(customer * settings.days + t, ~visit),
            "quantity": units,
            "revenue": units * price * (1.0 - off[row]),
            "discount": units * price * off[row],
        }
    )


def blank(value: Ints, missing: np.ndarray) -> pl.Series:
    """`value` with nulls where it is `missing`."""
    return pl.select(pl.when(pl.Series(~missing)).then(pl.Series(value))).to_series()
