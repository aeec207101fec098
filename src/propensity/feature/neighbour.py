"""Reference customers whose purchases say what similar customers buy, and the level of items that they are compared at.

Tables of single customers without their ids: a row of the sample is a profile and the offers that were bought.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers, is_categorical
from propensity.data.offer.column import MIN_AGREEMENT
from propensity.kernel.event import Events, Sets, fixed
from propensity.kernel.neighbour import PROFILE_DAYS, Neighbours, profile_days, signatures

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
        Item i has the categories `offer[offsets[i]:offsets[i + 1]]`, places in `level.value`.
    """
    if not level.column:
        return offers.sets
    values = items[level.column].cast(pl.String)
    names = level.value.tolist()
    code = values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int32).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(code >= 0)]).astype(np.int64)
    return Sets(fixed(offsets), fixed(code[code >= 0].astype(np.int32)))


def nested_columns(items: pl.DataFrame, offers: Offers) -> list[str]:
    """Categorical item columns of which nine items in ten are in the offer of most items with their value.

    Parameters
    ----------
    items : DataFrame
        I items with their attributes.
    offers : Offers
        M offers.

    Returns
    -------
    list of str
        Names of the columns, that of the items themselves among them.
    """
    nested = []
    for name in (name for name in items.columns if is_categorical(items.schema[name])):
        entries = pl.DataFrame({"value": items[name].gather(offers.item), "offer": offers.item_offer}).drop_nulls()
        largest = entries.group_by("value", "offer").len().group_by("value").agg(pl.col("len").max())
        if entries.height and largest["len"].sum() >= MIN_AGREEMENT * entries.height:
            nested.append(name)
    return nested


def finest_level(log: EventLog, offers: Offers, columns: list[str], rows: np.ndarray, day: int) -> Level:
    """The column with the most values that enough reference customers bought, or the offers if none has more.

    Parameters
    ----------
    log : EventLog
        The log.
    offers : Offers
        M offers.
    columns : list of str
        Item columns to choose from.
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
    for column in columns:
        values = log.items[column].cast(pl.String).drop_nulls().unique().sort().to_numpy().astype(str)
        sets = category_sets(log.items, offers, Level(column, values))
        _, category, _ = profile_days(log.events, offers.sets, sets, values.size, rows, day, PROFILE_DAYS)
        frequent = np.bincount(category, minlength=values.size) >= BUYERS
        if best.value.size < frequent.sum() <= CATEGORIES:
            best = Level(column, values[frequent])
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
    offsets, category, days = profile_days(events, offers.sets, categories, size, rows, day, PROFILE_DAYS)
    weight = np.log1p(rows.size / np.maximum(np.bincount(category, minlength=size), 1)).astype(np.float32)
    owner = np.repeat(np.arange(rows.size), np.diff(offsets))
    value = np.log1p(days) * weight[category]
    length = np.sqrt(np.bincount(owner, value**2, minlength=rows.size))
    place = np.argsort(category, kind="stable")
    index = np.concatenate([[0], np.cumsum(np.bincount(category, minlength=size))]).astype(np.int64)
    bought = [profile_days(events, offers.sets, offers.sets, len(offers), rows, day, window) for window in windows]
    bought_offsets, bought_offer, bought_window = _shortest(bought, len(offers))
    return Neighbours(
        day=day,
        weight=weight,
        offsets=index,
        customer=owner[place].astype(np.int32),
        value=(value / length[owner])[place].astype(np.float32),
        signature=signature,
        bought_offsets=bought_offsets,
        bought_offer=bought_offer,
        bought_window=bought_window,
    )


def no_neighbours(day: int) -> Neighbours:
    """Tables without a reference customer."""
    empty, index = np.zeros(0, np.int32), np.zeros(1, np.int64)
    real = np.zeros(0, np.float32)
    return Neighbours(day, real, index, empty, real, np.zeros(0, np.uint64), index, empty, np.zeros(0, np.int8))


def _shortest(bought: list[tuple[np.ndarray, np.ndarray, np.ndarray]], offers: int) -> tuple[np.ndarray, ...]:
    """Offsets (R + 1,), offer and shortest window, from the offers of each window, which is part of the next."""
    customers = bought[0][0].size - 1
    keys = [np.repeat(np.arange(customers), np.diff(offsets)) * offers + offer for offsets, offer, _ in bought]
    key = np.sort(keys[-1])
    window = sum((~np.isin(key, shorter)).astype(np.int8) for shorter in keys[:-1])
    offsets = np.searchsorted(key, np.arange(customers + 1) * offers).astype(np.int64)
    return offsets, (key % max(offers, 1)).astype(np.int32), np.asarray(window, np.int8)
