"""Columns of what every customer did besides buying: views, carts, opens, clicks and searches in windows of their own.

A view of an offer, or a cart with it, is an event with an item of the offer. The plain definition is in
`propensity.serving.inputs`.

Legend: B customers, M offers, E events, P pair columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from propensity.feature.history_mask import HistoryMask
from propensity.feature.registrant import ACTIVITY_DAYS, Activity, Registry, activity_of
from propensity.kernel.column import FeatureColumn
from propensity.kernel.event import CART, CLICK, OPEN, SEARCH, VIEW, Events, Sets
from propensity.kernel.ragged import positions

ENGAGEMENT = "engagement"

customer = partial(FeatureColumn, block="customer", group=ENGAGEMENT, reason="messages")
pair = partial(FeatureColumn, block="pair", group=ENGAGEMENT, reason="messages", ranked=True)

ENGAGEMENT_CUSTOMER = (
    customer("engagement_views_7", "views of the last 7 days"),
    customer("engagement_views_91", "views of the last 91 days"),
    customer("engagement_carts_7", "items put into a cart in the last 7 days"),
    customer("engagement_carts_28", "items put into a cart in the last 28 days"),
    customer("engagement_opens_28", "messages opened in the last 28 days"),
    customer("engagement_opens_91", "messages opened in the last 91 days"),
    customer("engagement_clicks_28", "messages clicked in the last 28 days"),
    customer("engagement_searches_7", "searches of the last 7 days"),
    customer("engagement_searches_28", "searches of the last 28 days"),
    customer(
        "engagement_recency",
        f"days since the last view, cart, open, click or search, of the last {ACTIVITY_DAYS} days",
        missing="none in that time",
        empty=np.nan,
        optional=True,
    ),
)
ENGAGEMENT_PAIR = (
    pair("engagement_viewed_7", "views of the offer in the last 7 days"),
    pair("engagement_viewed_91", "views of the offer in the last 91 days"),
    pair("engagement_in_cart_7", "items of the offer put into a cart in the last 7 days"),
    pair("engagement_in_cart_28", "items of the offer put into a cart in the last 28 days"),
)
CUSTOMER_WINDOWS = {  # column: kind and days
    "engagement_views_7": (VIEW, 7),
    "engagement_views_91": (VIEW, 91),
    "engagement_carts_7": (CART, 7),
    "engagement_carts_28": (CART, 28),
    "engagement_opens_28": (OPEN, 28),
    "engagement_opens_91": (OPEN, 91),
    "engagement_clicks_28": (CLICK, 28),
    "engagement_searches_7": (SEARCH, 7),
    "engagement_searches_28": (SEARCH, 28),
}
PAIR_WINDOWS = {
    "engagement_viewed_7": (VIEW, 7),
    "engagement_viewed_91": (VIEW, 91),
    "engagement_in_cart_7": (CART, 7),
    "engagement_in_cart_28": (CART, 28),
}


def fill_engagement(
    column: dict[str, np.ndarray], registry: Registry, events: Events, day: int, row: np.ndarray, hidden: np.ndarray
) -> None:
    """Fill the customer columns of a block.

    Parameters
    ----------
    column : dict of str to (B,) float32
        Customer columns by name.
    registry, events : Registry, Events
        Of the log.
    day : int
        Cutoff.
    row : (B,) int
        Rows of the log.
    hidden : (B,) int
        Number of days before the cutoff that the history mask hides.
    """
    did = activity_of(registry, events, row, day, hidden)
    for name, window in CUSTOMER_WINDOWS.items():
        column[name][:] = did.counts(row.size, *window)
    column["engagement_recency"][:] = did.recency(row.size)


def fill_engaged_offers(
    out: np.ndarray,
    names: Sequence[str],
    sets: Sets,
    registry: Registry,
    events: Events,
    day: int,
    row: np.ndarray,
    mask: HistoryMask,
) -> None:
    """Fill the pair columns of a block.

    Parameters
    ----------
    out : (B, M, P) float32
        Pair columns.
    names : sequence of str
        Names of the P columns.
    sets : Sets
        The offers of each item.
    registry, events, day, row
        See `fill_engagement`.
    mask : HistoryMask
        Events to hide: recent days, those of one offer, and those of launched offers.
    """
    did = activity_of(registry, events, row, day, mask.days)
    for name, (kind, days) in PAIR_WINDOWS.items():
        counts = counts_by_offer(did, sets, (row.size, out.shape[1]), kind, days)
        masked = np.flatnonzero(mask.offer >= 0)
        counts[masked, mask.offer[masked]] = 0
        counts[:, mask.launched] = 0
        out[:, :, names.index(name)] = counts


def counts_by_offer(did: Activity, sets: Sets, shape: tuple[int, int], kind: int, days: int) -> np.ndarray:
    """Events of a kind in the last days with an item of each offer.

    Parameters
    ----------
    did : Activity
        Events of B customers.
    sets : Sets
        The offers of each item.
    shape : tuple of int
        B and M.
    kind, days : int
        Kind of the events, and the window.

    Returns
    -------
    ndarray of shape (B, M), int64
        An event of an item in several offers counts for each of them.
    """
    chosen = (did.kind == kind) & (did.age <= days) & (did.item >= 0)
    owner, item = did.owner[chosen], did.item[chosen]
    first, size = sets.offsets[item], sets.offsets[item + 1] - sets.offsets[item]
    place = positions(first, size)
    cell = np.repeat(owner, size) * shape[1] + sets.offer[place]
    return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
