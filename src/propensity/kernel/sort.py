"""Rows of a log put in their place: sorted by customer and day, orders numbered, codes and days of items gathered."""

from __future__ import annotations

import numpy as np
from numba import njit

SPARE = 1 << 16  # buckets of a counting sort that cost nothing


@njit(cache=True, nogil=True)
def by_customer_and_day(customer: np.ndarray, day: np.ndarray, customers: int) -> np.ndarray:
    """Order of rows that sorts them by customer, then day, rows of a day as they came: (R,), (R,) -> (R,) int64.

    customer: codes 0 .. customers - 1. Two counting sorts, or a comparison sort of days that lie very far apart.
    """
    oldest, newest = (int(day.min()), int(day.max())) if day.size else (0, -1)
    span = newest - oldest + 1
    if span > 4 * day.size + SPARE:
        by_day = np.argsort(day, kind="mergesort")
    else:
        by_day = counted(day, np.arange(day.size), oldest, span)
    return counted(customer, by_day, 0, customers)


@njit(cache=True, nogil=True)
def counted(key: np.ndarray, order: np.ndarray, least: int, span: int) -> np.ndarray:
    """`order` (R,), stably sorted by its rows' key (R,), whose values lie in [least, least + span)."""
    place = np.zeros(span + 1, np.int64)
    for r in range(key.size):
        place[key[r] - least + 1] += 1
    for k in range(span):
        place[k + 1] += place[k]
    made = np.empty(order.size, np.int64)
    for r in order:
        made[place[key[r] - least]] = r
        place[key[r] - least] += 1
    return made


@njit(cache=True, nogil=True)
def number_orders(
    offsets: np.ndarray, wanted: np.ndarray, named: np.ndarray, key: np.ndarray, day: np.ndarray
) -> np.ndarray:
    """Number of each wanted row's order within its customer, from 0 by first appearance; -1 for other rows.

    Args: offsets (N+1,) int64; wanted, named (R,) bool; key (R,) int64, the id of the order of a `named` row; an
    unnamed one belongs to the order of its day (R,). Returns: (R,) int32.
    """
    number = np.full(day.size, -1, np.int32)
    slot = np.full(SPARE, -1, np.int64)  # rows that opened an order, found by a hash of it
    for n in range(offsets.size - 1):
        start, end = offsets[n], offsets[n + 1]
        size = 4
        while size < 2 * (end - start):
            size *= 2
        if size > slot.size:
            slot = np.full(size, -1, np.int64)
        found, last = 0, -1
        for r in range(start, end):
            if not wanted[r]:
                continue
            if last < 0 or not same_order(named, key, day, r, last):
                last, new = order_opener(slot, size, named, key, day, r)
                if new:
                    number[r] = found
                    found += 1
            number[r] = number[last]
        slot[:size] = -1
    return number


@njit(cache=True, nogil=True)
def same_order(named: np.ndarray, key: np.ndarray, day: np.ndarray, one: int, other: int) -> bool:
    """Whether two rows of a customer belong to one order."""
    if named[one] != named[other]:
        return False
    return key[one] == key[other] if named[one] else day[one] == day[other]


@njit(cache=True, nogil=True)
def order_opener(
    slot: np.ndarray, size: int, named: np.ndarray, key: np.ndarray, day: np.ndarray, row: int
) -> tuple[int, bool]:
    """The row that opened the order of `row`, which may be itself; slot (size,), a power of two, remembers it."""
    value = key[row] if named[row] else np.int64(day[row])
    place = np.int64((np.uint64(value) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & (size - 1)
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
    """One column (E,) of both logs: out of each customer first the old events, then the new.

    Args: old_at, new_at (N,) the customer's row in either log, -1 without one; old (O,), new (P,) values.
    """
    place = 0
    for n in range(old_at.size):
        if old_at[n] >= 0:
            for e in range(old_offsets[old_at[n]], old_offsets[old_at[n] + 1]):
                out[place] = old[e]
                place += 1
        if new_at[n] >= 0:
            for e in range(new_offsets[new_at[n]], new_offsets[new_at[n] + 1]):
                out[place] = new[e]
                place += 1


@njit(cache=True, nogil=True)
def orders_so_far(offsets: np.ndarray, order: np.ndarray, customer: np.ndarray) -> np.ndarray:
    """Number of orders of some customers (B,), rows of the log; 0 for row -1: (B,) int64."""
    count = np.zeros(customer.size, np.int64)
    for b in range(customer.size):
        if customer[b] >= 0:
            for e in range(offsets[customer[b]], offsets[customer[b] + 1]):
                count[b] = max(count[b], order[e] + 1)
    return count
