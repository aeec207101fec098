"""Pair columns that are looked up in the market's tables, and the contiguous arrays that matrix products need.

Rows of the inputs are far apart in memory, so each pass over them reads and writes all columns of a pair together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, Events, Sets
from propensity.kernel.window import NEVER, decay_of, decay_table, first_at


class MarketColumns(NamedTuple):
    """Places of pair columns: those that are read, and the two that are written.

    Parameters
    ----------
    days_28, days_91, days_182, short, long, recency, purchase_days : int
        Columns of `pair_windows`; short and long are decayed by the half-lives of affinity.
    expected, hazard : int
        Columns of the market.
    """

    days_28: int
    days_91: int
    days_182: int
    short: int
    long: int
    recency: int
    purchase_days: int
    expected: int
    hazard: int

    @classmethod
    def of(cls, names: Sequence[str], half_lives: Sequence[int]) -> MarketColumns:
        """The places among the names of all pair columns."""
        decayed = [f"decayed_{half_life}" for half_life in half_lives]
        read = ("days_28", "days_91", "days_182", *decayed, "recency", "purchase_days", "expected", "hazard")
        return cls(*map(names.index, read))


@njit(cache=True, nogil=True)
def look_up(
    out: np.ndarray,
    at: MarketColumns,
    tenure: np.ndarray,
    days: tuple[int, int, int],
    rate: np.ndarray,
    hazard: np.ndarray,
    edges: tuple[np.ndarray, np.ndarray],
) -> None:
    """Writes expected purchases and the hazard of each pair.

    Parameters
    ----------
    out : (B, M, P) float32
        Pair columns.
    at : MarketColumns
        Places of columns.
    tenure : (B,) float32
        Days since the first purchase.
    days : tuple of int
        The window of the customer's own rate, the days that the market's rate counts for, and the horizon.
    rate : (M,) float64
        Purchase days per customer and day.
    hazard : (M, cells) float64
        Share of pairs of a cell that bought within a horizon; cell 0: never-bought.
    edges : tuple of (R,) and (C,) int64
        Edges of recency in days, and of purchase days, that bound the cells.
    """
    window, prior, horizon = days
    row_of, column_of = bin_table(edges[0]), bin_table(edges[1])
    for b in range(out.shape[0]):
        exposure = min(tenure[b], window) + prior
        for m in range(out.shape[1]):
            row = out[b, m]
            row[at.expected] = (row[at.days_182] + prior * rate[m]) / exposure * horizon
            row[at.hazard] = hazard[m, cell_of(row[at.recency], row[at.purchase_days], row_of, column_of)]


@njit(cache=True, nogil=True)
def bin_table(edges: np.ndarray) -> np.ndarray:
    """Number of edges (E,), ascending, that each whole number up to the last edge reaches: (last + 1,) int64."""
    table = np.zeros(edges[-1] + 1, np.int64)
    for edge in edges:
        table[edge:] += 1
    return table


@njit(cache=True, nogil=True)
def cell_of(recency: float, purchase_days: float, row_of: np.ndarray, column_of: np.ndarray) -> int:
    """Cell of a pair by the tables of `bin_table` for recency and purchase days; 0 for never-bought."""
    if not purchase_days > 0:
        return 0
    row, column = row_of[min(int(recency), row_of.size - 1)], column_of[min(int(purchase_days), column_of.size - 1)]
    return 1 + row * (column_of[-1] + 1) + column


@njit(cache=True, nogil=True)
def profiles(out: np.ndarray, at: MarketColumns) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What affinities are computed from, as contiguous float32 arrays.

    Returns
    -------
    tuple of arrays
        Logs of the decayed purchase days, short and long, and ones: (B, 2 M + 1). Log purchase days, and whether the
        offer was ever bought, in the last 91 days and in the last 28: each (B, M).
    """
    customers, m = out.shape[:2]
    profile, whole = np.zeros((customers, 2 * m + 1), np.float32), np.zeros((customers, m), np.float32)
    ever, quarter, month = np.zeros_like(whole), np.zeros_like(whole), np.zeros_like(whole)
    for b in range(customers):
        profile[b, 2 * m] = 1.0
        for j in range(m):
            row = out[b, j]
            if row[at.purchase_days] > 0:
                profile[b, j] = np.log1p(row[at.short])
                profile[b, m + j] = np.log1p(row[at.long])
                whole[b, j] = np.log1p(row[at.purchase_days])
                ever[b, j] = 1.0
                quarter[b, j] = row[at.days_91] > 0
                month[b, j] = row[at.days_28] > 0
    return profile, whole, ever, quarter, month


