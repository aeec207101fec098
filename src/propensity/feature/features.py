"""Inputs and labels at a cutoff, computed by kernels from the log for the customers of a batch, and never stored.

Kernels read events before the cutoff only, and the market statistics were computed from the same events.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any, Self

import numpy as np

from propensity.data.batch import Empty, Inputs, Outcomes
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.item_text import text_weights
from propensity.data.offer import Offers
from propensity.data.vocabulary import Vocabulary
from propensity.feature.affinity import rarity
from propensity.feature.attribute import attribute_numbers
from propensity.feature.calendar import season
from propensity.feature.column import (
    AFFINITY,
    AFFINITY_GROUP,
    CONTEXT_NAMES,
    NEIGHBOURS,
    SIBLING,
    TEXT,
)
from propensity.feature.engagement import ENGAGEMENT, fill_engaged_offers, fill_engagement
from propensity.feature.feature_config import RATE_WINDOW
from propensity.feature.feature_config import FeatureConfig as FeatureConfig  # runs name it here
from propensity.feature.group_rate import GROUP_RATE_WINDOWS, group_codes, group_rate_name
from propensity.feature.hazard import COUNT_EDGES, RECENCY_EDGES
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import (
    AFFINITY_HALF_LIVES,
    BLAS,
    SVD_RANKS,
    MarketStats,
    log_spend,
    sampled,
    tenure_month,
)
from propensity.feature.neighbour import category_sets
from propensity.feature.point_in_time import PointInTime, compute_column, point_in_time
from propensity.feature.price import PRICE_NAMES, PRICES, price_columns
from propensity.feature.registrant import GROUP, Registry, fill_customer_columns, fill_pair_columns
from propensity.kernel.customer import customer_windows
from propensity.kernel.event import Events, Sets, fixed
from propensity.kernel.group import GroupTables, windows_and_groups
from propensity.kernel.history import ends, last_events, last_positions, visible_events
from propensity.kernel.market import MarketColumns, look_up, profiles, spread
from propensity.kernel.neighbour import neighbour_shares
from propensity.kernel.outcome import outcomes, purchase_channels
from propensity.kernel.pair_group import BasicColumns, OfferMarket
from propensity.kernel.price import price_sums
from propensity.kernel.within_offer import add_moments, standardisation

PRIOR_DAYS = 91  # days of exposure that the market's rate counts for against the customer's own
# columns that depend on the customer's purchases of other offers
OF_OTHERS = tuple(column.name for column in (*AFFINITY, *SIBLING, *TEXT, *AFFINITY_GROUP, *NEIGHBOURS))
COMPARED, PAIRS_AT_ONCE = 1_000, 100_000  # customers whom columns are standardised among, and pairs in memory for it
ROUNDING = 1e-6  # smaller values are rounding errors, whose ranks would differ between blocks


class Features:
    """Inputs and outcomes for one log and list of offers, as NumPy arrays.

    Parameters
    ----------
    log : EventLog
        The log.
    offers : Offers
        M offers.
    vocabulary : Vocabulary
        Codes of offers, items and channels.
    config : FeatureConfig
        Windows, half-lives, history length and extra columns.
    """

    empty: Empty = np.empty  # makes the large arrays of a batch

    def __init__(self, log: EventLog, offers: Offers, vocabulary: Vocabulary, config: FeatureConfig) -> None:
        self.log, self.offers, self.vocabulary, self.config = log, offers, vocabulary, config
        self.events, self.sets = log.events, offers.sets
        self.offer_code = vocabulary.offer_codes(offers)
        self.attribute = vocabulary.offer_attributes(log, offers)
        self.text = vocabulary.offer_text(log, offers)
        self.text_weight = np.zeros((0, 0), np.float32)
        if config.used_text:
            self.text_weight = text_weights(self.text, self.text, ~np.eye(len(offers), dtype=bool))
        self.item_code = vocabulary.item_codes(log)
        self.channel_code = self._channel_codes(vocabulary.channels)
        self.sold_through = self._channel_codes(vocabulary.sold_through) - 1  # -1: not counted
        self.windows, self.half_lives = np.array(config.windows), np.array(config.half_lives)
        self.attributes = attribute_numbers(log.customers, config.used_attributes)
        self.groups_by_day: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by the day of the market's tables
        self.own_context: dict[Cutoff, np.ndarray] = {}
        self.categories: dict[int, tuple[np.ndarray, Sets]] = {}  # by the day of the market's tables
        self.standardisations: dict[Cutoff, np.ndarray] = {}  # by the same day, and the horizon

    def in_memory_of(self, empty: Empty) -> Self:
        """A copy that takes the memory of large arrays from a function such as `numpy.empty`."""
        twin = copy.copy(self)
        twin.empty = empty
        return twin

    def with_customers(
        self,
        events: Events,
        attributes: np.ndarray,
        registry: Registry,
        groups_by_day: dict[int, tuple[np.ndarray, np.ndarray]],
    ) -> Self:
        """A copy for other customers than those of the log.

        Parameters
        ----------
        events : Events
            Of B customers, with the log's items and channels.
        attributes : (B, A) float32
            Numbers of their attributes.
        registry : Registry
            Their registrations and engagement.
        groups_by_day : dict of int to ((G,) str, (B, K) int64)
            Labels of the market's groups, and the groups that they are in, by the day of the market's tables.
        """
        twin = copy.copy(self)
        twin.events, twin.attributes, twin.registry, twin.groups_by_day = events, attributes, registry, groups_by_day
        return twin

    @cached_property
    def registry(self) -> Registry:
        """Registrations and engagement of the customers."""
        return Registry.of_log(self.log)

    def inputs(self, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask | None = None) -> Inputs:
        """Compute the model inputs of customers from what is visible at a cutoff.

        Parameters
        ----------
        market_stats : MarketStats
            The market at the cutoff.
        customer : (B,) int
            Rows of the log.
        mask : HistoryMask, optional
            Events to hide; None hides nothing.

        Returns
        -------
        Inputs
            Fields are NumPy arrays.

        Raises
        ------
        ConfigurationError
            If an extra column returns another shape than that of its block.
        """
        mask = HistoryMask.nothing(customer.size) if mask is None else mask
        customer_features = self._customer(market_stats, customer, mask)
        token, kind, channel, age, amount, length = self.histories(market_stats.cutoff, customer, mask)
        pair = self._pair(market_stats, customer, mask, customer_features)
        if self.config.own("pair") or self.config.own("customer"):
            known = point_in_time(self.log, self.offers, market_stats, customer, mask)
            self._own_pair(pair, known, mask)
            self._own_customer(customer_features, known)
        launched = np.zeros(len(self.offers), bool)
        launched[mask.launched] = True
        return _inputs(
            token=token,
            kind=kind,
            channel=channel,
            age=age,
            amount=amount,
            length=length,
            pair=pair,
            customer_features=customer_features,
            context=self._context(market_stats, launched),
            season=season(market_stats.cutoff.day, market_stats.cutoff.horizon),
            offer=np.where(launched, 0, self.offer_code),
            attribute=self.attribute,
            standardisation=_without(launched, self.standardisation(market_stats)),
        )

    def outcomes(self, cutoff: Cutoff, customer: np.ndarray) -> Outcomes:
        """Compute purchases, revenue, visits and channels of `customer (B,)` in the horizon, as float32 arrays."""
        bought = self.empty((customer.size, len(self.offers)), bool)
        revenue, visit = self.empty(bought.shape, np.float32), np.empty(customer.size, bool)
        outcomes(self.events, self.sets, customer, cutoff.day, cutoff.horizon, bought, revenue, visit)
        channel = np.empty((customer.size, len(self.vocabulary.sold_through)), np.float32)
        purchase_channels(self.events, customer, cutoff.day, cutoff.horizon, self.sold_through, channel)
        arrays: Any = (bought.astype(np.float32), revenue, visit.astype(np.float32), channel)
        return Outcomes(*arrays)

    def lengths(self, cutoff: Cutoff, customer: np.ndarray) -> np.ndarray:
        """Events in the history of `customer (B,)`, with nothing masked: (B,) int64."""
        return visible_events(self.events, customer, cutoff.day, self.config.history)

    @property
    def customer_group_start(self) -> np.ndarray:
        """First customer column of the groups that `_pair` fills; -1 where it fills none."""
        return self.config.customer_group_start

    def _pair(
        self, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask, customer_features: np.ndarray
    ) -> np.ndarray:
        names, columns = self.config.pair, self.config.columns["pair"]
        out = self.empty((customer.size, len(self.offers), len(names)), np.float32)
        order_size, channel_code = float(market_stats.order_size), fixed(self.channel_code)
        places = (
            BasicColumns.of(names, self.config.half_lives),
            self.config.group_start,
            self.customer_group_start,
        )
        windows_and_groups(
            *(self.events, self.sets, customer, market_stats.cutoff.day, market_stats.cutoff.horizon),
            *(mask.days, mask.offer, self.windows, self.half_lives),
            GroupTables(offer_market(market_stats), *places, order_size, channel_code),
            *(out, customer_features),
        )
        tenure = np.ascontiguousarray(customer_features[:, self.config.customer.index("tenure")])
        at, days = MarketColumns.of(names, AFFINITY_HALF_LIVES), (RATE_WINDOW, PRIOR_DAYS, market_stats.cutoff.horizon)
        tables = np.asarray(market_stats.rate), np.asarray(market_stats.hazard), (RECENCY_EDGES, COUNT_EDGES)
        look_up(out, at, tenure, days, *tables)
        of_groups = [group_rate_name(w, name) for name in self.config.used_group_rates for w in GROUP_RATE_WINDOWS]
        written = [
            *(name for name in OF_OTHERS if name in names),
            *of_groups,
            *(name for name in PRICE_NAMES if name in names),
        ]
        values = self.empty((len(written), *out.shape[:2]), np.float32)
        column = dict(zip(written, values, strict=True))
        self._affinity(market_stats, profiles(out, at), column)
        self._neighbours(market_stats, customer, mask, column)
        if GROUP in self.config.groups:
            registrant = np.isnan(customer_features[:, self.config.customer.index("recency")])
            place = self.registry, self.events, market_stats, customer, mask.days
            fill_pair_columns(out, names, registrant, *place)
        if ENGAGEMENT in self.config.groups:
            day = market_stats.cutoff.day
            fill_engaged_offers(out, names, self.sets, self.registry, self.events, day, customer, mask)
        self._group_rates(market_stats, customer, column)
        self._prices(market_stats, customer, mask, column)
        spread(values, np.array([names.index(name) for name in written]), out)
        if mask.launched.size:
            for k, declared in enumerate(columns):
                if declared.definition is not None:
                    out[:, mask.launched, k] = declared.empty
        unsold = ~market_stats.sold
        unsold[mask.launched] = True
        if unsold.any():
            for name in self.config.market:
                out[:, unsold, names.index(name)] = np.nan
        return out

    def _affinity(
        self, market_stats: MarketStats, bought: tuple[np.ndarray, ...], column: dict[str, np.ndarray]
    ) -> None:
        """Fills the columns (B, M) of affinity and siblings, from the arrays of `profiles`."""
        (profile, whole, *binary), m = bought, len(self.offers)
        short, long = profile[:, :m], profile[:, m:-1]
        with BLAS.limit(limits=1, user_api="blas"):
            for k, name in enumerate(("", "_broad")):
                np.matmul(long, market_stats.similar[k], out=column[f"similar{name}"])
                np.matmul(whole, market_stats.together[k], out=column[f"together{name}"])
                np.matmul(profile, market_stats.follow[k], out=column[f"follow{name}"])
            np.matmul(short, market_stats.sibling, out=column["sibling_short"])
            np.matmul(long, market_stats.sibling, out=column["sibling_long"])
            np.matmul(column["follow_broad"], market_stats.sibling, out=column["sibling_follow"])
            if self.config.used_text:
                np.matmul(short, self.text_weight, out=column["text_short"])
                np.matmul(long, self.text_weight, out=column["text_long"])
                sold = self.text_weight * market_stats.sold[:, None]
                np.matmul(column["follow_broad"], sold, out=column["text_follow"])
            if "affinity" in self.config.groups:
                weighted = long * rarity(market_stats.context)
                length = np.sqrt(np.einsum("bm,bm->b", weighted, weighted))[:, None]
                place = weighted @ market_stats.svd / np.maximum(length, np.float32(1e-12))
                for rank in SVD_RANKS:
                    rebuilt = np.matmul(place[:, :rank], market_stats.svd[:, :rank].T, out=column[f"svd_{rank}"])
                    rebuilt[np.abs(rebuilt) < ROUNDING] = 0.0
                for name, flag, weight in zip(("ever", "91", "28"), binary, market_stats.ease, strict=True):
                    np.matmul(flag, weight, out=column[f"ease_{name}"])
                np.matmul(long, market_stats.cosine, out=column["cosine"])

    def _neighbours(
        self, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask, column: dict[str, np.ndarray]
    ) -> None:
        """Fills the columns (B, M) of what similar customers bought."""
        if "neighbours" not in self.config.groups:
            return
        shares = self.empty((customer.size, len(self.offers), len(NEIGHBOURS)), np.float32)
        neighbour_shares(
            *(self.events, self.sets, self.item_categories(market_stats), customer, market_stats.cutoff.day),
            *(mask.days, mask.offer, market_stats.neighbours, shares),
        )
        for k, each in enumerate(NEIGHBOURS):
            column[each.name][:] = shares[:, :, k]

    def _group_rates(self, market_stats: MarketStats, customer: np.ndarray, column: dict[str, np.ndarray]) -> None:
        """Fills the columns (B, M) of what customers of the same group buy."""
        if not self.config.used_group_rates:
            return
        codes = self.groups_of(market_stats)[customer]
        for a, name in enumerate(self.config.used_group_rates):
            for w, window in enumerate(GROUP_RATE_WINDOWS):
                np.take(market_stats.group_rate[w], codes[:, a], axis=0, out=column[group_rate_name(window, name)])

    def _prices(
        self, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask, column: dict[str, np.ndarray]
    ) -> None:
        """Fills the columns (B, M) of prices and discounts."""
        if PRICES not in self.config.groups:
            return
        sums = self.price_sums(market_stats, customer, mask)
        for name, values in price_columns(sums, sums, market_stats.sibling, market_stats.prices).items():
            column[name][:] = values

    def price_sums(self, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask) -> np.ndarray:
        """Sums over the purchased lines of pairs: (B, M, 5) float32, see `propensity.kernel.price.price_sums`."""
        out = np.empty((customer.size, len(self.offers), 5), np.float32)
        usual = np.ascontiguousarray(market_stats.prices.usual, np.float64)
        day = market_stats.cutoff.day
        return price_sums(self.events, self.sets, customer, day, mask.days, mask.offer, usual, out)

    def groups_of(self, market_stats: MarketStats) -> np.ndarray:
        """The groups (N, A) that the log's customers are in, computed once for a cutoff."""
        day, label = market_stats.cutoff.day, market_stats.group_label
        if day not in self.groups_by_day or self.groups_by_day[day][0] is not label:
            attributes, groups = self.config.used_group_rates, market_stats.customer_groups
            self.groups_by_day[day] = label, group_codes(self.log.customers, attributes, groups)
        return self.groups_by_day[day][1]

    def item_categories(self, market_stats: MarketStats) -> Sets:
        """The categories of the items that customers are compared by, computed once for a cutoff."""
        day, level = int(market_stats.neighbour_day), market_stats.neighbour_level
        if day not in self.categories or self.categories[day][0] is not level.value:
            self.categories[day] = level.value, category_sets(self.log.items, self.offers, level)
        return self.categories[day][1]

    def standardisation(self, market_stats: MarketStats) -> np.ndarray:
        """Mean and spread of the pair columns among the customers for each offer, computed once for a cutoff.

        Parameters
        ----------
        market_stats : MarketStats
            The market at the cutoff.

        Returns
        -------
        (M, 2, P) float32
            See `propensity.kernel.within_offer.standardisation`; of at most `COMPARED` customers, chosen by the hash of
            the id. (M, 2, 0) without the group within_offer.
        """
        if not self.config.within_offer:
            return np.zeros((len(self.offers), 2, 0), np.float32)
        cutoff = market_stats.cutoff._replace(day=int(market_stats.neighbour_day))
        if cutoff not in self.standardisations:
            self.standardisations[cutoff] = self._standardisation(market_stats._replace(cutoff=cutoff))
        return self.standardisations[cutoff]

    def _standardisation(self, market_stats: MarketStats) -> np.ndarray:
        """`standardisation` from all events before the cutoff; columns of the user's own are not compared."""
        row = self.log.purchasers(market_stats.cutoff.day)
        if row.size > COMPARED:
            row = sampled(row, self.log.id_hash(), COMPARED)
        # customer columns alone read attributes
        unread = np.zeros((len(self.log), len(self.config.used_attributes)), np.float32)
        read = {GROUP, ENGAGEMENT} & set(self.config.groups)
        registry = Registry.of_log(self.log) if read else Registry.unknown(len(self.log))
        twin = self.with_customers(self.log.events, unread, registry, {})
        declared, unit = self.config.columns["pair"], np.float32(1.0 / self.vocabulary.unit)
        factor = np.array([unit if column.money else 1.0 for column in declared], np.float32)
        sums, size = np.zeros((3, len(self.offers), len(declared))), max(PAIRS_AT_ONCE // len(self.offers), 1)
        for start in range(0, row.size, size):
            add_moments(twin.unmasked_pairs(market_stats, row[start : start + size]), factor, sums)
        return standardisation(sums)

    def unmasked_pairs(self, market_stats: MarketStats, customer: np.ndarray) -> np.ndarray:
        """The pair columns (B, M, P) of customers of whom nothing is hidden; 0 for those of the user's own."""
        mask = HistoryMask.nothing(customer.size)
        pair = self._pair(market_stats, customer, mask, self._customer(market_stats, customer, mask))
        pair[:, :, len(self.config.pair) - len(self.config.own("pair")) :] = 0.0
        return pair

    def _customer(self, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask) -> np.ndarray:
        names, cutoff = self.config.customer, market_stats.cutoff
        out = np.empty((customer.size, len(names)), np.float32)
        customer_windows(
            *(self.events, self.sets, len(self.offers), customer, cutoff.day, cutoff.horizon),
            *(mask.days, self.windows, self.half_lives, out),
        )
        column = {name: out[:, k] for k, name in enumerate(names)}
        for k, name in enumerate(self.config.used_attributes):
            column[f"attribute_{name}"][:] = self.attributes[customer, k]
        if GROUP in self.config.groups:
            fill_customer_columns(column, self.registry, self.events, market_stats, customer, mask.days)
        if ENGAGEMENT in self.config.groups:
            fill_engagement(column, self.registry, self.events, cutoff.day, customer, mask.days)
        column["trend"][:] = np.log((3.25 * column["orders_28"] + 1) / (column["orders_91"] + 1))
        cohort = market_stats.cohort[tenure_month(column["tenure"])]
        column["cohort_spend"][:] = log_spend(column["spend_91"], float(market_stats.unit)) - cohort[:, 0]
        column["cohort_orders"][:] = np.log1p(column["orders_91"]) - cohort[:, 1]
        return out

    def _context(self, market_stats: MarketStats, launched: np.ndarray) -> np.ndarray:
        """(M, C) float32; the columns of launched offers (M,) bool are those of an offer that nobody bought."""
        columns = [np.where(launched[:, None], np.nan, market_stats.context)]
        if own := self.config.own("context"):
            empty = np.array([column.empty for column in own], np.float32)
            columns.append(np.where(launched[:, None], empty, self._own_context(market_stats)))
        return np.concatenate(columns, axis=1) if own else columns[0]

    def _own_pair(self, out: np.ndarray, known: PointInTime, mask: HistoryMask) -> None:
        """Fills the extra pair columns; pairs whose offer is masked or launched get the declared empty value."""
        first, masked = len(self.config.pair) - len(self.config.own("pair")), np.flatnonzero(mask.offer >= 0)
        for k, column in enumerate(self.config.own("pair"), first):
            out[:, :, k] = compute_column(column, known)
            out[:, mask.launched, k] = column.empty
            out[masked, mask.offer[masked], k] = column.empty

    def _own_customer(self, out: np.ndarray, known: PointInTime) -> None:
        """Fills the extra customer columns."""
        first = len(self.config.customer) - len(self.config.own("customer"))
        for k, column in enumerate(self.config.own("customer"), first):
            out[:, k] = compute_column(column, known)

    def _own_context(self, market_stats: MarketStats) -> np.ndarray:
        """The extra context columns over everybody with a purchase, computed once for a cutoff: (M, K) float32."""
        cutoff = market_stats.cutoff
        if cutoff not in self.own_context:
            everybody = np.union1d(self.log.purchasers(cutoff.day), self.log.guests(cutoff.day))
            mask = HistoryMask.nothing(everybody.size)
            known = point_in_time(self.log, self.offers, market_stats, everybody, mask)
            columns = [compute_column(column, known) for column in self.config.own("context")]
            self.own_context[cutoff] = np.stack(columns, axis=1).astype(np.float32)
        return self.own_context[cutoff]

    def histories(self, cutoff: Cutoff, customer: np.ndarray, mask: HistoryMask, most: int = 0) -> tuple[Any, ...]:
        """token (B, L, K), kind, channel, age, amount (B, L) and length (B,) of the last `most` events (0: history)."""
        shape = (customer.size, most or self.config.history)
        kinds = (np.int32, np.int32, np.float32, np.float32)
        kind, channel, age, amount = (self.empty(shape, dtype) for dtype in kinds)
        token = self.empty((*shape, self.item_code.shape[1]), np.int32)
        out = token, kind, channel, age, amount, np.empty(customer.size, np.int64)
        last_events(
            *(self.events, self.sets, customer, cutoff.day, mask.days, mask.offer),
            *(fixed(self.item_code), fixed(self.channel_code), out),
        )
        return out

    def positions(self, cutoff: Cutoff, customer: np.ndarray, mask: HistoryMask) -> np.ndarray:
        """Places in the log of the events of `histories`, -1 past the last: (B, L) int64."""
        position = np.empty((customer.size, self.config.history), np.int64)
        end = ends(self.events, customer, cutoff.day, mask.days)
        last_positions(self.events, self.sets, customer, end, mask.offer, position)
        return position

    def _channel_codes(self, names: tuple[str, ...]) -> np.ndarray:
        """Channel number in the log (-1 for none, the last entry) -> code among the names, 0 for another."""
        position = {name: k + 1 for k, name in enumerate(names)}
        return np.array([position.get(name, 0) for name in self.log.meta["channels"]] + [0], np.int32)


def offer_market(market_stats: MarketStats) -> OfferMarket:
    """The tables of a market that the groups of pair columns read."""
    intensity = market_stats.context[:, CONTEXT_NAMES.index("intensity")]
    tables = market_stats.trip_share, market_stats.interpurchase_time, np.nan_to_num(intensity)
    return OfferMarket(*(np.ascontiguousarray(table, np.float64) for table in tables))


def _without(launched: np.ndarray, standardisation: np.ndarray) -> np.ndarray:
    """A copy of the standardisation (M, 2, P), 0 for launched offers (M,)."""
    out = standardisation.copy()
    out[launched] = 0.0
    return out


def _inputs(**arrays: Any) -> Inputs:
    return Inputs(**arrays)
