"""The last events of each customer as right-padded arrays, gathered without a per-sample Python call."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import Events, Sets
from propensity.kernel.window import first_at


@njit(cache=True, nogil=True)
def last_events(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    hide_days: np.ndarray,
    hide_offer: np.ndarray,
    out: tuple[np.ndarray, ...],
) -> None:
    """Fills `out = (item, kind, channel, gap, amount (B, L), length (B,))` with the last visible events, oldest first.

    gap is the age in days at the cutoff (1 or more), amount the event's revenue; slots past `length` hold item and
    channel -1, and zeros. Events in the last `hide_days` of a customer, and those of its `hide_offer`, are left out.
    """
    item, kind, channel, gap, amount, length = out
    kept = np.empty(item.shape[1], np.int64)
    for b in range(customer.size):
        end = first_at(events, customer[b], cutoff - hide_days[b])
        count = newest(events, sets, events.offsets[customer[b]], end, hide_offer[b], kept)
        for j in range(count):
            e = kept[count - 1 - j]
            item[b, j], kind[b, j], channel[b, j] = events.item[e], events.kind[e], events.channel[e]
            gap[b, j], amount[b, j] = cutoff - events.day[e], events.revenue[e]
        item[b, count:], kind[b, count:], channel[b, count:] = -1, 0, -1
        gap[b, count:], amount[b, count:] = 0, 0.0
        length[b] = count


@njit(cache=True, nogil=True)
def newest(events: Events, sets: Sets, start: int, end: int, hide_offer: int, kept: np.ndarray) -> int:
    """Writes to kept (L,) the newest events of [start, end) outside the hidden offer, newest first; their number."""
    count, e = 0, end - 1
    while e >= start and count < kept.size:
        if hide_offer < 0 or not belongs(sets, events.item[e], hide_offer):
            kept[count] = e
            count += 1
        e -= 1
    return count


@njit(cache=True, nogil=True)
def belongs(sets: Sets, item: int, offer: int) -> bool:
    """Whether the item (-1: none) is in the offer."""
    found = False
    if item >= 0:
        for k in range(sets.offsets[item], sets.offsets[item + 1]):
            found = found or sets.offer[k] == offer
    return found


@njit(cache=True, nogil=True)
def visible_events(events: Events, customer: np.ndarray, cutoff: int, most: int) -> np.ndarray:
    """How many events of each customer (B,) are visible on a day, at most `most`: (B,) int64."""
    count = np.empty(customer.size, np.int64)
    for b in range(customer.size):
        count[b] = min(first_at(events, customer[b], cutoff) - events.offsets[customer[b]], most)
    return count
