"""What a customer usually pays for an offer against what is asked now, and how often at a discount.

B customers, M offers, K offers that the columns are of: the M, or new ones.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from propensity.kernel.column import FeatureColumn
from propensity.kernel.event import Events, Sets
from propensity.kernel.price import DISCOUNTED, LINES, RATIO, REVENUE, UNITS, offer_prices

PRICES = "prices"  # the group of columns
price = partial(FeatureColumn, block="pair", group=PRICES, reason="price", empty=np.nan)

PRICE = (
    price(
        "price_change",
        "log ratio of the price of a unit that everybody pays in 28 days to that which the customer paid in 364 days",
        missing="not bought by the customer in 364 days, or by anybody in 28 days",
    ),
    price(
        "discounted_lines",
        "share of the customer's lines of 364 days that had a discount",
        missing="not bought by the customer in 364 days",
    ),
    price(
        "price_parent",
        "mean log ratio of what the customer paid for a unit to what is usual, over other offers of the same parent",
        missing="no other offer of the same parent was bought in 364 days",
    ),
    price(
        "discounted_parent",
        "share of the customer's lines that had a discount, over other offers of the same parent",
        missing="no other offer of the same parent was bought in 364 days",
    ),
    price(
        "discounted_now",
        "share of everybody's lines of 28 days that had a discount",
        missing="nobody bought the offer in 28 days",
        empty=None,
    ),
)
PRICE_NAMES = tuple(column.name for column in PRICE)


class OfferPrices(NamedTuple):
    """Prices of M offers at a cutoff.

    Parameters
    ----------
    usual, now : (M,) float64
        Revenue of a unit, of the last 364 and 28 days; NaN without a line.
    discounted : (M,) float64
        Share of the lines of 28 days that had a discount; NaN without a line.
    """

    usual: np.ndarray
    now: np.ndarray
    discounted: np.ndarray


def prices_of(events: Events, sets: Sets, n_offers: int, rows: np.ndarray, day: int) -> OfferPrices:
    """Prices over customers.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    n_offers : int
        Number of offers M.
    rows : (N,) int
        Customers.
    day : int
        Cutoff; events of this day and later are not read.

    Returns
    -------
    OfferPrices
        Of the M offers.
    """
    long, short = offer_prices(events, sets, rows, day, np.empty((2, n_offers, 4)))
    return OfferPrices(
        ratio(long[:, REVENUE], long[:, UNITS]),
        ratio(short[:, REVENUE], short[:, UNITS]),
        ratio(short[:, DISCOUNTED], short[:, LINES]),
    )


def price_columns(
    own: np.ndarray, others: np.ndarray, sibling: np.ndarray, prices: OfferPrices
) -> dict[str, np.ndarray]:
    """Columns of pairs from the sums of their lines.

    Parameters
    ----------
    own : (B, K, 5) float32
        Sums of `price_sums` over the lines of K offers.
    others : (B, M, 5) float32
        The same of the offers that a parent has.
    sibling : (M, K) float32
        0 where an offer has another parent.
    prices : OfferPrices
        Of the K offers.

    Returns
    -------
    dict of str to ndarray of shape (B, K)
        Float32 columns by name.
    """
    related = (sibling > 0).astype(np.float32)
    lines, discounted, level = (others[:, :, k] @ related for k in (LINES, DISCOUNTED, RATIO))
    paid = ratio(own[:, :, REVENUE], own[:, :, UNITS])
    values = (
        np.log(ratio(np.broadcast_to(prices.now, paid.shape), paid)),
        ratio(own[:, :, DISCOUNTED], own[:, :, LINES]),
        ratio(level, lines),
        ratio(discounted, lines),
        np.broadcast_to(prices.discounted, paid.shape),
    )
    return {name: value.astype(np.float32) for name, value in zip(PRICE_NAMES, values, strict=True)}


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The ratio, NaN where the denominator is 0 or not known."""
    out = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out
