"""Pairs of requests and offers with their columns, day by day: nothing is computed from a row at or after a cutoff."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np

from propensity.catalogue.column import COLUMNS, CUSTOMER, OFFER, PAIR
from propensity.catalogue.hours import (
    TimedEvents,
    TimedSales,
    columns_of_hours,
    recently_seen,
    timed_events,
    timed_sales,
)
from propensity.catalogue.kernel.pair import customer_columns, pair_columns
from propensity.catalogue.kernel.retrieve import affinities, own_ends, retrieve
from propensity.catalogue.market import Market, Similarity, affinity_day, market_at, similarities
from propensity.catalogue.moment import HOUR, ending_at, moments
from propensity.catalogue.profile import Basis, BuyerProfiles, basis_of, buyers_of, likeness
from propensity.catalogue.requests import Requests
from propensity.catalogue.sales import Sales, sales_of
from propensity.data.catalogue import CatalogueConfig
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers

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


class Timed(NamedTuple):
    """What requests with a time of day read: the log and its offers, and events at their times."""

    log: EventLog
    offers: Offers
    sales: TimedSales
    events: TimedEvents | None  # None for a model without columns of hours


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
    timed : Timed, optional
        For requests with a time of day.
    """

    def __init__(self, sales: Sales, group: np.ndarray, config: CatalogueConfig, timed: Timed | None = None) -> None:
        self.sales, self.group, self.config, self.timed = sales, group.astype(np.int32), config, timed
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

    @classmethod
    def of(cls, log: EventLog, offers: Offers, config: CatalogueConfig, hours: bool | None) -> Self:
        """The catalogue of a log.

        Parameters
        ----------
        log : EventLog
            The log.
        offers : Offers
            Its M offers.
        config : CatalogueConfig
            How offers are found.
        hours : bool, optional
            Whether pairs have columns of hours; None for requests that are all at dates.
        """
        timed = None
        if hours is not None:
            events = timed_events(log, offers) if hours else None
            timed = Timed(log, offers, timed_sales(log, offers), events)
        return cls(sales_of(log, offers), offers.parent, config, timed)

    def parts(self, requests: Requests) -> Iterator[tuple[Catalogue, np.ndarray]]:
        """Catalogues whose days end at the times of day of requests, and the positions of the requests of each.

        Parameters
        ----------
        requests : Requests
            R requests.

        Yields
        ------
        Catalogue
            This one for requests at dates. With columns of hours its days end at the last full hour, and otherwise at
            the time of day itself.
        numpy.ndarray of shape (K,), int64
            Ascending positions.
        """
        if requests.clock is None:
            yield self, np.arange(requests.number)
            return
        assert self.timed is not None
        ends = requests.clock // HOUR * HOUR if self.timed.events is not None else requests.clock
        for clock in np.unique(ends).tolist():
            log = ending_at(self.timed.log, clock)
            sales = self.sales if clock == 0 else sales_of(log, self.timed.offers)
            yield Catalogue(sales, self.group, self.config, self.timed), np.flatnonzero(ends == clock)

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
        pairs = Pairs(position, start, chosen[:found], affinity[:found], end, market)
        if requests.clock is None or self.timed is None or self.timed.events is None:
            return pairs
        seen = recently_seen(self.timed.events, customer, self._moments(requests, position))
        start, chosen = with_offers(pairs, *seen)
        affinity = np.zeros((chosen.size, 2), np.float32)
        affinities(*rows, *taste, start, chosen, affinity)
        return pairs._replace(start=start, offer=chosen, affinity=affinity)

    def _moments(self, requests: Requests, position: np.ndarray) -> np.ndarray:
        """Moments of requests at positions, in milliseconds since 1970-01-01 UTC."""
        assert self.timed is not None and requests.clock is not None
        return moments(requests.day[position], requests.clock[position], self.timed.log.timezone)

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
            The columns `COLUMNS`, or `TIMED_COLUMNS` with columns of hours; NaN where one is not defined.
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
            data, self.group, market.share, market.first_age, market.price, customer, pairs.end,
            market.day, pairs.start, pairs.offer, pairs.affinity, out[:, then:last],
        )  # fmt: skip
        assert pairs.buyers is not None
        basis = self.basis(market.day)
        out[:, last:] = likeness(sales, basis, pairs.buyers, customer, pairs.end, pairs.start, pairs.offer)
        if self.timed is None or self.timed.events is None:
            return out
        assert requests.clock is not None
        moment, clock = self._moments(requests, pairs.request), requests.clock[pairs.request]
        hours = columns_of_hours(self.timed.events, customer, moment, clock, pairs.start, pairs.offer)
        return np.concatenate([out, hours], axis=1)

    def labels(self, pairs: Pairs, requests: Requests, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """Whether each pair's offer was bought in the horizon (P,) bool, and for how much (P,) float32."""
        customer = requests.customer[pairs.request]
        if requests.clock is None:
            sales: Sales | TimedSales = self.sales
            time, first, last = self.sales.day, pairs.end, np.full(customer.size, pairs.market.day + horizon)
        else:
            assert self.timed is not None
            sales, time, clock = self.timed.sales, self.timed.sales.time, requests.clock[pairs.request]
            last = moments(requests.day[pairs.request] + horizon, clock, self.timed.log.timezone)
            first = np.empty(customer.size, np.int64)
            own_ends(sales.offsets, time, customer, self._moments(requests, pairs.request), first)
        stop = np.empty(customer.size, np.int64)
        own_ends(sales.offsets, time, customer, last, stop)
        offers, counts = self.sales.offers, stop - first
        rows = np.repeat(first, counts) + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        bought = np.repeat(np.arange(customer.size), counts) * offers + sales.offer[rows]
        keys, inverse = np.unique(bought, return_inverse=True)
        revenue = np.bincount(inverse, weights=sales.revenue[rows], minlength=keys.size)
        key = pairs.owner * offers + pairs.offer
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


def with_offers(pairs: Pairs, owner: np.ndarray, offer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (B + 1,) and offers (P,) int32 of pairs and further offers of requests, each once, the old ones first."""
    owners, offers = np.concatenate([pairs.owner, owner]), np.concatenate([pairs.offer, offer])
    _, first = np.unique(owners * (int(offers.max(initial=0)) + 1) + offers, return_index=True)
    first = np.sort(first)
    order = first[np.argsort(owners[first], kind="stable")]
    start = np.concatenate([[0], np.cumsum(np.bincount(owners[order], minlength=pairs.request.size))])
    return start.astype(np.int64), offers[order].astype(np.int32)


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
