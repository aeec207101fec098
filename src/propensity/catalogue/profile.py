"""How alike a customer is to the last buyers of an offer: it holds for offers that are a day old."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.catalogue.kernel.profile import (
    attention,
    buyer_profiles,
    co_occurrence,
    customer_profiles,
    recent_baskets,
)
from propensity.catalogue.sales import Sales
from propensity.feature.market_stats import BLAS

DIMENSIONS = 32
BUYER_DAYS = (3, 14)
BASKET_DAYS, MOST_BASKETS = 7, 8_000  # recent baskets that customers are compared with
SHARPNESS = (4.0, 12.0)  # of the weights of baskets by likeness
MOST_TOKENS = 1_500
ROWS = 256  # requests that are compared with recent baskets at a time
FEW = 5.0  # buyers that are added to those of an offer, with the mean profile of all


class Tokens(NamedTuple):
    """What profiles are made of: groups of offers, or the best sellers where offers have no groups."""

    row: np.ndarray  # (R,) int32, token of each row of sales, -1 for none
    number: int  # T


def tokens_of(sales: Sales, group: np.ndarray, day: int) -> Tokens:
    """The `MOST_TOKENS` groups, or offers without a group, that sold most before a day."""
    own = np.where(group >= 0, group, group.max(initial=-1) + 1 + np.arange(group.size))
    rows = sales.by_day[: sales.before(day)]
    count = np.bincount(own[sales.offer[rows]], minlength=int(own.max(initial=0)) + 1)
    order = np.lexsort((np.arange(count.size), -count))[:MOST_TOKENS]
    number = np.full(count.size, -1, np.int32)
    order = order[count[order] > 0]
    number[order] = np.arange(order.size)
    return Tokens(number[own[sales.offer]], order.size)


class Basis(NamedTuple):
    """Directions in which customers differ most."""

    tokens: Tokens
    direction: np.ndarray  # (T, D) float64


def basis_of(sales: Sales, group: np.ndarray, day: int) -> Basis:
    """Find the main directions of what customers bought before a day.

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
    Basis
        Eigenvectors of the co-occurrence of tokens in customers, weighted by rarity (latent semantic indexing).
    """
    tokens = tokens_of(sales, group, day)
    rows = np.sort(sales.by_day[: sales.before(day)])
    customers = max(np.unique(sales.customer[rows]).size, 1)
    pair = np.unique(sales.customer[rows].astype(np.int64) * max(tokens.number, 1) + tokens.row[rows])
    holders = np.bincount(pair % max(tokens.number, 1), minlength=tokens.number)[: tokens.number]
    weight = np.log1p(customers / np.maximum(holders, 1))
    both = np.empty((tokens.number, tokens.number))
    co_occurrence(rows, sales.customer, tokens.row, weight, both)
    with BLAS.limit(limits=1, user_api="blas"):
        vectors = np.linalg.eigh(both)[1][:, ::-1][:, :DIMENSIONS] if tokens.number else np.zeros((0, 1))
    return Basis(tokens, np.ascontiguousarray(weight[:, None] * vectors))


class BuyerProfiles(NamedTuple):
    """Recent buyers: the mean profile for each offer, and each basket with the profile of its customer before it."""

    difference: np.ndarray  # (W, M, D) float32, less the mean profile of all recent buyers
    profile: np.ndarray  # (n, D) float32
    first: np.ndarray  # (n,) int64, rows of each basket
    stop: np.ndarray  # (n,) int64


def buyers_of(sales: Sales, basis: Basis, day: int) -> BuyerProfiles:
    """Describe the buyers of the last `BUYER_DAYS` days before a day by what they bought before."""
    days, dims = np.array(BUYER_DAYS, np.int64), basis.direction.shape[1]
    total, count = np.empty((days.size, sales.offers, dims)), np.empty((days.size, sales.offers))
    token = basis.tokens.row
    buyer_profiles(sales.offsets, sales.day, sales.offer, token, basis.direction, day, days, total, count)
    mean = total.sum(axis=1) / np.maximum(count.sum(axis=1), 1)[:, None]
    difference = (total - count[..., None] * mean[:, None]) / (count[..., None] + FEW)
    visits = sales.before(day) - sales.before(day - BASKET_DAYS)
    profile, first, stop = np.empty((visits, dims)), np.empty(visits, np.int64), np.empty(visits, np.int64)
    basic = sales.offsets, sales.day, token, basis.direction
    n = recent_baskets(*basic, day, BASKET_DAYS, profile, first, stop)
    step = max(-(-n // MOST_BASKETS), 1)
    chosen = slice(0, n, step)
    return BuyerProfiles(difference.astype(np.float32), profile[chosen].astype(np.float32), first[chosen], stop[chosen])


def likeness(
    sales: Sales, basis: Basis, buyers: BuyerProfiles, customer: np.ndarray, end: np.ndarray, start: np.ndarray,
    offer: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """How alike customers are to the last buyers of offers.

    Parameters
    ----------
    customer, end : (B,)
        Rows of the log, and the row of sales after the last visible one.
    start, offer : (B + 1,), (P,)
        Pairs, see `Pairs`.

    Returns
    -------
    numpy.ndarray of shape (P, W + K), float32
        Product of the profiles, 0 for a customer without a purchase; and the share of recent baskets that hold the
        offer, weighted by how alike their customers are, for each of `SHARPNESS`.
    """
    profile = np.empty((customer.size, basis.direction.shape[1]))
    customer_profiles(sales.offsets, end, customer, basis.tokens.row, basis.direction, profile)
    owner = np.repeat(np.arange(customer.size), np.diff(start))
    own = profile.astype(np.float32)[owner]
    out = np.empty((offer.size, len(BUYER_DAYS) + len(SHARPNESS)), np.float32)
    for k, table in enumerate(buyers.difference):
        out[:, k] = np.einsum("pd,pd->p", own, table[offer])
    for b in range(0, customer.size, ROWS):
        part = slice(b, min(b + ROWS, customer.size))
        with BLAS.limit(limits=1, user_api="blas"):
            alike = profile[part].astype(np.float32) @ buyers.profile.T
        begin = start[part.start : part.stop + 1]
        rows = slice(int(begin[0]), int(begin[-1]))
        weighted = np.empty((rows.stop - rows.start, len(SHARPNESS)), np.float32)
        sharpness = np.array(SHARPNESS)
        attention(
            *(alike, buyers.first, buyers.stop, sales.offer, sharpness),
            *(begin - begin[0], offer[rows], sales.offers, weighted),
        )
        out[rows, len(BUYER_DAYS) :] = weighted
    return out
