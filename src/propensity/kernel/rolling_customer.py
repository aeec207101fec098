"""Rolling windows of customers at many cutoffs, in one pass over their events.

The running total is stored at every day on which a window opens or closes; a window is the difference of two of these
values. In float64 running totals of float32 revenue are exact for all realistic amounts, and decayed sums are added in
the order of `customer_windows`, so both kernels agree to the last bit. The weights of a day at all cutoffs are one row
of a table, so that they are added by vector instructions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.event import Events
from propensity.kernel.window import NEVER


class WindowGrid(NamedTuple):
    """Lookup tables for D cutoffs, W windows, H half-lives, K edges and T days.

    Parameters
    ----------
    cutoff : (D,) int64
        Days, ascending.
    edge : (K,) int64
        Days, ascending, on which a window of some cutoff opens or closes.
    opens, closes : (W D,) int64
        Places of the windows' first and one past last day among the edges.
    origin : int
        The first of the T days before the last cutoff.
    inside : (T, W D) float32
        1 where a window contains the day.
    weight : (T, H D) float64
        Decay weight of the day, 0 from the cutoff on.
    """

    cutoff: np.ndarray
    edge: np.ndarray
    opens: np.ndarray
    closes: np.ndarray
    origin: int
    inside: np.ndarray
    weight: np.ndarray


def grid(first_day: int, cutoffs: np.ndarray, windows: np.ndarray, half_lives: np.ndarray) -> WindowGrid:
    """The tables for distinct cutoffs, sorted, and windows and half-lives in days.

    Parameters
    ----------
    first_day : int
        Day of the first purchase of the log.
    cutoffs, windows, half_lives : (D,), (W,), (H,) int
        Days.
    """
    cutoff, window = np.sort(np.asarray(cutoffs, np.int64)), np.asarray(windows, np.int64)
    starts = cutoff - window[:, None]
    edge = np.unique(np.concatenate([cutoff, starts.ravel()]))
    opens, closes = np.searchsorted(edge, starts), np.searchsorted(edge, np.broadcast_to(cutoff, starts.shape))
    origin = min(int(first_day), int(cutoff[-1]) - 1)
    age = cutoff - np.arange(origin, cutoff[-1])[:, None]
    inside = ((age[:, None] > 0) & (age[:, None] <= window[:, None])).reshape(len(age), -1)
    weight = weights(age, np.asarray(half_lives, np.int64))
    return WindowGrid(cutoff, edge, opens.ravel(), closes.ravel(), origin, inside.astype(np.float32), weight)


@njit(cache=True, nogil=True)
def weights(age: np.ndarray, half_lives: np.ndarray) -> np.ndarray:
    """(T, D) ages, (H,) half-lives in days -> (T, H D) float64, 0 for an age below 1."""
    days, cutoffs = age.shape
    weight = np.zeros((days, half_lives.size * cutoffs))
    for t in range(days):
        for h in range(half_lives.size):
            for d in range(cutoffs):
                if age[t, d] > 0:
                    weight[t, h * cutoffs + d] = 0.5 ** (age[t, d] / half_lives[h])
    return weight


def rolling_customer_columns(windows: tuple[int, ...], half_lives: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `rolling_customer_windows` writes, in order."""
    return (
        *(f"orders_{w}" for w in windows),
        *(f"spend_{w}" for w in windows),
        *(f"decayed_{h}" for h in half_lives),
        "recency",
        "since_first",
    )


@njit(cache=True, nogil=True)
def rolling_customer_windows(events: Events, grid: WindowGrid, customer: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Rolling windows of each customer at each cutoff.

    Parameters
    ----------
    events : Events
        The log.
    grid : WindowGrid
        Cutoffs, windows and half-lives.
    customer : (B,) int
        Rows of the log.
    out : (B, 2 W + H + 2, D) float32
        Overwritten with the columns `rolling_customer_columns`. recency and since_first, days since the last and the
        first purchase, are NaN where nothing was bought; the others equal those of `customer_windows`.

    Returns
    -------
    (B, 2 W + H + 2, D) float32
        `out`.
    """
    offsets, day, order, revenue = events.offsets, events.day, events.order, events.revenue
    cutoff, edge, opens, closes, origin, _, weight = grid
    orders, spend, last = np.zeros(edge.size), np.zeros(edge.size), np.zeros(cutoff.size)
    decayed, flat = np.zeros(weight.shape[1]), out.reshape(out.shape[0], -1)
    for b in range(customer.size):
        start, end = offsets[customer[b]], offsets[customer[b] + 1]
        decayed[:] = 0.0
        first = running_totals(
            start, end, day, order, revenue, cutoff, edge, origin, weight, orders, spend, last, decayed
        )
        write_windows(cutoff, opens, closes, orders, spend, last, decayed, first, flat[b])
    return out


@njit(cache=True, nogil=True, inline="always")
def running_totals(
    start: int,
    end: int,
    day: np.ndarray,
    order: np.ndarray,
    revenue: np.ndarray,
    cutoff: np.ndarray,
    edge: np.ndarray,
    origin: int,
    weight: np.ndarray,
    orders: np.ndarray,
    spend: np.ndarray,
    last: np.ndarray,
    decayed: np.ndarray,
) -> int:
    """Fills running orders and spend before each edge (K,), and the day of the last purchase before each cutoff (D,).

    Adds decayed orders (H D,) and returns the day of the first purchase. Columns are arguments because unpacking a
    tuple takes as long as the sums. Revenue is multiplied by whether the event is a purchase instead of branching:
    about one event in seven is none, unpredictably, and a mispredicted branch costs more than five sums.
    """
    count, paid, latest, first, newest, d, e = 0.0, 0.0, start, NEVER, -1, 0, start
    for k in range(edge.size):
        while e < end and day[e] < edge[k]:
            number = order[e]
            paid += revenue[e] * (number >= 0)
            if number >= 0:
                latest = e
            if number > newest:
                today = day[e]
                if newest < 0:
                    first = today
                newest = number
                count += 1.0
                for p in range(decayed.size):
                    decayed[p] += weight[today - origin, p]
            e += 1
        orders[k], spend[k] = count, paid
        if edge[k] == cutoff[d]:
            last[d] = day[latest] if count > 0 else NEVER
            d += 1
    return first


@njit(cache=True, nogil=True, inline="always")
def write_windows(
    cutoff: np.ndarray,
    opens: np.ndarray,
    closes: np.ndarray,
    orders: np.ndarray,
    spend: np.ndarray,
    last: np.ndarray,
    decayed: np.ndarray,
    first: int,
    out: np.ndarray,
) -> None:
    """One customer's rows ((2 W + H + 2) D,), column by column."""
    n, cutoffs = opens.size, cutoff.size
    at = 2 * n + decayed.size
    for p in range(n):
        out[p] = orders[closes[p]] - orders[opens[p]]
        out[n + p] = spend[closes[p]] - spend[opens[p]]
    for p in range(decayed.size):
        out[2 * n + p] = decayed[p]
    for d in range(cutoffs):
        bought = last[d] > NEVER
        out[at + d] = cutoff[d] - last[d] if bought else np.nan
        out[at + cutoffs + d] = cutoff[d] - first if bought else np.nan
