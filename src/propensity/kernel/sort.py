"""Sorts rows of a log by customer and day, numbers orders, and merges the events of logs."""

from __future__ import annotations

import numpy as np
from numba import njit

SPARE = 1 << 16  # buckets of a counting sort that are always affordable


@njit(cache=True, nogil=True)
def by_customer_and_day(customer: np.ndarray, day: np.ndarray, customers: int) -> np.ndarray:
    """Stable order of rows by customer, then day.

    Parameters
    ----------
    customer : np.ndarray
        (R,) codes in [0, customers).
    day : np.ndarray
        (R,) integers.
    customers : int
        Number of codes.

    Returns
    -------
    np.ndarray
        (R,) int64 row numbers.

    Notes
    -----
    Two counting sorts, or a comparison sort of days that are far apart.
    """
    oldest, newest = (int(day.min()), int(day.max())) if day.size else (0, -1)
    span = newest - oldest + 1
    if span > 4 * day.size + SPARE:
        by_day = np.argsort(day, kind="mergesort")
    else:
        by_day = counting_sort(day, np.arange(day.size), oldest, span)
    return counting_sort(customer, by_day, 0, customers)


@njit(cache=True, nogil=True)
def counting_sort(key: np.ndarray, order: np.ndarray, least: int, span: int) -> np.ndarray:
    """`order` (R,), stably sorted by its rows' key (R,), whose values lie in [least, least + span)."""
    place = np.zeros(span + 1, np.int64)
    for r in range(key.size):
        place[key[r] - least + 1] += 1
    for k in range(span):
        place[k + 1] += place[k]
    out = np.empty(order.size, np.int64)
    for r in order:
        out[place[key[r] - least]] = r
        place[key[r] - least] += 1
    return out


@njit(cache=True, nogil=True)
def number_orders(
    offsets: np.ndarray, purchase: np.ndarray, named: np.ndarray, key: np.ndarray, day: np.ndarray
) -> np.ndarray:
    """Numbers the orders of each customer from 0 by first appearance.

    Parameters
    ----------
    offsets : np.ndarray
        (N+1,) int64; customer n owns rows [offsets[n], offsets[n + 1]).
    purchase : np.ndarray
        (R,) bool rows that belong to an order.
    named : np.ndarray
        (R,) bool rows with an order id; the others of a day are one order.
    key : np.ndarray
        (R,) int64 order ids, where `named`; the same id on another day is another order.
    day : np.ndarray
        (R,) integers.

    Returns
    -------
    np.ndarray
        (R,) int32, -1 for rows that belong to no order.
    """
    number = np.full(day.size, -1, np.int32)
    slot = np.full(SPARE, -1, np.int64)  # hash table of the first row of each order
    for n in range(offsets.size - 1):
        start, end = offsets[n], offsets[n + 1]
        size = 4
        while size < 2 * (end - start):
            size *= 2
        if size > slot.size:
            slot = np.full(size, -1, np.int64)
        count, last = 0, -1
        for r in range(start, end):
            if not purchase[r]:
                continue
            if last < 0 or not same_order(named, key, day, r, last):
                last, new = first_row_of_order(slot, size, named, key, day, r)
                if new:
                    number[r] = count
                    count += 1
            number[r] = number[last]
        slot[:size] = -1
    return number


@njit(cache=True, nogil=True)
def same_order(named: np.ndarray, key: np.ndarray, day: np.ndarray, one: int, other: int) -> bool:
    """Whether two rows of a customer belong to one order."""
    if named[one] != named[other] or day[one] != day[other]:
        return False
    return not named[one] or key[one] == key[other]