@njit(cache=True, nogil=True)
def spread(source: np.ndarray, at: np.ndarray, out: np.ndarray) -> None:
    """Writes source (K, B, M) to the columns at (K,) of out (B, M, P)."""
    for b in range(out.shape[0]):
        for m in range(out.shape[1]):
            for k in range(at.size):
                out[b, m, at[k]] = source[k, b, m]


@njit(cache=True, nogil=True)
def purchase_state(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    half_lives: np.ndarray,
    decayed: np.ndarray,
    recency: np.ndarray,
    purchase_days: np.ndarray,
) -> None:
    """Fills the purchase days of each customer and offer before a cutoff, equal to the columns of `pair_windows`.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    customer : (B,) int
        Rows of the log.
    cutoff : int
        Day; events of this day and later are not read.
    half_lives : (H,) int
        Days.
    decayed : (B, H M + ...) float32
        Overwritten, one block of M offers per half-life: purchase days, each weighted by 0.5 ** (age / half-life).
    recency, purchase_days : (B, M) float32
        Overwritten; recency is NaN for a never-bought offer.
    """
    n_offers, n, decay = recency.shape[1], half_lives.size, decay_table(half_lives)
    sums, last, days = np.zeros((n_offers, n)), np.full(n_offers, NEVER), np.zeros(n_offers, np.int64)
    touched, weight = np.empty(n_offers, np.int64), np.zeros(n)
    for b in range(customer.size):
        count, today = 0, NEVER
        decayed[b, : n * n_offers], recency[b], purchase_days[b] = 0.0, np.nan, 0.0
        for e in range(events.offsets[customer[b]], first_at(events, customer[b], cutoff)):
            if events.kind[e] != PURCHASE or events.item[e] < 0:
                continue
            if events.day[e] != today:
                today = events.day[e]
                for h in range(n):
                    weight[h] = decay_of(decay, half_lives, cutoff - today, h)
            for j in range(sets.offsets[events.item[e]], sets.offsets[events.item[e] + 1]):
                m = sets.offer[j]
                if last[m] == today:
                    continue
                if last[m] == NEVER:
                    touched[count] = m
                    count += 1
                last[m] = today
                days[m] += 1
                for h in range(n):
                    sums[m, h] += weight[h]
        for t in range(count):
            m = touched[t]
            for h in range(n):
                decayed[b, h * n_offers + m] = sums[m, h]
                sums[m, h] = 0.0
            recency[b, m], purchase_days[b, m] = cutoff - last[m], days[m]
            last[m], days[m] = NEVER, 0


@njit(cache=True, nogil=True)
def cells(recency: np.ndarray, purchase_days: np.ndarray, edges: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Cell of each of K pairs in the tables that `look_up` reads; 0 for never-bought: (K,) int64."""
    row_of, column_of, out = bin_table(edges[0]), bin_table(edges[1]), np.zeros(recency.size, np.int64)
    for k in range(out.size):
        out[k] = cell_of(recency[k], purchase_days[k], row_of, column_of)
    return out


@njit(cache=True, nogil=True)
def count_cells(cell: np.ndarray, bought: np.ndarray, trials: np.ndarray, hits: np.ndarray) -> None:
    """Adds the pairs of B customers, cell (B, M) and bought (B, M), to trials and hits (M, cells)."""
    for b in range(cell.shape[0]):
        for m in range(cell.shape[1]):
            trials[m, cell[b, m]] += 1.0
            hits[m, cell[b, m]] += bought[b, m]
