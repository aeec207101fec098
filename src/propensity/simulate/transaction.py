"""Items, quantities, prices and returns of simulated events."""

from __future__ import annotations

import numpy as np
import polars as pl

from propensity.simulate.catalogue import Catalogue, Floats, Ints, item_shares
from propensity.simulate.customer import Customers
from propensity.simulate.settings import BLOCK, SimulationConfig
from propensity.simulate.simulate import PURCHASE, RETURN, VIEW, Trace

KINDS = ("purchase", "view", "message", "return")
CHANNELS = ("store", "web", "email")
PROMOTED, REDUCTION = 0.15, 0.2  # share of purchases at a reduced price, and the reduction
MEAN_PAID = 1.0 - PROMOTED * REDUCTION  # mean price paid, as a share of the list price


def cumulative_item_shares(config: SimulationConfig, catalogue: Catalogue) -> Floats:
    """Compute an ascending table from which `draw_items` draws by binary search.

    Parameters
    ----------
    config : SimulationConfig
        Number of days and categories.
    catalogue : Catalogue
        Item shares.

    Returns
    -------
    numpy.ndarray of shape (T * I,)
        The number of (day, category) in the integer part, the cumulative item share in the fraction.
    """
    t = np.arange(config.days)
    share = item_shares(catalogue, t)
    offset = np.cumsum(share, axis=1) - catalogue.category  # the shares of each category sum to one
    return (t[:, None] * config.categories + catalogue.category + offset).ravel()


def draw_items(
    rng: np.random.Generator, config: SimulationConfig, catalogue: Catalogue, trace: Trace, cumulative: Floats
) -> Ints:
    """Draw an item of each event's category, by its share on the day.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the random numbers.
    config : SimulationConfig
        Number of categories and items.
    catalogue : Catalogue
        Items of each category.
    trace : Trace
        E events.
    cumulative : numpy.ndarray of shape (T * I,)
        The table of `cumulative_item_shares`.

    Returns
    -------
    numpy.ndarray of shape (E,)
        Items; arbitrary for newsletters, which have no category.
    """
    category = np.maximum(trace.category, 0)
    target = trace.t * config.categories + category + rng.random(category.size)
    position = np.searchsorted(cumulative, target, "right")
    last = np.searchsorted(catalogue.category, category, "right") - 1
    item: Ints = np.clip(position - trace.t * config.items, catalogue.first[category], last)
    return item


def transactions(
    config: SimulationConfig,
    catalogue: Catalogue,
    customers: Customers,
    trace: Trace,
    cumulative: Floats,
    block: int,
) -> pl.DataFrame:
    """Add items, quantities, prices and returns to the events of a block.

    Parameters
    ----------
    config : SimulationConfig
        Settings and seed.
    catalogue : Catalogue
        Items and prices.
    customers : Customers
        Latent characteristics of the block.
    trace : Trace
        Events of the block.
    cumulative : numpy.ndarray of shape (T * I,)
        The table of `cumulative_item_shares`.
    block : int
        Number of the block.

    Returns
    -------
    polars.DataFrame
        Raw events, sorted by customer and day.
    """
    rng, size = config.stream(1, block, 1), trace.t.size
    item, purchase = draw_items(rng, config, catalogue, trace, cumulative), trace.kind == PURCHASE
    units = np.where(purchase, 1.0 + rng.poisson(customers.extra_units[trace.row]), 0.0)
    reduction = np.where(rng.random(size) < PROMOTED, REDUCTION, 0.0)
    returned = np.flatnonzero(purchase & (rng.random(size) < config.returns))
    delay = rng.integers(1, 15, returned.size)
    in_time = trace.t[returned] + delay < config.days
    returned, delay = returned[in_time], delay[in_time]
    event = np.append(np.arange(size), returned)  # a return repeats its purchase, later and with negative amounts
    kind = np.append(trace.kind, np.full(returned.size, RETURN))
    t = trace.t[event] + np.append(np.zeros(size, np.int64), delay)
    units = units[event] * np.where(kind == RETURN, -1.0, 1.0)
    row, visit = trace.row[event], (kind == PURCHASE) | (kind == VIEW)
    order = np.lexsort((rng.random(event.size), visit, t, row))  # messages first, baskets in random order
    order = order[block * BLOCK + row[order] < config.customers]
    event, kind, t, units, visit = event[order], kind[order], t[order], units[order], visit[order]
    customer, price = block * BLOCK + row[order], catalogue.price[item[event]]
    return pl.DataFrame(
        {
            "customer": customer,
            "day": pl.Series((config.epoch_day(0) + t).astype(np.int32)).cast(pl.Date),
            "item": with_nulls(item[event], trace.category[event] < 0),
            "kind": pl.Series(KINDS).gather(kind),
            "channel": pl.Series(CHANNELS).gather(trace.channel[event]),
            "order": with_nulls(customer * config.days + t, ~visit),
            "quantity": units,
            "revenue": units * price * (1.0 - reduction[event]),
            "discount": units * price * reduction[event],
        }
    )


def with_nulls(value: Ints, missing: np.ndarray) -> pl.Series:
    """Convert an array to a series with nulls.

    Parameters
    ----------
    value : numpy.ndarray of shape (E,)
        Values.
    missing : numpy.ndarray of bool of shape (E,)
        Where the series is null.

    Returns
    -------
    polars.Series
        `value`, null where `missing`.
    """
    return pl.select(pl.when(pl.Series(~missing)).then(pl.Series(value))).to_series()
