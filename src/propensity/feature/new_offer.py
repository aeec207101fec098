"""Inputs of offers that a model was not trained on, by the kernels and from the customers of the trained ones.

Legend: M trained offers, K new offers, B customers.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.offer import Offers
from propensity.feature.column import NEIGHBOURS
from propensity.feature.features import ROUNDING, Features
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import AFFINITY_HALF_LIVES, BLAS, SVD_RANKS, MarketStats, rarity
from propensity.feature.new_offer_stats import NewOfferStats
from propensity.feature.point_in_time import point_in_time
from propensity.kernel.market import MarketColumns, profiles
from propensity.kernel.neighbour import neighbour_shares


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
        self.known: Inputs | None = None

    def inputs(self, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask | None = None) -> Inputs:
        """Compute the model inputs of customers for the new offers; see `Features.inputs`.

        Returns
        -------
        Inputs
            Of B customers and K + 1 offers. The last is what is left of the trained offers' purchases beside those of
            the new ones, so that sums over offers are those over the trained offers.
        """
        known: Any = self.trained.inputs(self.market, customer)
        pair = self._pair_beside(known, market_stats, customer)
        if self.config.own("pair"):
            nothing = HistoryMask.nothing(customer.size)
            self._own_pair(pair, point_in_time(self.log, self.offers, market_stats, customer, nothing), nothing)
        context = self._context(market_stats, np.zeros(len(self.offers), bool))
        standardisation = self.standardisation(market_stats)
        inputs: Inputs = known._replace(
            pair=np.concatenate([pair, self._rest(pair, known.pair)], axis=1),
            context=np.concatenate([context, context[:1]]),
            offer=np.append(self.offer_code, 0),
            attribute=np.concatenate([self.attribute, self.attribute[:1]]),
            standardisation=np.concatenate([standardisation, np.zeros_like(standardisation[:1])]),
        )
        return inputs

    def unmasked_pairs(self, market_stats: MarketStats, customer: np.ndarray) -> np.ndarray:
        """The pair columns (B, K, P) of customers of whom nothing is hidden; 0 for those of the user's own."""
        pair = self._pair_beside(self.trained.inputs(self.market, customer), market_stats, customer)
        pair[:, :, len(self.config.pair) - len(self.config.own("pair")) :] = 0.0
        return pair

    def _pair_beside(self, known: Any, market_stats: MarketStats, customer: np.ndarray) -> np.ndarray:
        """The pair columns (B, K, P) beside the inputs for the trained offers, without the user's own columns."""
        twin = copy.copy(self)
        twin.known = known
        customer_features = known.customer_features.copy()  # the kernel writes some of its columns again
        pair = twin._pair(market_stats, customer, HistoryMask.nothing(customer.size), customer_features)
        self._rank(pair, np.asarray(known.pair))
        return pair

    def _rank(self, pair: np.ndarray, trained: np.ndarray) -> None:
        """Fills the columns of the rank, which is that among the trained offers."""
        names = self.config.pair
        if "units" not in self.config.groups:
            return
        days, every = (each[:, :, names.index("days_182")] for each in (pair, trained))
        above = (every[:, :, None] > days[:, None]).sum(axis=1)
        ranked = np.maximum((every > 0).sum(axis=1), 1)[:, None]
        pair[:, :, names.index("rank_182")] = np.where(days > 0, above, np.nan)
        pair[:, :, names.index("rank_share_182")] = np.where(days > 0, np.minimum(above / ranked, 1.0), np.nan)

    def _rest(self, pair: np.ndarray, trained: np.ndarray) -> np.ndarray:
        """Columns (B, 1, P) whose decayed purchase days are those of the trained offers without those of `pair`."""
        rest = pair[:, :1].copy()
        for half_life in self.config.half_lives:
            column = self.config.pair.index(f"decayed_{half_life}")
            rest[:, 0, column] = trained[:, :, column].sum(axis=1) - pair[:, :, column].sum(axis=1)
        return rest

    def _affinity(
        self, market_stats: MarketStats, bought: tuple[np.ndarray, ...], column: dict[str, np.ndarray]
    ) -> None:
        """Fills the columns (B, K) of affinity and siblings, from purchases of trained offers."""
        assert self.known is not None
        names, known = self.config.pair, np.asarray(self.known.pair)
        profile, whole, *binary = profiles(known, MarketColumns.of(names, AFFINITY_HALF_LIVES))
        m, k = known.shape[1], len(self.offers)
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
            column["sibling_follow"][:] = known[:, :, names.index("follow_broad")] @ market_stats.sibling
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
