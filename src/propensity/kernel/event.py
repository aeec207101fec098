"""Arguments of every kernel: the events of all customers, the offers of all items, and the numbers of the kinds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PURCHASE, VIEW, MESSAGE, REDEMPTION, RETURN = range(5)  # the integers that the kernels compare
CART, OPEN, CLICK, SEARCH, UNSUBSCRIBE, COMPLAINT = range(5, 11)
KINDS = ("purchase", "view", "message", "redemption", "return")  # of the columns that kernels read
ENGAGEMENT_KINDS = ("cart", "open", "click", "search", "unsubscribe", "complaint")  # stored apart from the others
EVERY_KIND = KINDS + ENGAGEMENT_KINDS


class Events(NamedTuple):
    """The columns of a log. Customer n has the events `offsets[n]:offsets[n + 1]`, ascending in day.

    Parameters
    ----------
    offsets : (N + 1,) int64
    day, item, order : (E,) int32
        item is -1 for an event without one. `order` numbers the orders of a customer from 0 by first appearance, and is
        -1 for events that are no purchase.
    kind, channel : (E,) int8
        channel is -1 for an event without one.
    quantity, revenue, discount : (E,) float32
        revenue and discount in the currency of the log.
    """

    offsets: np.ndarray
    day: np.ndarray
    item: np.ndarray
    kind: np.ndarray
    channel: np.ndarray
    order: np.ndarray
    quantity: np.ndarray
    revenue: np.ndarray
    discount: np.ndarray


class Sets(NamedTuple):
    """The offers that an item belongs to: item i is in `offer[offsets[i]:offsets[i + 1]]`, of int64 and int32."""

    offsets: np.ndarray
    offer: np.ndarray


def fixed(array: np.ndarray) -> np.ndarray:
    """A read-only view. Arrays from disk and from memory then have one type, and a kernel is compiled once."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
