"""Events of segments that are not later than what the log had: they are sorted with the events of their customers.

P events of the segments (the tail) and B events of the base, of the customers who have a late event or lost one. All
other customers keep the order of the parts, in which nothing of the base is read before a column is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from propensity.data.log_column import COLUMNS, KEYS, MISSING, OPTIONAL
from propensity.kernel.ragged import offsets_of, positions
from propensity.kernel.sort import by_customer_and_day, number_orders

Columns = Mapping[str, np.ndarray]
TYPES: dict[str, Any] = {**COLUMNS, **OPTIONAL, **KEYS}
BY_PART = 1 << 40  # above every hash of an order: numbers of orders that are known in their part only


class LateEvents:
    """The customers with late events, and the order of their events.

    Parameters
    ----------
    base : mapping of str to numpy.ndarray
        `offsets` and columns of the base.
    row : numpy.ndarray of shape (N,), int64
        Row of each merged customer in the base, -1 for none.
    tail : mapping of str to numpy.ndarray
        `offsets` (N + 1,) and the columns of all segments, see `propensity.data.merged_columns.MergedColumns`.
    customers : numpy.ndarray of int64
        Ascending merged customers whose events are sorted.
    removed : numpy.ndarray of int64
        Events of the base that a later delivery replaced; their customers are among `customers`.
    part : numpy.ndarray of shape (P,), int64
        Segment of each event of the tail, from 1.
    by_day : sequence of int
        Parts in which all purchases of a day without a hash of their order are one order, 0 for the base.
    """

    def __init__(
        self,
        base: Columns,
        row: np.ndarray,
        tail: Columns,
        customers: np.ndarray,
        removed: np.ndarray,
        part: np.ndarray,
        by_day: Sequence[int],
    ) -> None:
        self.customers, self.part, self.by_day = customers, part, by_day
        present = customers[row[customers] >= 0]
        start, stop = (np.asarray(base["offsets"])[row[present] + k] for k in (0, 1))
        events, owner = positions(start, stop - start), np.repeat(present, stop - start)
        stays = ~np.isin(events, removed)
        self.taken, taken_owner = events[stays], owner[stays]  # (B,)
        self.owner = np.concatenate([taken_owner, np.repeat(np.arange(row.size), np.diff(tail["offsets"]))])
        self.offsets = offsets_of(np.bincount(self.owner, minlength=row.size))
        self.order: np.ndarray | None = None

    def rows_elsewhere(self, row: np.ndarray) -> np.ndarray:
        """Rows (N,) in the base of the customers whose events are not sorted here, -1 for the others."""
        rest = row.copy()
        rest[self.customers] = -1
        return rest

    def tail(self, name: str, base: Columns, tail: Columns, codes: Columns) -> dict[str, np.ndarray]:
        """`offsets`, `day` and the column `name` of the events of the segments and the sorted ones of the base."""
        if name == "order":
            values = self._orders(base, tail)
        else:
            values = self._both(name, base, tail, codes)[self._place(base, tail)]
        return {"offsets": self.offsets, "day": np.empty(self.owner.size, np.int8), name: values}

    def _both(self, name: str, base: Columns, tail: Columns, codes: Columns) -> np.ndarray:
        """The values of a column, first those of the base."""
        parts = [_part(base, name, self.taken), _part(tail, name, np.arange(self.owner.size - self.taken.size))]
        parts[0] = codes[name][parts[0]] if name in codes else parts[0]
        return np.concatenate([each.astype(TYPES[name]) for each in parts])

    def _place(self, base: Columns, tail: Columns) -> np.ndarray:
        """The order of the events by customer, day and time, of equal ones by part: (B + P,) int64."""
        if self.order is None:
            day = self._both("day", base, tail, {})
            if "time" in base or "time" in tail:
                self.order = np.lexsort((self._both("time", base, tail, {}), day, self.owner))
            else:
                self.order = by_customer_and_day(self.owner, day.astype(np.int64), self.offsets.size - 1)
        return self.order

    def _orders(self, base: Columns, tail: Columns) -> np.ndarray:
        """Numbers of orders: of the customers here by first appearance, of the others as the tail has them."""
        place = self._place(base, tail)
        order, day = self._both("order", base, tail, {})[place], self._both("day", base, tail, {})[place]
        key = self._both("order_key", base, tail, {})[place].astype(np.int64)
        part = np.concatenate([np.zeros(self.taken.size, np.int64), self.part])[place]
        own = np.repeat(np.isin(np.arange(self.offsets.size - 1), self.customers), np.diff(self.offsets))
        counts = np.diff(self.offsets)[self.customers]
        owner = np.repeat(np.arange(self.customers.size), counts)
        named, name = order_names(owner, day[own], order[own], part[own], key[own], self.by_day)
        order[own] = number_orders(offsets_of(counts), order[own] >= 0, named, name, day[own].astype(np.int64))
        return order


def order_names(
    owner: np.ndarray,
    day: np.ndarray,
    order: np.ndarray,
    part: np.ndarray,
    key: np.ndarray,
    by_day: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """What tells the orders of a customer and day apart, for `propensity.kernel.sort.number_orders`.

    Parameters
    ----------
    owner, day, order, part, key : numpy.ndarray of shape (R,), int
        Customer, day, number of the order within its part, part and hash of the order (0 without one) of each event.
    by_day : sequence of int
        Parts in which all purchases of a day without a hash are one order.

    Returns
    -------
    named : numpy.ndarray of shape (R,), bool
        Whether the order has an id; those of a day without one are one order.
    name : numpy.ndarray of shape (R,), int64
        The id: the hash, or the number in a part that has none.

    Notes
    -----
    In a base (part 0) without hashes the first order of a day counts as one without id: where the source has no ids, it
    is the only one.

    Examples
    --------
    >>> zeros = np.zeros(3, np.int64)
    >>> order_names(zeros, zeros, np.array([0, 1, 0]), np.array([1, 1, 2]), np.array([7, 0, 7]), [1, 2])
    (array([ True, False,  True]), array([7, 0, 7]))
    """
    by_number = (key == 0) & (order >= 0) & ~np.isin(part, by_day)
    if 0 not in by_day:
        at = np.flatnonzero((part == 0) & (order >= 0))
        days = day[at].astype(np.int64) - (day[at].min() if at.size else 0)
        groups, inverse = np.unique(owner[at] * (int(days.max(initial=0)) + 1) + days, return_inverse=True)
        lowest = np.full(groups.size, np.iinfo(np.int64).max)
        np.minimum.at(lowest, inverse, order[at].astype(np.int64))
        by_number[at] &= order[at] > lowest[inverse]
    number = (part + 1) * BY_PART + order
    return (key != 0) | by_number, np.where(by_number, number, key)


def _part(columns: Columns, name: str, events: np.ndarray) -> np.ndarray:
    """Values of some events; those of a part without the column are missing."""
    if name not in columns:
        return np.full(events.size, MISSING[name], TYPES[name])
    return np.asarray(columns[name])[events] if events.size else np.zeros(0, TYPES[name])
