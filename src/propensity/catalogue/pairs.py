"""Pairs of requests and offers with their columns, day by day: nothing is computed from a row at or after a cutoff."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from propensity.catalogue.column import COLUMNS, CUSTOMER, OFFER, PAIR
from propensity.catalogue.kernel.pair import customer_columns, pair_columns
from propensity.catalogue.kernel.retrieve import affinities, own_ends, retrieve
from propensity.catalogue.market import Market, Similarity, affinity_day, market_at, similarities
from propensity.catalogue.profile import Basis, BuyerProfiles, basis_of, buyers_of, likeness
from propensity.catalogue.requests import Requests
from propensity.catalogue.sales import Sales
from propensity.data.catalogue import CatalogueConfig

BLOCK = 4096  # requests whose pairs are in memory at a time
SHRINK = 2.0  # baskets that the market's mean amount counts for against the customer's own


class Pairs(NamedTuple):
    """P pairs of a block of B requests of one day."""

    request: np.ndarray  # (B,) positions in the requests
    start: np.ndarray  # (B + 1,) request b has the pairs `start[b]:start[b + 1]`
    offer: np.ndarray  # (P,) int32
    affinity: np.ndarray  # (P, 2) float32
    end: np.ndarray  # (B,) row after the last one of the customer before the cutoff
    market: Market
    buyers: BuyerProfiles | None = None

    @property
    def owner(self) -> np.ndarray:
        """Place in the block of the request of each pair (P,)."""
        return np.repeat(np.arange(self.request.size), np.diff(self.start))


class Catalogue:
    """Sales, groups of offers and settings from which pairs and their columns are made.

    Parameters
    ----------
    sales : Sales
        Rows of M offers.
    group : (M,) int32
        Group of each offer, -1 without one.
    config : CatalogueConfig
        How offers are found.
    """

    def __init__(self, sales: Sales, group: np.ndarray, config: CatalogueConfig) -> None:
        self.sales, self.group, self.config = sales, group.astype(np.int32), config
        self._similar: dict[int, tuple[Similarity, Similarity]] = {}
        self._basis: dict[int, Basis] = {}

    def similar(self, day: int) -> tuple[Similarity, Similarity]:
        """Partners for the requests of a day; those of the last block are kept."""
        start = affinity_day(day)
        if start not in self._similar:
            self._similar = {start: similarities(self.sales, start, self.config.strongest)}
        return self._similar[start]

    def basis(self, day: int) -> Basis:
        """Directions of profiles for the requests of a day; those of the last block are kept."""
        start = affinity_day(day)
        if start not in self._basis:
            self._basis = {start: basis_of(self.sales, self.group, start)}
        return self._basis[start]

    def blocks(self, requests: Requests) -> Iterator[Pairs]:
        """Find the offers of all requests, in blocks of one day.

        Parameters
        ----------
        requests : Requests
            R requests, ascending in day; where they name offers, no others are found.

        Yields
        ------
        Pairs
            The pairs of at most `BLOCK` requests.
        """
        days = np.unique(requests.day)
        for day in days.tolist():
            market = market_at(self.sales, self.group, day)
            buyers = buyers_of(self.sales, self.basis(day), day)
            first, stop = np.searchsorted(requests.day, [day, day + 1])
            for begin in range(first, stop, BLOCK):
                position = np.arange(begin, min(begin + BLOCK, stop))
                yield self._pairs(market, position, requests)._replace(buyers=buyers)

    def _pairs(self, market: Market, position: np.ndarray, requests: Requests) -> Pairs:
        sales, config = self.sales, self.config
        customer = requests.customer[position]
        cutoff = np.full(customer.size, market.day, np.int64)
        end, start = np.empty(customer.size, np.int64), np.zeros(customer.size + 1, np.int64)
        own_ends(sales.offsets, sales.day, customer, cutoff, end)
        by_customer, by_basket = self.similar(market.day)
        taste = tuple(by_customer), tuple(by_basket), config.memory, config.half_life
        rows = sales.offsets, sales.day, sales.offer, customer, end, market.day
        if requests.named is not None:
            offsets, offers = requests.named
            start[1:] = np.cumsum(np.diff(offsets)[position])
            chosen = np.concatenate([offers[offsets[r] : offsets[r + 1]] for r in position]).astype(np.int32)
            affinity = np.zeros((chosen.size, 2), np.float32)
            affinities(*rows, *taste, start, chosen, affinity)
            return Pairs(position, start, chosen, affinity, end, market)
        popular, best = best_sellers(market, config.popular), group_best_sellers(market, self.group, config.per_group)
        own = np.minimum(end - sales.offsets[customer], sales.offers)
        most = popular.size + 2 * config.partners + config.memory * best.shape[1]
        limit = int(np.minimum(own + most, sales.offers).sum())
        chosen, affinity = np.empty(limit, np.int32), np.empty((limit, 2), np.float32)
        found = retrieve(
            *rows, popular, self.group, best, *taste, config.partners, market.sold, start, chosen, affinity
        )
        return Pairs(position, start, chosen[:found], affinity[:found], end, market)

    def columns(self, pairs: Pairs, requests: Requests) -> np.ndarray:
        """Compute the columns of pairs.

        Parameters
        ----------
        pairs : Pairs
            P pairs of B requests.
        requests : Requests
            The requests that the pairs belong to.

        Returns
        -------
        numpy.ndarray of shape (P, F), float32
            The columns `OFFER`, `CUSTOMER` and `PAIR`; NaN where one is not defined.
        """
        sales, market = self.sales, pairs.market
        customer = requests.customer[pairs.request]
        data = (
            *(sales.offsets, sales.day, sales.offer, sales.quantity, sales.revenue),
            *(sales.visit, sales.basket, sales.again, sales.hot),
        )
        own = np.empty((customer.size, len(CUSTOMER)), np.float32)
        customer_columns(data, customer, pairs.end, market.day, own)
        out = np.empty((pairs.offer.size, len(COLUMNS)), np.float32)
        first, then, last = np.cumsum([len(OFFER), len(CUSTOMER), len(PAIR)])
        out[:, :first] = market.columns[pairs.offer]
        out[:, first:then] = own[pairs.owner]
        pair_columns(
            data, self.group, market.share, market.first_age, market.price, market.price, customer, pairs.end,
            market.day, pairs.start, pairs.offer, pairs.affinity, out[:, then:last],
        )  # fmt: skip
        assert pairs.buyers is not None
        basis = self.basis(market.day)
        out[:, last:] = likeness(sales, basis, pairs.buyers, customer, pairs.end, pairs.start, pairs.offer)
        return out

    def labels(self, pairs: Pairs, requests: Requests, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """Whether each pair's offer was bought in the horizon (P,) bool, and for how much (P,) float32."""
        sales = self.sales
        customer = requests.customer[pairs.request]
        stop = np.empty(customer.size, np.int64)
        own_ends(sales.offsets, sales.day, customer, np.full(customer.size, pairs.market.day + horizon), stop)
        counts = stop - pairs.end
        rows = np.repeat(pairs.end, counts) + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        bought = np.repeat(np.arange(customer.size), counts) * sales.offers + sales.offer[rows]
        keys, inverse = np.unique(bought, return_inverse=True)
        revenue = np.bincount(inverse, weights=sales.revenue[rows], minlength=keys.size)
        key = pairs.owner * sales.offers + pairs.offer
        place = np.searchsorted(keys, key)
        hit = (place < keys.size) & (keys[np.minimum(place, max(keys.size - 1, 0))] == key if keys.size else False)
        amount = np.where(hit, revenue[np.minimum(place, max(keys.size - 1, 0))] if keys.size else 0.0, 0.0)
        return hit, amount.astype(np.float32)

    def bought_rows(self, requests: Requests, horizon: int) -> int:
        """Number of offers that the customers of requests buy in the horizon."""
        ends = np.empty((2, requests.number), np.int64)
        for k, day in enumerate((requests.day, requests.day + horizon)):
            own_ends(self.sales.offsets, self.sales.day, requests.customer, day, ends[k])
        return int((ends[1] - ends[0]).sum())

    def usual(self, pairs: Pairs, x: np.ndarray) -> np.ndarray:
        """Usual amount (P,) of a purchase: what the customer pays for the offer, shrunk to what all pay.

        x : (P, F), the columns of the pairs.
        """
        baskets, own = x[:, COLUMNS.index("pair_baskets")], np.nan_to_num(x[:, COLUMNS.index("pair_revenue")])
        everyone = pairs.market.amount[pairs.offer]
        return ((baskets * own + SHRINK * everyone) / (baskets + SHRINK)).astype(np.float32)


