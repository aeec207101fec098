"""Inputs of offers that a model was not trained on, by the kernels and from the customers of the trained ones.

Legend: M trained offers, K new offers, B customers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.item_text import text_weights
from propensity.data.offer import Offers
from propensity.feature.affinity import rarity
from propensity.feature.calendar import season
from propensity.feature.column import NEIGHBOURS
from propensity.feature.features import ROUNDING, Features, offer_market
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import AFFINITY_HALF_LIVES, BLAS, SVD_RANKS, MarketStats
from propensity.feature.new_offer_stats import NewOfferStats
from propensity.feature.point_in_time import point_in_time
from propensity.feature.price import PRICES, price_columns
from propensity.kernel.event import fixed
from propensity.kernel.group import GroupTables
from propensity.kernel.market import MarketColumns
from propensity.kernel.neighbour import neighbour_shares
from propensity.kernel.pair_group import BasicColumns
from propensity.kernel.trained_state import TrainedState, rank_among, trained_state


class NewOfferFeatures(Features):
    """Inputs for new offers.

    Parameters
    ----------
    trained : Features
        Of the trained offers.
    market : MarketStats
        Their statistics at the cutoff.
    offers : Offers
        K new offers over the items of the same log.
    tables : NewOfferStats
        Statistics of the new offers at the cutoff.
    code : (K,) int64
        Codes of the offers in the network; 0 for an offer without one.
    """

    def __init__(
        self, trained: Features, market: MarketStats, offers: Offers, tables: NewOfferStats, code: np.ndarray
    ) -> None:
        super().__init__(trained.log, offers, trained.vocabulary, trained.config)
        self.trained, self.market, self.tables, self.offer_code = trained, market, tables, code
        if self.config.used_text:
            self.text_weight = text_weights(trained.text, self.text, tables.others)
            follow = np.where(market.sold, market.follow[1], 0.0)  # missing where nobody bought the offer
            self.text_follow = (follow @ self.text_weight).astype(np.float32)
        self.state: TrainedState | None = None  # of the customers of the last call
        self.sibling_follow = market.follow[1] @ tables.market_stats.sibling  # through follow_broad of trained offers

    @property
    def customer_group_start(self) -> np.ndarray:
        """No place: the groups of customer columns are those of the trained offers."""
        return np.full(2, -1)

    def inputs(self, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask | None = None) -> Inputs:
        """Compute the model inputs of customers for the new offers; see `Features.inputs`.

        Returns
        -------
        Inputs
            Of B customers and K + 1 offers. The last is what is left of the trained offers' purchases beside those of
            the new ones, so that sums over offers are those over the trained offers.
        """
        nothing, cutoff, trained = HistoryMask.nothing(customer.size), market_stats.cutoff, self._trained()
        customer_features = trained._customer(self.market, customer, nothing)
        token, kind, channel, age, amount, length = trained.histories(cutoff, customer, nothing)
        pair = self._pair_beside(market_stats, customer, customer_features)
        if self.config.own("customer"):
            known = point_in_time(self.log, self.trained.offers, self.market, customer, nothing)
            self._own_customer(customer_features, known)
        if self.config.own("pair"):
            nothing = HistoryMask.nothing(customer.size)
            self._own_pair(pair, point_in_time(self.log, self.offers, market_stats, customer, nothing), nothing)
        context = self._context(market_stats, np.zeros(len(self.offers), bool))
        assert self.state is not None
        standardisation = self.standardisation(market_stats)
        arrays: Any = {
            "token": token,
            "kind": kind,
            "channel": channel,
            "age": age,
            "amount": amount,
            "length": length,
            "pair": np.concatenate([pair, self._rest(pair, self.state)], axis=1),
            "customer_features": customer_features,
            "context": np.concatenate([context, context[:1]]),
            "season": season(cutoff.day, cutoff.horizon),
            "offer": np.append(self.offer_code, 0),
            "attribute": np.concatenate([self.attribute, self.attribute[:1]]),
            "standardisation": np.concatenate([standardisation, np.zeros_like(standardisation[:1])]),
        }
        return Inputs(**arrays)

    def unmasked_pairs(self, market_stats: MarketStats, customer: np.ndarray) -> np.ndarray:
        """The pair columns (B, K, P) of customers of whom nothing is hidden; 0 for those of the user's own."""
        nothing = HistoryMask.nothing(customer.size)
        pair = self._pair_beside(market_stats, customer, self._trained()._customer(self.market, customer, nothing))
        pair[:, :, len(self.config.pair) - len(self.config.own("pair")) :] = 0.0
        return pair

    def _pair_beside(
        self, market_stats: MarketStats, customer: np.ndarray, customer_features: np.ndarray
    ) -> np.ndarray:
        """The pair columns (B, K, P) without the user's own columns; fills the groups of the customer columns."""
        self.state = self._trained_state(customer, customer_features)
        pair = self._pair(market_stats, customer, HistoryMask.nothing(customer.size), customer_features)
        self._rank(pair, self.state)
        return pair

    def _trained(self) -> Features:
        """The features of the trained offers, for the customers of these features, who are others in a copy."""
        return self.trained.with_customers(self.events, self.attributes, self.registry, self.groups_by_day)

    def _trained_state(self, customer: np.ndarray, customer_features: np.ndarray) -> TrainedState:
        """The purchases of trained offers; fills the groups of the customer columns."""
        config, cutoff, offers = self.config, self.market.cutoff, len(self.trained.offers)
        names, half_lives = config.pair, config.half_lives
        state = TrainedState.empty(customer.size, offers, len(half_lives))
        places = BasicColumns.of(names, half_lives), config.group_start, config.customer_group_start
        tables = GroupTables(
            offer_market(self.market), *places, float(self.market.order_size), fixed(self.trained.channel_code)
        )
        trained_state(
            *(self.events, self.trained.sets, customer, cutoff.day, cutoff.horizon, self.windows, self.half_lives),
            *(MarketColumns.of(names, AFFINITY_HALF_LIVES), tables, state, customer_features),
        )
        return state

    def _rank(self, pair: np.ndarray, state: TrainedState) -> None:
        """Fills the columns of the rank, which is that among the trained offers."""
        names = self.config.pair
        if "units" not in self.config.groups:
            return
        days = pair[:, :, names.index("days_182")]
        above, ranked = np.empty(days.shape, np.int64), np.empty(len(days), np.int64)
        rank_among(state.days, days, above, ranked)
        share = np.minimum(above / np.maximum(ranked, 1)[:, None], 1.0)
        pair[:, :, names.index("rank_182")] = np.where(days > 0, above, np.nan)
        pair[:, :, names.index("rank_share_182")] = np.where(days > 0, share, np.nan)

    def _rest(self, pair: np.ndarray, state: TrainedState) -> np.ndarray:
        """Columns (B, 1, P) whose decayed purchase days are those of the trained offers without those of `pair`."""
        rest = pair[:, :1].copy()
        for place, half_life in enumerate(self.config.half_lives):
            column = self.config.pair.index(f"decayed_{half_life}")
            rest[:, 0, column] = state.decayed[:, place] - pair[:, :, column].sum(axis=1)
        return rest

    def _affinity(
        self, market_stats: MarketStats, bought: tuple[np.ndarray, ...], column: dict[str, np.ndarray]
    ) -> None:
        """Fills the columns (B, K) of affinity and siblings, from purchases of trained offers."""
        assert self.state is not None
        profile, whole, *binary = self.state[:5]
        m, k = whole.shape[1], len(self.offers)
        short, long = profile[:, :m], profile[:, m:-1]
        own = bought[0][:, :-1].reshape(-1, len(AFFINITY_HALF_LIVES), k)
        with BLAS.limit(limits=1, user_api="blas"):
            for r, name in enumerate(("", "_broad")):
                column[f"similar{name}"][:] = long @ market_stats.similar[r]
                column[f"together{name}"][:] = whole @ market_stats.together[r]
                follow = profile @ market_stats.follow[r]
                column[f"follow{name}"][:] = follow + (own * self.tables.follow_own[r]).sum(axis=1)
            column["sibling_short"][:] = short @ market_stats.sibling
            column["sibling_long"][:] = long @ market_stats.sibling
            column["sibling_follow"][:] = profile @ self.sibling_follow
            if self.config.used_text:
                column["text_short"][:] = short @ self.text_weight
                column["text_long"][:] = long @ self.text_weight
                column["text_follow"][:] = profile @ self.text_follow
            if "affinity" not in self.config.groups:
                return
            weighted = long * rarity(self.market.context)
            length = np.sqrt(np.einsum("bm,bm->b", weighted, weighted))[:, None]
            place = weighted @ self.market.svd / np.maximum(length, np.float32(1e-12))
            for rank in SVD_RANKS:
                rebuilt = place[:, :rank] @ self.tables.directions[:, :rank].T
                column[f"svd_{rank}"][:] = np.where(np.abs(rebuilt) < ROUNDING, 0.0, rebuilt)
            for name, flag, weight in zip(("ever", "91", "28"), binary, market_stats.ease, strict=True):
                column[f"ease_{name}"][:] = flag @ weight
            column["cosine"][:] = long @ market_stats.cosine

    def _prices(
        self, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask, column: dict[str, np.ndarray]
    ) -> None:
        """Fills the columns (B, K) of prices and discounts; those of a parent come from purchases of trained offers."""
        if PRICES not in self.config.groups:
            return
        own = self.price_sums(market_stats, customer, mask)
        others = self._trained().price_sums(self.market, customer, mask)
        for name, values in price_columns(own, others, market_stats.sibling, market_stats.prices).items():
            column[name][:] = values

    def _neighbours(
        self, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask, column: dict[str, np.ndarray]
    ) -> None:
        """Fills the columns (B, K) of what the neighbours by trained offers bought."""
        if "neighbours" not in self.config.groups:
            return
        shares = np.empty((customer.size, len(self.offers), len(NEIGHBOURS)), np.float32)
        categories = self.trained.item_categories(self.market)
        neighbour_shares(
            *(self.events, self.trained.sets, categories, customer, market_stats.cutoff.day),
            *(mask.days, mask.offer, market_stats.neighbours, shares),
        )
        for k, each in enumerate(NEIGHBOURS):
            column[each.name][:] = shares[:, :, k]
