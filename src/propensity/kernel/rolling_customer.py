"""What customers did by each of many cutoffs, in one pass over their events.

Notable: running totals are noted down wherever a window opens or closes, and a window is the difference of two of them.
In float64 such totals of float32 money are exact for all but absurd amounts, and decayed sums are added in the order of
`customer_windows`, so both kernels agree to the last bit. What a day weighs at every cutoff is one row of a table, so
that it is added by vector instructions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.event import Events
from propensity.kernel.window import NEVER


class WindowGrid(NamedTuple):
    """Cutoffs and what is asked of them: D cutoffs, W windows, H half-lives, K edges, T days.

    cutoff (D,) ascending days; edge (K,) ascending days on which a window of some cutoff opens or closes; opens and
    closes (W D,) their places among the edges; origin, the first of the T days before the last cutoff; held (T, W D)
    1 where a window holds the day; weight (T, H D) the decayed weight of the day, 0 from the cutoff on.
    """

    cutoff: np.ndarray
    edge: np.ndarray
    opens: np.ndarray
    closes: np.ndarray
    origin: int
    held: np.ndarray
    weight: np.ndarray


def grid(first_day: int, cutoffs: np.ndarray, windows: np.ndarray, half_lives: np.ndarray) -> WindowGrid:
    """The course of distinct cutoffs (D,), for windows (W,) and half-lives (H,) in days.

    first_day: nothing was bought before it. Cutoffs are taken in ascending order.
    """
    cutoff, window = np.sort(np.asarray(cutoffs, np.int64)), np.asarray(windows, np.int64)
    starts = cutoff - window[:, None]
    edge = np.unique(np.concatenate([cutoff, starts.ravel()]))
    opens, closes = np.searchsorted(edge, starts), np.searchsorted(edge, np.broadcast_to(cutoff, starts.shape))
    origin = min(int(first_day), int(cutoff[-1]) - 1)
    age = cutoff - np.arange(origin, cutoff[-1])[:, None]
    held = ((age[:, None] > 0) & (age[:, None] <= window[:, None])).reshape(len(age), -1)
    weight = weights(age, np.asarray(half_lives, np.int64))
    return WindowGrid(cutoff, edge, opens.ravel(), closes.ravel(), origin, held.astype(np.float32), weight)


@njit(cache=True, nogil=True)
def weights(age: np.ndarray, half_lives: np.ndarray) -> np.ndarray:
    """(T, D) ages, (H,) half-lives in days -> (T, H D) float64, 0 for an age below 1."""
    days, cutoffs = age.shape
    made = np.zeros((days, half_lives.size * cutoffs))
    for t in range(days):
        for h in range(half_lives.size):
            for d in range(cutoffs):
                if age[t, d] > 0:
                    made[t, h * cutoffs + d] = 0.5 ** (age[t, d] / half_lives[h])
    return made


def rolling_customer_columns(windows: tuple[int, ...], half_lives: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `customer_trail` writes, in order."""
    return (
        *(f"orders_{w}" for w in windows),
        *(f"spend_{w}" for w in windows),
        *(f"decayed_{h}" for h in half_lives),
        "recency",
        "since_first",
    )


@njit(cache=True, nogil=True)
def customer_trail(events: Events, grid: WindowGrid, customer: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Trailing windows of each customer at each cutoff: customer (B,) rows of the log, out (B, 2 W + H + 2, D) float32.

    recency and since_first, days since the last and the first purchase, are NaN where nothing was bought; the other
    columns equal those of `customer_windows`.
    """
    offsets, day, order, revenue = events.offsets, events.day, events.order, events.revenue
    cutoff, edge, opens, closes, origin, _, weight = grid
    orders, spend, last = np.zeros(edge.size), np.zeros(edge.size), np.zeros(cutoff.size)
    decayed, flat = np.zeros(weight.shape[1]), out.reshape(out.shape[0], -1)
    for b in range(customer.size):
        start, end = offsets[customer[b]], offsets[customer[b] + 1]
        decayed[:] = 0.0
        first = follow(start, end, day, order, revenue, cutoff, edge, origin, weight, orders, spend, last, decayed)
        write_trail(cutoff, opens, closes, orders, spend, last, decayed, first, flat[b])
    return out


@njit(cache=True, nogil=True, inline="always")
def follow(
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

    Adds decayed orders (H D,). Returns: the day of the first purchase. Takes columns: unpacking a tuple would take as
    long as the sums. Whether an event is a purchase is multiplied with its money, which is finite, rather than asked:
    one event in seven is none, in no order, and a wrong guess of the processor costs more than five sums.
    """
    count, money, latest, first, newest, d, e = 0.0, 0.0, start, NEVER, -1, 0, start
    for k in range(edge.size):
        while e < end and day[e] < edge[k]:
            number = order[e]
            money += revenue[e] * (number >= 0)
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
        orders[k], spend[k] = count, money
        if edge[k] == cutoff[d]:
            last[d] = day[latest] if count > 0 else NEVER
            d += 1
    return first


@njit(cache=True, nogil=True, inline="always")
def write_trail(
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
