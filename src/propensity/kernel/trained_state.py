"""What the inputs of new offers read of a customer's purchases of trained ones, without the columns of every pair.

Each value equals that of the columns of `propensity.kernel.group.windows_and_groups`, which are float32.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.accumulate import DAYS, accumulate_events, clear
from propensity.kernel.customer_group import write_customer
from propensity.kernel.event import Events, Sets
from propensity.kernel.group import GroupTables
from propensity.kernel.market import MarketColumns
from propensity.kernel.pair import pair_memory, write_sums
from propensity.kernel.purchase_day import collect, day_lists, decay_days, forget
from propensity.kernel.window import first_at

MOST_DAYS = 182  # in which offers are ranked by their purchase days


class TrainedState(NamedTuple):
    """Purchases of M offers by B customers.

    Parameters
    ----------
    profile : (B, 2 M + 1) float32
        Logs of the decayed purchase days, short and long, and ones; 0 for a never-bought offer.
    whole : (B, M) float32
        Log purchase days of the whole past.
    ever, quarter, month : (B, M) float32
        1 where the offer was ever bought, in the last 91 days, and in the last 28.
    days : (B, M) float32
        Purchase days of the last 182 days.
    decayed : (B, H) float64
        Decayed purchase days of all offers in sum, by half-life.
    """

    profile: np.ndarray
    whole: np.ndarray
    ever: np.ndarray
    quarter: np.ndarray
    month: np.ndarray
    days: np.ndarray
    decayed: np.ndarray

    @classmethod
    def empty(cls, customers: int, offers: int, half_lives: int) -> TrainedState:
        """Memory of B customers without a purchase."""
        profile = np.zeros((customers, 2 * offers + 1), np.float32)
        profile[:, -1] = 1.0
        whole, ever, quarter, month, days = np.zeros((5, customers, offers), np.float32)
        return cls(profile, whole, ever, quarter, month, days, np.zeros((customers, half_lives)))


@njit(cache=True, nogil=True)
def trained_state(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    horizon: int,
    windows: np.ndarray,
    half_lives: np.ndarray,
    at: MarketColumns,
    tables: GroupTables,
    out: TrainedState,
    person: np.ndarray,
) -> None:
    """Fills the state of customers, and the groups of customer columns.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    customer : (B,) int
        Rows of the log.
    cutoff, horizon : int
        Day, whose events and later ones are not read, and days that are predicted.
    windows, half_lives : (W,) int, (H,) int
        Days; windows ascending.
    at : MarketColumns
        Places of columns.
    tables : GroupTables
        Of which the places of customer columns, the order size and the channels are read.
    out : TrainedState
        Filled; empty before.
    person : (B, F) float32
        The groups' columns are overwritten; missing values are NaN.
    """
    m_offers, n_windows = out.whole.shape[1], windows.size
    memory, row = pair_memory(m_offers, windows, half_lives), np.empty(2 * windows.size + half_lives.size, np.float32)
    lists = day_lists(events, sets, m_offers, customer, cutoff)
    decayed, of_customers = np.empty(half_lives.size), (tables.customer_at >= 0).any()
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff)
        touched, _ = accumulate_events(
            *(events, sets, start, end, cutoff, -1),
            *(memory.table, memory.decay, half_lives, memory.sums, memory.totals, memory.touched),
        )
        for t in range(touched):
            m = memory.touched[t]
            write_sums(row, memory.sums[m], n_windows)
            write_state(row, np.float32(memory.totals[m, DAYS]), at, out, b, m)
            for h in range(half_lives.size):
                out.decayed[b, h] += row[2 * n_windows + h]
            clear(memory.sums, memory.totals, m)
        if of_customers:
            bought, count, _ = collect(events, sets, b, start, end, lists)
            decay_days(lists.shopping, count, cutoff, memory.decay, half_lives, decayed)
            write_customer(
                *(person[b], tables.customer_at, events, start, end, lists, bought, count, decayed, cutoff, horizon),
                *(tables.order_size, tables.channel_code),
            )
            forget(lists, bought)


@njit(cache=True, nogil=True)
def write_state(row: np.ndarray, days: np.float32, at: MarketColumns, out: TrainedState, b: int, m: int) -> None:
    """The state of customer b and offer m, from the windows and decays in row (2 W + H,)."""
    if days > 0:
        out.profile[b, m] = np.log1p(row[at.short])
        out.profile[b, out.whole.shape[1] + m] = np.log1p(row[at.long])
        out.whole[b, m] = np.log1p(days)
        out.ever[b, m] = 1.0
        out.quarter[b, m] = row[at.days_91] > 0
        out.month[b, m] = row[at.days_28] > 0
        out.days[b, m] = row[at.days_182]


@njit(cache=True, nogil=True)
def rank_among(days: np.ndarray, own: np.ndarray, above: np.ndarray, ranked: np.ndarray) -> None:
    """Rank of new offers among trained ones by purchase days.

    Parameters
    ----------
    days : (B, M) float32
        Purchase days of trained offers in `MOST_DAYS` days.
    own : (B, K) float32
        Those of new offers.
    above : (B, K) int64
        Overwritten: the number of trained offers with more purchase days.
    ranked : (B,) int64
        Overwritten: the number of trained offers with any.
    """
    more = np.zeros(MOST_DAYS + 2, np.int64)
    for b in range(days.shape[0]):
        more[:] = 0
        for m in range(days.shape[1]):
            more[int(days[b, m])] += 1
        total = 0
        for count in range(more.size - 1, -1, -1):
            here, more[count] = more[count], total
            total += here
        ranked[b] = more[0]
        for k in range(own.shape[1]):
            above[b, k] = more[int(own[b, k])]
