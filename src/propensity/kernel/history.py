"""The last events of each customer as right-padded arrays, gathered without a per-sample Python call."""

from __future__ import annotations

import numpy as np
from numba import literal_unroll, njit

from propensity.kernel.event import Events, Sets
from propensity.kernel.prefetch import LINE, prefetch
from propensity.kernel.window import first_at

AHEAD = 8  # customers whose events are on their way while those of another are copied


@njit(cache=True, nogil=True)
def last_events(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    hide_days: np.ndarray,
    hide_offer: np.ndarray,
    item_code: np.ndarray,
    channel_code: np.ndarray,
    out: tuple[np.ndarray, ...],
) -> None:
    """Fills `out` with the last visible events of each customer, oldest first.

    Args: item_code (I + 1, K) and channel_code (C + 1,) what items and channels become, the last being none; out, token
    (B, L, K), kind, channel, gap, amount (B, L) and length (B,). gap is the age in days at the cutoff (1 or more),
    amount the event's revenue; slots past `length` hold the codes of none, and zeros. Events in the last `hide_days` of
    a customer, and those of its `hide_offer`, are left out.
    """
    offsets, (token, kind, channel, gap, amount, length) = events.offsets, out
    width, kept = kind.shape[1], np.empty(kind.shape[1], np.int64)
    end = ends(events, customer, cutoff, hide_days)
    for b in range(customer.size):
        if b + AHEAD < customer.size:
            soon = end[b + AHEAD]
            call_up(events, max(soon - width, offsets[customer[b + AHEAD]]), soon)
        row = token[b], kind[b], channel[b], gap[b], amount[b]
        if hide_offer[b] < 0:
            count = min(end[b] - offsets[customer[b]], width)
            copy_events(events, item_code, channel_code, cutoff, end[b] - count, 0, count, row)
        else:
            count = newest(events, sets, offsets[customer[b]], end[b], hide_offer[b], kept)
            for j in range(count):
                copy_events(events, item_code, channel_code, cutoff, kept[count - 1 - j], j, 1, row)
        leave_empty(item_code, channel_code, count, row)
        length[b] = count


@njit(cache=True, nogil=True)
def last_positions(
    events: Events, sets: Sets, customer: np.ndarray, end: np.ndarray, hide_offer: np.ndarray, position: np.ndarray
) -> None:
    """Fills position (B, L) int64 with where the events of `last_events` stand in the log, -1 past the last; end (B,)
    as of `ends`."""
    kept = np.empty(position.shape[1], np.int64)
    for b in range(customer.size):
        count = newest(events, sets, events.offsets[customer[b]], end[b], hide_offer[b], kept)
        position[b, :count] = kept[:count][::-1]
        position[b, count:] = -1


@njit(cache=True, nogil=True)
def ends(events: Events, customer: np.ndarray, cutoff: int, hide_days: np.ndarray) -> np.ndarray:
    """Where what is visible of each customer (B,) ends in the log, when the last hide_days (B,) are not: (B,) int64."""
    end = np.empty(customer.size, np.int64)
    for b in range(customer.size):
        end[b] = first_at(events, customer[b], cutoff - hide_days[b])
    return end


@njit(cache=True, nogil=True, inline="always")
def call_up(events: Events, first: int, end: int) -> None:
    """Fetches what `copy_events` will read of [first, end)."""
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
    """Events [first, first + count) into slots from `slot` on; a loop a column, for vector instructions."""
    token, kind, channel, gap, amount = row
    for j in range(count):
        kind[slot + j] = events.kind[first + j]
    for j in range(count):
        gap[slot + j] = cutoff - events.day[first + j]
    for j in range(count):
        amount[slot + j] = events.revenue[first + j]
    for j in range(count):
        channel[slot + j] = channel_code[events.channel[first + j]]
    for k in range(item_code.shape[1]):
        for j in range(count):
            token[slot + j, k] = item_code[events.item[first + j], k]


@njit(cache=True, nogil=True, inline="always")
def leave_empty(item_code: np.ndarray, channel_code: np.ndarray, count: int, row: tuple[np.ndarray, ...]) -> None:
    """Slots from `count` on."""
    token, kind, channel, gap, amount = row
    for j in range(count, kind.size):
        kind[j] = 0
    for j in range(count, kind.size):
        gap[j] = 0.0
    for j in range(count, kind.size):
        amount[j] = 0.0
    for j in range(count, kind.size):
        channel[j] = channel_code[-1]
    for k in range(item_code.shape[1]):
        for j in range(count, kind.size):
            token[j, k] = item_code[-1, k]


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
