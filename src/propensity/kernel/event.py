"""What every kernel is given: the events of all customers, the offers of all items, and the numbering of kinds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PURCHASE, VIEW, MESSAGE, REDEMPTION, RETURN = range(5)  # the integers that the kernels compare
KINDS = ("purchase", "view", "message", "redemption", "return")


class Events(NamedTuple):
    """The columns of a log: customer n owns events `offsets[n]:offsets[n + 1]`, ascending in day.

    offsets (N+1,) int64; (E,) day, item (-1: none), order (int32), kind, channel (int8), quantity, revenue, discount
    (float32). `order` numbers the customer's orders from 0 by first appearance, and is -1 where nothing was bought.
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
    """A read-only view: mapped from disk or made in memory, a kernel meets one type and is compiled once."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
