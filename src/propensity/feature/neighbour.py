"""Reference customers whose purchases say what similar customers buy, and the level of items that they are compared at.

Tables of single customers without their ids: a row of the sample is a profile and the offers that were bought.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers, is_categorical
from propensity.data.offer.column import MIN_AGREEMENT
from propensity.kernel.event import Events, Sets, fixed
from propensity.kernel.neighbour import (
    PROFILE_DAYS,
    Neighbours,
    inverted,
    nearest_neighbours,
    profile_days,
    signatures,
)
from propensity.kernel.ragged import offsets_of

CATEGORIES = 2000  # of a profile, at most
BUYERS = 30  # reference customers with a purchase that a category needs


class Level(NamedTuple):
    """The categories of a profile: values of an item column, or the offers.

    Parameters
    ----------
    column : str
        The column; empty for the offers.
    value : (K,) str
        Its values, sorted; for the offers, their names.
    """

    column: str
    value: np.ndarray


def category_sets(items: pl.DataFrame, offers: Offers, level: Level) -> Sets:
    """The categories of each item of a log.

    Parameters
    ----------
    items : DataFrame
        I items with their attributes.
    offers : Offers
        M offers.
    level : Level
        The categories.

    Returns
    -------
    Sets
        Item i has the categories `offer[offsets[i]:offsets[i + 1]]`, places in `level.value`; none where that is empty.
    """
    if level.value.size == 0:
        return Sets(fixed(np.zeros(items.height + 1, np.int64)), fixed(np.zeros(0, np.int32)))
    if not level.column:
        return offers.sets
    values = items[level.column].cast(pl.String)
    names = level.value.tolist()
    code = values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int32).to_numpy()
    return Sets(fixed(offsets_of(code >= 0)), fixed(code[code >= 0].astype(np.int32)))


def nested_columns(items: pl.DataFrame, offers: Offers) -> list[str]:
    """Categorical columns of items, a share `MIN_AGREEMENT` of which are in the offer of most items with their value.

    The column of the items themselves is among them.
    """
    nested = []
    for name in (name for name in items.columns if is_categorical(items.schema[name])):
        entries = pl.DataFrame({"value": items[name].gather(offers.item), "offer": offers.item_offer}).drop_nulls()
        largest = entries.group_by("value", "offer").len().group_by("value").agg(pl.col("len").max())
        if entries.height and largest["len"].sum() >= MIN_AGREEMENT * entries.height:
            nested.append(name)
    return nested


def nested_levels(items: pl.DataFrame, offers: Offers) -> list[tuple[Level, Sets]]:
    """The levels that a profile may have besides the offers, with the categories of each item.

    Parameters
    ----------
    items : DataFrame
        I items with their attributes.
    offers : Offers
        M offers.

    Returns
    -------
    list of (Level, Sets)
        All values of each of `nested_columns`.
    """
    levels = []
    for column in nested_columns(items, offers):
        values = items[column].cast(pl.String).drop_nulls().unique().sort().to_numpy().astype(str)
        level = Level(column, values)
        levels.append((level, category_sets(items, offers, level)))
    return levels


def finest_level(
    log: EventLog, offers: Offers, levels: Sequence[tuple[Level, Sets]], rows: np.ndarray, day: int
) -> Level:
    """The column with the most values that enough reference customers bought, or the offers if none has more.

    Parameters
    ----------
    log : EventLog
        The log.
    offers : Offers
        M offers.
    levels : sequence of (Level, Sets)
        As from `nested_levels`.
    rows : (R,) int
        Reference customers.
    day : int
        Only purchases in the 182 days before it count.

    Returns
    -------
    Level
        At most `CATEGORIES` values, each with `BUYERS` buyers; or all offers.
    """
    best = Level("", np.array(offers.name, str))
    for level, sets in levels:
        if level.value.size > best.value.size:
            _, category, *_ = profile_days(log.events, sets, level.value.size, rows, day, PROFILE_DAYS)
            frequent = np.bincount(category, minlength=level.value.size) >= BUYERS
            if best.value.size < frequent.sum() <= CATEGORIES:
                best = Level(level.column, level.value[frequent])
    return best


def neighbours(
    events: Events, offers: Offers, categories: Sets, size: int, rows: np.ndarray, day: int, windows: tuple[int, ...]
) -> Neighbours:
    """The tables of reference customers.

    Parameters
    ----------
    events : Events
        The log.
    offers : Offers
        M offers.
    categories : Sets
        Of each item.
    size : int
        Number of categories K.
    rows : (R,) int
        Reference customers.
    day : int
        Only purchases before it count.
    windows : tuple of int
        Days, ascending, in which what was bought counts.

    Returns
    -------
    Neighbours
        In the order of their signatures, which does not depend on the order of the log.

    Notes
    -----
    A profile is log(1 + days with a purchase) times log(1 + R / customers with a purchase), divided by its length.
    """
    signature = signatures(events, offers.sets, categories, size, rows, day)
    order = np.argsort(signature, kind="stable")
    rows, signature = rows[order], signature[order]
    offsets, category, days, _ = profile_days(events, categories, size, rows, day, PROFILE_DAYS)
    buyers = np.bincount(category, minlength=size)
    weight = np.log1p(rows.size / np.maximum(buyers, 1)).astype(np.float32)
    owner = np.repeat(np.arange(rows.size), np.diff(offsets))
    value = np.log1p(days) * weight[category]
    length = np.sqrt(np.bincount(owner, value**2, minlength=rows.size))
    value = (value / length[owner]).astype(np.float32)
    index = offsets_of(buyers)
    profiles = Sets(fixed(offsets), fixed(category))
    member, member_value = inverted(profiles, value, index)
    bought_offsets, bought_offer, _, recency = profile_days(events, offers.sets, len(offers), rows, day, windows[-1])
    tables = no_neighbours(day)._replace(
        weight=weight,
        offsets=index,
        customer=member,
        value=member_value,
        signature=signature,
        bought_offsets=bought_offsets,
        bought_offer=bought_offer,
        bought_window=np.searchsorted(windows, recency).astype(np.int8),
    )
    readable = Neighbours(day, *map(fixed, tables[1:]))
    nearest_offsets, nearest, share = nearest_neighbours(profiles, value, readable)
    return tables._replace(nearest_offsets=nearest_offsets, nearest=nearest, nearest_share=share)


def no_neighbours(day: int) -> Neighbours:
    """Tables without a reference customer."""
    empty, index = np.zeros(0, np.int32), np.zeros(1, np.int64)
    real = np.zeros(0, np.float32)
    profiles, bought = (real, index, empty, real, np.zeros(0, np.uint64)), (index, empty, np.zeros(0, np.int8))
    return Neighbours(day, *profiles, *bought, index, empty, real)
