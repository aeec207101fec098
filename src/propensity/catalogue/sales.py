"""What customers bought, one row for each customer, day and offer, in the orders that the kernels of requests read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.catalogue.kernel.market import mark_rows
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.kernel.event import PURCHASE

HOT_DAYS, HOT_OFFERS = 7, 20  # an offer is hot on a day if it was among the best sellers of the days before


class Sales(NamedTuple):
    """R rows of N customers; row r says that its customer bought an offer on a day.

    Customer n has the rows `offsets[n]:offsets[n + 1]`, ascending in day and offer.
    """

    offsets: np.ndarray  # (N + 1,) int64
    customer: np.ndarray  # (R,) int32
    day: np.ndarray  # (R,) int32, days since 1970-01-01
    offer: np.ndarray  # (R,) int32, in [0, M)
    quantity: np.ndarray  # (R,) float32, units
    revenue: np.ndarray  # (R,) float32, currency
    visit: np.ndarray  # (R,) int32, number of the day among the days on which the customer bought, from 0
    basket: np.ndarray  # (R,) int32, rows of the same customer and day
    again: np.ndarray  # (R,) bool, whether the customer bought the offer on an earlier day
    hot: np.ndarray  # (R,) bool, whether the offer was among the best sellers of the days before
    by_day: np.ndarray  # (R,) int64, the rows ascending in day
    first_day: int
    day_start: (
        np.ndarray
    )  # (D + 1,) int64, day `first_day + d` has the entries `day_start[d]:day_start[d + 1]` of `by_day`
    offers: int  # M

    @property
    def last_day(self) -> int:
        """The last day with a row."""
        return self.first_day + self.day_start.size - 2

    def before(self, day: int) -> int:
        """Number of rows before a day, which are the first ones of `by_day`."""
        return int(self.day_start[min(max(day - self.first_day, 0), self.day_start.size - 1)])


def sales_of(log: EventLog, offers: Offers) -> Sales:
    """Add up the purchases of a log by customer, day and offer.

    Parameters
    ----------
    log : EventLog
        N customers with events.
    offers : Offers
        M offers; a purchase of an item counts for each offer that holds it.

    Returns
    -------
    Sales
        The rows. A row depends on events up to its own day only.
    """
    event = np.flatnonzero((log.kind == PURCHASE) & (log.item >= 0))
    item = log.item[event].astype(np.int64)
    sizes = np.diff(offers.item_offsets)[item]
    event = np.repeat(event, sizes)
    start = np.repeat(offers.item_offsets[item], sizes)
    within = np.arange(event.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    offer = offers.item_offer[start + within].astype(np.int64)
    customer, day = log.owner(event).astype(np.int64), log.day[event].astype(np.int64)
    first_day = int(day.min()) if day.size else log.first_day
    days = int(day.max()) - first_day + 1 if day.size else 1
    key = (customer * days + day - first_day) * len(offers) + offer
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    rows = order[starts]
    customer, day, offer = customer[rows].astype(np.int32), day[rows].astype(np.int32), offer[rows].astype(np.int32)
    quantity, revenue = (
        np.add.reduceat(column[event][order].astype(np.float64), starts).astype(np.float32)
        if starts.size
        else np.empty(0, np.float32)
        for column in (log.quantity, log.revenue)
    )
    offsets = np.searchsorted(customer, np.arange(len(log) + 1)).astype(np.int64)
    by_day = np.argsort(day, kind="stable")
    day_start = np.searchsorted(day[by_day], np.arange(first_day, first_day + days + 1)).astype(np.int64)
    visit, basket = np.empty(rows.size, np.int32), np.empty(rows.size, np.int32)
    again, hot = np.zeros(rows.size, np.bool_), np.zeros(rows.size, np.bool_)
    mark_rows(offsets, day, offer, by_day, day_start, len(offers), HOT_DAYS, HOT_OFFERS, visit, basket, again, hot)
    return Sales(
        offsets, customer, day, offer, quantity, revenue, visit, basket, again, hot, by_day, first_day, day_start,
        len(offers),
    )  # fmt: skip