@njit(cache=True, nogil=True)
def first_row_of_order(
    slot: np.ndarray, size: int, named: np.ndarray, key: np.ndarray, day: np.ndarray, row: int
) -> tuple[int, bool]:
    """The first row of the order of `row`, and whether that is `row`; slot (size,), a power of two, is a hash table."""
    value = np.uint64(day[row]) * np.uint64(0xC2B2AE3D27D4EB4F)
    if named[row]:
        value ^= np.uint64(key[row])
    place = np.int64((value * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & (size - 1)
    while slot[place] >= 0:
        if same_order(named, key, day, row, slot[place]):
            return slot[place], False
        place = (place + 1) & (size - 1)
    slot[place] = row
    return row, True


@njit(cache=True, nogil=True)
def merge_events(
    old_at: np.ndarray,
    old_offsets: np.ndarray,
    new_at: np.ndarray,
    new_offsets: np.ndarray,
    old: np.ndarray,
    new: np.ndarray,
    out: np.ndarray,
) -> None:
    """Merges one column of two logs: of each customer first the old events, then the new.

    Parameters
    ----------
    old_at, new_at : np.ndarray
        (N,) row of the customer in each log, -1 for none.
    old_offsets, new_offsets : np.ndarray
        Offsets of each log.
    old, new : np.ndarray
        (O,), (P,) values.
    out : np.ndarray
        (O + P,) filled with the merged column.
    """
    place, start, stop = 0, 0, 0  # old events from start to stop are not copied yet
    for n in range(old_at.size):
        if old_at[n] >= 0:
            if old_offsets[old_at[n]] != stop:
                place = copy_events(old, start, stop, out, place)
                start = old_offsets[old_at[n]]
            stop = old_offsets[old_at[n] + 1]
        if new_at[n] >= 0 and new_offsets[new_at[n]] < new_offsets[new_at[n] + 1]:
            place = copy_events(old, start, stop, out, place)
            start = stop
            place = copy_events(new, new_offsets[new_at[n]], new_offsets[new_at[n] + 1], out, place)
    copy_events(old, start, stop, out, place)


@njit(cache=True, nogil=True)
def copy_events(values: np.ndarray, start: int, stop: int, out: np.ndarray, place: int) -> int:
    """Copies values [start, stop) to `out` from `place` on; returns the next place."""
    for e in range(start, stop):
        out[place + e - start] = values[e]
    return place + stop - start


@njit(cache=True, nogil=True)
def scatter_events(values: np.ndarray, count: np.ndarray, place: np.ndarray, out: np.ndarray) -> None:
    """Copies the events of customers, who follow one another in `values`, to the places of each.

    Parameters
    ----------
    values : np.ndarray
        (P,) values of the events.
    count, place : np.ndarray
        (n,) int64 number of events of each customer, and where the first is copied to.
    out : np.ndarray
        (E,) filled there.
    """
    start = 0
    for n in range(count.size):
        copy_events(values, start, start + count[n], out, place[n])
        start += count[n]


@njit(cache=True, nogil=True)
def orders_so_far(offsets: np.ndarray, order: np.ndarray, customer: np.ndarray) -> np.ndarray:
    """Number of orders of some customers (B,), rows of the log; 0 for row -1: (B,) int64."""
    count = np.zeros(customer.size, np.int64)
    for b in range(customer.size):
        if customer[b] >= 0:
            for e in range(offsets[customer[b]], offsets[customer[b] + 1]):
                count[b] = max(count[b], order[e] + 1)
    return count


@njit(cache=True, nogil=True)
def events_of_days(
    offsets: np.ndarray, day: np.ndarray, row: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the events of some customers on some days lie.

    Parameters
    ----------
    offsets, day : np.ndarray
        Offsets (N + 1,) and days (E,) of a log.
    row, wanted : np.ndarray of shape (n,), int
        Row of the customer, and the day.

    Returns
    -------
    start, stop : np.ndarray of shape (n,), int64
        Events [start, stop).
    """
    start, stop = np.zeros(row.size, np.int64), np.zeros(row.size, np.int64)
    for k in range(row.size):
        low, high = offsets[row[k]], offsets[row[k] + 1]
        start[k] = low + np.searchsorted(day[low:high], wanted[k], side="left")
        stop[k] = low + np.searchsorted(day[low:high], wanted[k], side="right")
    return start, stop
