"""The last events of each customer as right-padded arrays, gathered without a Python call for each customer."""

from __future__ import annotations

import numpy as np
from numba import literal_unroll, njit

from propensity.kernel.event import Events, Sets
from propensity.kernel.prefetch import LINE, prefetch
from propensity.kernel.window import first_at

AHEAD = 8  # customers ahead of the one being copied whose events are prefetched


@njit(cache=True, nogil=True)
def last_events(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    mask_days: np.ndarray,
    mask_offer: np.ndarray,
    item_code: np.ndarray,
    channel_code: np.ndarray,
    out: tuple[np.ndarray, ...],
) -> None:
    """Fills `out` with the last visible events of each customer, oldest first.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    customer : (B,) int
        Rows of the log.
    cutoff : int
        Day; events of this day and later are not read.
    mask_days : (B,) int
        The most recent days that the history mask hides; 0: none.
    mask_offer : (B,) int
        The offer whose events the history mask hides; -1: none.
    item_code : (I + 1, K) int32
        Attribute codes of each item; the last row is that of an event without an item.
    channel_code : (C + 1,) int32
        Code of each channel; the last is that of an event without a channel.
    out : tuple of arrays
        token (B, L, K), kind, channel, age, amount (B, L) and length (B,), overwritten. age is in days at the cutoff (1
        or more), amount is the event's revenue. Slots past `length` hold the codes of none, and zeros.
    """
    offsets, (token, kind, channel, age, amount, length) = events.offsets, out
    width, newest_first = kind.shape[1], np.empty(kind.shape[1], np.int64)
    end = ends(events, customer, cutoff, mask_days)
    for b in range(customer.size):
        if b + AHEAD < customer.size:
            soon = end[b + AHEAD]
            prefetch_events(events, max(soon - width, offsets[customer[b + AHEAD]]), soon)
        row = token[b], kind[b], channel[b], age[b], amount[b]
        if mask_offer[b] < 0:
            count = min(end[b] - offsets[customer[b]], width)
            copy_events(events, item_code, channel_code, cutoff, end[b] - count, 0, count, row)
        else:
            count = newest(events, sets, offsets[customer[b]], end[b], mask_offer[b], newest_first)
            for j in range(count):
                copy_events(events, item_code, channel_code, cutoff, newest_first[count - 1 - j], j, 1, row)
        fill_padding(item_code, channel_code, count, row)
        length[b] = count


@njit(cache=True, nogil=True)
def last_positions(
    events: Events, sets: Sets, customer: np.ndarray, end: np.ndarray, mask_offer: np.ndarray, position: np.ndarray
) -> None:
    """Fills position (B, L) int64 with the places of the events of `last_events` in the log, -1 past the last.

    end (B,) is that of `ends`.
    """
    newest_first = np.empty(position.shape[1], np.int64)
    for b in range(customer.size):
        count = newest(events, sets, events.offsets[customer[b]], end[b], mask_offer[b], newest_first)
        position[b, :count] = newest_first[:count][::-1]
        position[b, count:] = -1


@njit(cache=True, nogil=True)
def ends(events: Events, customer: np.ndarray, cutoff: int, mask_days: np.ndarray) -> np.ndarray:
    """Where the visible events of each customer (B,) end in the log, without the last mask_days (B,): (B,) int64."""
    end = np.empty(customer.size, np.int64)
    for b in range(customer.size):
        end[b] = first_at(events, customer[b], cutoff - mask_days[b])
    return end


@njit(cache=True, nogil=True, inline="always")
def prefetch_events(events: Events, first: int, end: int) -> None:
    """Prefetches what `copy_events` will read of [first, end)."""
    for column in literal_unroll((events.item, events.day, events.revenue, events.kind, events.channel)):
        for e in range(first, end, LINE // column.itemsize):
            prefetch(column, e)
        if first < end:
            prefetch(column, end - 1)


@njit(cache=True, nogil=True, inline="always")
def copy_events(
    events: Events,
    item_code: np.ndarray,
    channel_code: np.ndarray,
    cutoff: int,
    first: int,
    slot: int,
    count: int,
    row: tuple[np.ndarray, ...],
) -> None:
    """Copies events [first, first + count) to slots from `slot` on; a loop for each column, for vector instructions."""
    token, kind, channel, age, amount = row
    for j in range(count):
        kind[slot + j] = events.kind[first + j]
    for j in range(count):
        age[slot + j] = cutoff - events.day[first + j]
    for j in range(count):
        amount[slot + j] = events.revenue[first + j]
    for j in range(count):
        channel[slot + j] = channel_code[events.channel[first + j]]
    for k in range(item_code.shape[1]):
        for j in range(count):
            token[slot + j, k] = item_code[events.item[first + j], k]


@njit(cache=True, nogil=True, inline="always")
def fill_padding(item_code: np.ndarray, channel_code: np.ndarray, count: int, row: tuple[np.ndarray, ...]) -> None:
    """Fills the slots from `count` on."""
    token, kind, channel, age, amount = row
    for j in range(count, kind.size):
        kind[j] = 0
    for j in range(count, kind.size):
        age[j] = 0.0
    for j in range(count, kind.size):
        amount[j] = 0.0
    for j in range(count, kind.size):
        channel[j] = channel_code[-1]
    for k in range(item_code.shape[1]):
        for j in range(count, kind.size):
            token[j, k] = item_code[-1, k]


@njit(cache=True, nogil=True)
def newest(events: Events, sets: Sets, start: int, end: int, mask_offer: int, newest_first: np.ndarray) -> int:
    """Writes to newest_first (L,) the newest events of [start, end) outside the masked offer; returns their number."""
    count, e = 0, end - 1
    while e >= start and count < newest_first.size:
        if mask_offer < 0 or not belongs(sets, events.item[e], mask_offer):
            newest_first[count] = e
            count += 1
        e -= 1
    return count


@njit(cache=True, nogil=True)
def belongs(sets: Sets, item: int, offer: int) -> bool:
    """Whether the item (-1: none) is in the offer."""
    inside = False
    if item >= 0:
        for k in range(sets.offsets[item], sets.offsets[item + 1]):
            inside = inside or sets.offer[k] == offer
    return inside


@njit(cache=True, nogil=True)
def visible_events(events: Events, customer: np.ndarray, cutoff: int, most: int) -> np.ndarray:
    """How many events of each customer (B,) are visible on a day, at most `most`: (B,) int64."""
    count = np.empty(customer.size, np.int64)
    for b in range(customer.size):
        count[b] = min(first_at(events, customer[b], cutoff) - events.offsets[customer[b]], most)
    return count
