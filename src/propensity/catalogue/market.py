"""The market as of a day: columns of every offer, best sellers, and the offers that the same customers buy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.catalogue.column import EXPOSURE_DAYS, OFFER, WINDOWS
from propensity.catalogue.kernel.affinity import strongest
from propensity.catalogue.kernel.market import daily_shares, offer_sums, window_counts
from propensity.catalogue.sales import Sales

RECENT = 7  # days of a price as it is now
MEMORY = 182  # days that the market remembers
BLOCK = 7  # affinities are computed at the beginning of blocks of this many days
AFFINITY_DAYS = 91
LARGEST_SET = 300  # offers of a customer or basket beyond which it says nothing about affinity
SUMS = ("minus_first", "last", "rows", "again", "quantity", "revenue", "recent_rows", "recent_quantity",
        "recent_revenue", "recent_alone", "month_rows", "weekday_rows")  # fmt: skip


class Similarity(NamedTuple):
    """The strongest partners of each offer, in descending weight."""

    size: np.ndarray  # (M,) int32
    partner: np.ndarray  # (M, K) int32
    weight: np.ndarray  # (M, K) float32


class Market(NamedTuple):
    """What is known of M offers before a day."""

    day: int
    columns: np.ndarray  # (M, F) float32, see `propensity.catalogue.column.OFFER`
    rows: np.ndarray  # (M, W) float32, rows in the last `WINDOWS` days
    baskets: np.ndarray  # (W,) baskets in the same days
    share: np.ndarray  # (EXPOSURE_DAYS, M) float32, see `daily_shares`
    sold: np.ndarray  # (M,) bool, sold before the day
    amount: np.ndarray  # (M,) float32, mean revenue of a row, shrunk to that of all offers
    price: np.ndarray  # (M,) float32
    first_age: np.ndarray  # (M,) float32


def market_at(sales: Sales, group: np.ndarray, day: int) -> Market:
    """Describe the market from the rows before a day.

    Parameters
    ----------
    sales : Sales
        Rows of M offers.
    group : (M,) int32
        Group of each offer, -1 without one.
    day : int
        Days since 1970-01-01, exclusive.

    Returns
    -------
    Market
        Depends on rows before `day` alone.
    """
    rows = sales.by_day[sales.before(day - MEMORY) : sales.before(day)]
    first_of_basket = np.append(True, (np.diff(sales.day) != 0) | (np.diff(sales.customer) != 0))
    windows, offers = np.array(WINDOWS, np.int64), sales.offers
    count, baskets = np.empty((offers, windows.size), np.float32), np.empty(windows.size)
    window_counts(rows, sales.day, sales.offer, first_of_basket, day, windows, count, baskets)
    share = np.empty((EXPOSURE_DAYS, offers), np.float32)
    daily_shares(rows, sales.day, sales.offer, first_of_basket, day, share)
    sums = np.empty((offers, len(SUMS)))
    basic = sales.day, sales.offer, sales.quantity, sales.revenue, sales.basket, sales.again
    offer_sums(rows, *basic, day, RECENT, sums)
    of = {name: sums[:, k] for k, name in enumerate(SUMS)}
    sold = of["rows"] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = count / np.maximum(baskets, 1)
        first_age, last = -of["minus_first"], of["last"]
        price_now = of["recent_revenue"] / of["recent_quantity"]
        price_all = of["revenue"] / of["quantity"]
        price = np.where(np.isfinite(price_now) & (of["recent_quantity"] > 0), price_now, price_all)
        mean_amount = of["revenue"].sum() / max(of["rows"].sum(), 1)
        amount = (of["revenue"] + 3 * mean_amount) / (of["rows"] + 3)
        grouped = np.zeros((max(int(group.max(initial=-1)) + 1, 1),))
        np.add.at(grouped, group[group >= 0], shares[group >= 0, 4])
        group_share = np.where(group >= 0, grouped[np.maximum(group, 0)], np.nan)
        columns = [
            *shares.T,
            (shares[:, 1] + 1e-4) / (shares[:, 5] + 1e-4),
            (shares[:, 4] + 1e-4) / (shares[:, 6] + 1e-4),
            np.log1p(_rank(shares[:, 1], shares[:, 5])),
            np.log1p(_rank(shares[:, 4], shares[:, 6])),
            np.where(sold, first_age, np.nan),
            np.where(sold, last, np.nan),
            share.max(axis=0),
            np.where(sold, price, np.nan),
            np.where(sold, price / price_all, np.nan),
            of["revenue"] / of["rows"],
            of["quantity"] / of["rows"],
            (of["again"] + 1) / (of["rows"] + 10),
            (of["weekday_rows"] + 1) / (of["month_rows"] / 7 + 1),
            of["recent_alone"] / of["recent_rows"],
            group_share,
            (shares[:, 4] + 1e-4) / (group_share + 1e-3),
            np.full(offers, (baskets[4] + 1) / (baskets[6] / 4 + 1)),
        ]
    table = np.stack(columns, axis=1).astype(np.float32)
    assert table.shape[1] == len(OFFER)
    table[~np.isfinite(table)] = np.nan
    return Market(
        day, table, count, baskets, share, sold, amount.astype(np.float32), price.astype(np.float32),
        np.where(sold, first_age, -1).astype(np.float32),
    )  # fmt: skip


def _rank(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Rank from 0 of each offer, by `first` and, where that is equal, by `then`; descending."""
    order = np.lexsort((np.arange(first.size), -then, -first))
    rank = np.empty(first.size, np.int64)
    rank[order] = np.arange(first.size)
    return rank