def select(pairs: Pairs, mask: np.ndarray) -> Pairs:
    """The pairs for which `mask` (P,) is true."""
    counts = np.bincount(pairs.owner[mask], minlength=pairs.request.size)
    start = np.concatenate([[0], np.cumsum(counts)])
    return pairs._replace(start=start, offer=pairs.offer[mask], affinity=pairs.affinity[mask])


def best_sellers(market: Market, number: int) -> np.ndarray:
    """Union of the best sellers of the last 2, 7 and 28 days, `number` of each: ascending (K,).

    If no more than `number` offers were sold at all, these.
    """
    if market.sold.sum() <= number:
        return np.flatnonzero(market.sold)
    lists = []
    for window in (1, 4, 6):
        order = np.lexsort((np.arange(market.sold.size), -market.rows[:, 6], -market.rows[:, window]))[:number]
        lists.append(order[market.rows[order, window] > 0])
    return np.unique(np.concatenate(lists))


def group_best_sellers(market: Market, group: np.ndarray, number: int) -> np.ndarray:
    """Best sellers of each of G groups in the last 14 days, -1 where it has fewer: (G, number) int64."""
    groups = max(int(group.max(initial=-1)) + 1, 1)
    best = np.full((groups, number), -1, np.int64)
    order = np.lexsort((np.arange(group.size), -market.rows[:, 6], -market.rows[:, 5], group))
    order = order[(group[order] >= 0) & (market.rows[order, 6] > 0)]
    own = group[order]
    rank = np.arange(own.size) - np.searchsorted(own, own)
    top = rank < number
    best[own[top], rank[top]] = order[top]
    return best
