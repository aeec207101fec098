"""How alike a customer is to the last buyers of an offer: it holds for offers that are a day old."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.catalogue.kernel.profile import buyer_profiles, co_occurrence, customer_profiles
from propensity.catalogue.sales import Sales
from propensity.feature.market_stats import BLAS

DIMENSIONS = 32
BUYER_DAYS = (3, 14)
MOST_TOKENS = 1_500
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
    """Mean profile of the last buyers of each offer, less that of all of them: (W, M, D) float32."""

    difference: np.ndarray


def buyers_of(sales: Sales, basis: Basis, day: int) -> BuyerProfiles:
    """Describe the buyers of the last `BUYER_DAYS` days before a day by what they bought before."""
    days, dims = np.array(BUYER_DAYS, np.int64), basis.direction.shape[1]
    total, count = np.empty((days.size, sales.offers, dims)), np.empty((days.size, sales.offers))
    token = basis.tokens.row
    buyer_profiles(sales.offsets, sales.day, sales.offer, token, basis.direction, day, days, total, count)
    mean = total.sum(axis=1) / np.maximum(count.sum(axis=1), 1)[:, None]
    difference = (total - count[..., None] * mean[:, None]) / (count[..., None] + FEW)
    return BuyerProfiles(difference.astype(np.float32))


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
    numpy.ndarray of shape (P, W), float32
        Product of the profiles; 0 for a customer without a purchase.
    """
    profile = np.empty((customer.size, basis.direction.shape[1]))
    customer_profiles(sales.offsets, end, customer, basis.tokens.row, basis.direction, profile)
    owner = np.repeat(np.arange(customer.size), np.diff(start))
    own = profile.astype(np.float32)[owner]
    return np.stack([np.einsum("pd,pd->p", own, table[offer]) for table in buyers.difference], axis=1)