def affinity_day(day: int) -> int:
    """The first day of the block that `day` lies in; affinities for `day` come from rows before it."""
    return day // BLOCK * BLOCK


def similarities(sales: Sales, day: int, partners: int, shrink: float = 5.0) -> tuple[Similarity, Similarity]:
    """The strongest partners of each offer by customers and by baskets, from the rows before a day.

    Parameters
    ----------
    sales : Sales
        Rows of M offers.
    day : int
        Days since 1970-01-01, exclusive.
    partners : int
        Partners to keep for each offer.
    shrink : float
        Sets that are added to the denominator of the cosine.

    Returns
    -------
    tuple of Similarity
        By the sets of customers, and of baskets.

    Notes
    -----
    Cosine between binary columns, as in Sarwar et al., WWW 2001, of the last `AFFINITY_DAYS` days.
    """
    rows = np.sort(sales.by_day[sales.before(day - AFFINITY_DAYS) : sales.before(day)])
    customer, offer = sales.customer[rows].astype(np.int64), sales.offer[rows].astype(np.int64)
    by_customer = np.unique(customer * sales.offers + offer)
    basket = np.cumsum(np.append(True, (np.diff(customer) != 0) | (np.diff(sales.day[rows]) != 0))[: rows.size]) - 1
    sets = ((by_customer // sales.offers, by_customer % sales.offers), (basket, offer))
    first, second = (_strongest(owner, member, sales.offers, partners, shrink) for owner, member in sets)
    return first, second


def _strongest(owner: np.ndarray, member: np.ndarray, offers: int, partners: int, shrink: float) -> Similarity:
    """Partners by the sets that `owner` numbers, ascending, of the offers `member`."""
    number = np.unique(owner, return_inverse=True)[1]
    sets = int(number.max(initial=-1)) + 1
    offsets = np.searchsorted(number, np.arange(sets + 1)).astype(np.int64)
    order = np.argsort(member, kind="stable")
    member_offsets = np.searchsorted(member[order], np.arange(offers + 1)).astype(np.int64)
    size = np.zeros(offers, np.int32)
    partner, weight = np.zeros((offers, partners), np.int32), np.zeros((offers, partners), np.float32)
    sets_of = offsets, member.astype(np.int32), member_offsets, number[order].astype(np.int32)
    strongest(*sets_of, shrink, LARGEST_SET, size, partner, weight)
    return Similarity(size, partner, weight)
