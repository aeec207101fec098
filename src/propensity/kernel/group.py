"""All columns of pairs and customers that come from purchase days, customer by customer.

A customer's pairs fit into the processor's cache, and the groups of pair and of customer columns are computed from the
same lists. So one pass over customers writes the windows and the groups.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.customer_group import write_customer
from propensity.kernel.event import Events, Sets
from propensity.kernel.pair import pair_memory, write_pairs
from propensity.kernel.pair_group import (
    RANKED,
    SHARE_HALF_LIFE,
    BasicColumns,
    OfferMarket,
    empty_groups,
    summarise,
    write_groups,
)
from propensity.kernel.purchase_day import collect, day_lists, decay_days, forget, revenue_since
from propensity.kernel.window import decay_table, first_at


class GroupTables(NamedTuple):
    """What the groups read besides the log.

    Parameters
    ----------
    market : OfferMarket
        Of M offers.
    basic : BasicColumns
        Places of columns of `pair_windows`.
    pair_at : (3,) int
        First pair column of the groups expect, renewal and units; -1: the group is off.
    customer_at : (2,) int
        First customer column of the groups expect and behaviour; -1: the group is off.
    order_size : float
        Revenue above which an order is large.
    channel_code : (C + 1,) int
        Code of each channel, 0 for an unknown one; the last is that of an event without a channel.
    """

    market: OfferMarket
    basic: BasicColumns
    pair_at: np.ndarray
    customer_at: np.ndarray
    order_size: float
    channel_code: np.ndarray


@njit(cache=True, nogil=True)
def windows_and_groups(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    horizon: int,
    mask_days: np.ndarray,
    mask_offer: np.ndarray,
    windows: np.ndarray,
    half_lives: np.ndarray,
    tables: GroupTables,
    pair: np.ndarray,
    person: np.ndarray,
) -> None:
    """Columns of `pair_windows`, and of the groups of pairs and customers, at one cutoff.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    customer : (B,) int
        Rows of the log.
    cutoff, horizon : int
        Day, whose events and later ones are not read, and days that are predicted.
    mask_days : (B,) int
        The most recent days that the history mask hides; 0: none.
    mask_offer : (B,) int
        The offer whose events the history mask hides, from the pair columns; -1: none.
    windows, half_lives : (W,) int, (H,) int
        Days; windows ascending.
    tables : GroupTables
        The market, and the places of columns.
    pair : (B, M, P) float32
        The columns of `pair_windows` and of the groups are overwritten; missing values are NaN.
    person : (B, F) float32
        The groups' columns are overwritten; missing values are NaN.
    """
    market, basic, pair_at, customer_at, order_size, channel_code = tables
    memory, share_decay = pair_memory(pair.shape[1], windows, half_lives), decay_table(SHARE_HALF_LIFE)
    lists = day_lists(events, sets, pair.shape[1], customer, cutoff)
    decayed, rank = np.empty(half_lives.size), np.zeros(RANKED + 2, np.int64)
    empty = empty_groups(pair_at, half_lives.size)
    of_pairs, of_customers = (pair_at >= 0).any(), (customer_at >= 0).any()
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff - mask_days[b])
        write_pairs(events, sets, start, end, cutoff, mask_days[b], mask_offer[b], half_lives, memory, pair[b])
        if not (of_pairs or of_customers):
            continue
        touched, count, spend = collect(events, sets, b, start, end, lists)
        decay_days(lists.shopping, count, cutoff, memory.decay, half_lives, decayed)
        if of_pairs:
            spend_91 = revenue_since(events, start, end, cutoff - 91)
            trips = summarise(lists, count, spend, spend_91, cutoff, horizon, share_decay)
            write_groups(
                *(pair[b], pair_at, basic, lists, touched, trips, decayed, cutoff, horizon, mask_offer[b]),
                *(market, empty, rank),
            )
        if of_customers:
            write_customer(
                *(person[b], customer_at, events, start, end, lists, touched, count, decayed, cutoff, horizon),
                *(order_size, channel_code),
            )
        forget(lists, touched)
