"""Inputs of a send date: computed from the log by kernels for the customers asked for, never stored.

What a feature may know is bounded by construction: kernels stop at the cutoff, and the snapshot they look into was
made from what was visible then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from propensity.data.batch import Inputs, Outcomes, Sizes
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError
from propensity.feature.calendar import SEASON, season
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import BLAS, CONTEXT, TASTES, MarketStats, hazard_cell, tastes, tenure_month
from propensity.kernel.customer import customer_columns, customer_windows
from propensity.kernel.event import KINDS, fixed
from propensity.kernel.history import ends, last_events, last_positions, visible_events
from propensity.kernel.outcome import outcomes, purchase_channels
from propensity.kernel.pair import pair_columns, pair_windows, row_of_nothing

PRIOR_DAYS = 91  # weight of the market's rate, in days of exposure, against the customer's own
RATE_WINDOW = 182
AFFINITY = ("similar", "similar_broad", "together", "together_broad", "follow", "follow_broad")
MARKET = ("expected", "hazard", *AFFINITY)  # what others' purchases say: none where nobody bought
SIBLING = ("sibling_short", "sibling_long", "sibling_follow")
NEEDED = (28, 91, RATE_WINDOW)  # windows that other columns, and the slices of an evaluation, are made from


@dataclass
class FeatureConfig:
    """Which windows (days), half-lives (days) and how many of the last events a model sees."""

    windows: tuple[int, ...] = (7, 14, 28, 56, 91, 182, 364)
    half_lives: tuple[int, ...] = (10, 30, 90)
    history: int = 128

    def __post_init__(self) -> None:
        self.windows, self.half_lives = tuple(sorted(self.windows)), tuple(self.half_lives)
        if not set(NEEDED) <= set(self.windows) or not set(TASTES) <= set(self.half_lives):
            needed, tastes = (", ".join(map(str, days)) for days in (NEEDED, TASTES))
            raise ConfigurationError(
                f"features need the windows {needed} and the half-lives {tastes}; add them to data.feature"
            )

    @property
    def pair(self) -> tuple[str, ...]:
        return (*pair_columns(self.windows, self.half_lives), *MARKET, *SIBLING)

    @property
    def customer(self) -> tuple[str, ...]:
        return (*customer_columns(self.windows, self.half_lives), "trend", "cohort_spend", "cohort_orders")

    def sizes(self, vocabulary: Vocabulary) -> Sizes:
        """Shapes that follow from the rule and the vocabulary."""
        return Sizes(
            tokens=vocabulary.token_sizes,
            kinds=len(KINDS),
            channels=len(vocabulary.channels) + 1,
            pair=self.pair,
            customer=self.customer,
            context=CONTEXT,
            season=len(SEASON),
            offers=len(vocabulary.offers) + 1,
            attributes=vocabulary.attribute_size,
            sold_through=tuple(vocabulary.channels.index(name) + 1 for name in vocabulary.sold_through),
        )


class Features:
    """Inputs and outcomes of one log and list of offers, in NumPy; the fields of `Inputs` hold arrays here."""

    def __init__(self, log: EventLog, offers: Offers, vocabulary: Vocabulary, rule: FeatureConfig) -> None:
        self.log, self.offers, self.vocabulary, self.rule = log, offers, vocabulary, rule
        self.events, self.sets = log.events, offers.sets
        self.offer_code = vocabulary.offer_codes(offers)
        self.attribute = vocabulary.offer_attributes(log, offers)
        self.item_code = vocabulary.item_codes(log)
        self.channel_code = self._channel_codes(vocabulary.channels)
        self.sold_through = self._channel_codes(vocabulary.sold_through) - 1  # -1: counts for none
        self.windows, self.half_lives = np.array(rule.windows), np.array(rule.half_lives)

    def inputs(self, market_stats: MarketStats, customer: np.ndarray, hidden: HistoryMask | None = None) -> Inputs:
        """What is visible of `customer (B,)`, rows of the log, at the snapshot's date."""
        hidden = HistoryMask.nothing(customer.size) if hidden is None else hidden
        person = self._customer(market_stats, customer, hidden)
        token, kind, channel, gap, amount, length = self.histories(market_stats.cutoff, customer, hidden)
        launched = np.isin(np.arange(len(self.offers)), hidden.launched)
        return _filled(
            token=token,
            kind=kind,
            channel=channel,
            gap=gap,
            amount=amount,
            length=length,
            pair=self._pair(market_stats, customer, hidden, person),
            customer=person,
            context=np.where(launched[:, None], np.nan, market_stats.context),
            season=season(market_stats.cutoff.day, market_stats.cutoff.horizon),
            offer=np.where(launched, 0, self.offer_code),
            attribute=self.attribute,
        )

    def outcomes(self, cutoff: Cutoff, customer: np.ndarray) -> Outcomes:
        """What `customer (B,)` did in the horizon, as float32 arrays."""
        bought = np.empty((customer.size, len(self.offers)), bool)
        money, visit = np.empty(bought.shape, np.float32), np.empty(customer.size, bool)
        outcomes(self.events, self.sets, customer, cutoff.day, cutoff.horizon, bought, money, visit)
        channel = np.empty((customer.size, len(self.vocabulary.sold_through)), np.float32)
        purchase_channels(self.events, customer, cutoff.day, cutoff.horizon, self.sold_through, channel)
        arrays: Any = (bought.astype(np.float32), money, visit.astype(np.float32), channel)
        return Outcomes(*arrays)

    def lengths(self, cutoff: Cutoff, customer: np.ndarray) -> np.ndarray:
        """Events of the history of `customer (B,)`, with nothing hidden: (B,) int64."""
        return visible_events(self.events, customer, cutoff.day, self.rule.history)

    def _pair(
        self, market_stats: MarketStats, customer: np.ndarray, hidden: HistoryMask, person: np.ndarray
    ) -> np.ndarray:
        names = self.rule.pair
        out = np.empty((customer.size, len(self.offers), len(names)), np.float32)
        pair_windows(
            *(self.events, self.sets, customer, market_stats.cutoff.day, hidden.days, hidden.offer),
            *(self.windows, self.half_lives, out),
        )
        column = {name: out[:, :, k] for k, name in enumerate(names)}
        exposure = np.minimum(person[:, self.rule.customer.index("tenure")], RATE_WINDOW)[:, None]
        rate = (column[f"days_{RATE_WINDOW}"] + PRIOR_DAYS * market_stats.rate) / (exposure + PRIOR_DAYS)
        column["expected"][:] = rate * market_stats.cutoff.horizon
        cell = hazard_cell(column["recency"], column["days_bought"])
        column["hazard"][:] = market_stats.hazard[np.arange(len(self.offers)), cell]
        self._affinity(market_stats, column)
        unsold = np.union1d(np.flatnonzero(~market_stats.sold), hidden.launched)
        nothing = row_of_nothing(names.index("recency"))
        out[:, hidden.launched, : nothing.size] = nothing
        for name in MARKET:
            column[name][:, unsold] = np.nan
        return out

    def _affinity(self, market_stats: MarketStats, column: dict[str, np.ndarray]) -> None:
        """Fills what the customer's purchases of other offers say of each."""
        taste, m = tastes(column), len(self.offers)
        with BLAS.limit(limits=1, user_api="blas"):
            for k, name in enumerate(("", "_broad")):
                column[f"similar{name}"][:] = taste[:, m:-1] @ market_stats.similar[k]
                column[f"together{name}"][:] = np.log1p(column["days_bought"]) @ market_stats.together[k]
                column[f"follow{name}"][:] = taste @ market_stats.follow[k]
            column["sibling_short"][:] = taste[:, :m] @ market_stats.sibling
            column["sibling_long"][:] = taste[:, m:-1] @ market_stats.sibling
            column["sibling_follow"][:] = column["follow_broad"] @ market_stats.sibling

    def _customer(self, market_stats: MarketStats, customer: np.ndarray, hidden: HistoryMask) -> np.ndarray:
        names, cutoff = self.rule.customer, market_stats.cutoff
        out = np.empty((customer.size, len(names)), np.float32)
        customer_windows(
            *(self.events, self.sets, len(self.offers), customer, cutoff.day, cutoff.horizon),
            *(hidden.days, self.windows, self.half_lives, out),
        )
        column = {name: out[:, k] for k, name in enumerate(names)}
        column["trend"][:] = np.log((3.25 * column["orders_28"] + 1) / (column["orders_91"] + 1))
        cohort = market_stats.cohort[tenure_month(column["tenure"])]
        column["cohort_spend"][:] = np.log1p(np.maximum(column["spend_91"], 0)) - cohort[:, 0]
        column["cohort_orders"][:] = np.log1p(column["orders_91"]) - cohort[:, 1]
        return out

    def histories(self, cutoff: Cutoff, customer: np.ndarray, hidden: HistoryMask) -> tuple[np.ndarray, ...]:
        """token (B, L, K), kind, channel, gap, amount (B, L) and length (B,) of the last events."""
        shape = (customer.size, self.rule.history)
        kinds = (np.int32, np.int32, np.float32, np.float32)
        kind, channel, gap, amount = (np.empty(shape, dtype) for dtype in kinds)
        token = np.empty((*shape, self.item_code.shape[1]), np.int32)
        out = token, kind, channel, gap, amount, np.empty(customer.size, np.int64)
        last_events(
            *(self.events, self.sets, customer, cutoff.day, hidden.days, hidden.offer),
            *(fixed(self.item_code), fixed(self.channel_code), out),
        )
        return out

    def positions(self, cutoff: Cutoff, customer: np.ndarray, hidden: HistoryMask) -> np.ndarray:
        """Where the events of `histories` stand in the log, -1 past the last: (B, L) int64."""
        position = np.empty((customer.size, self.rule.history), np.int64)
        end = ends(self.events, customer, cutoff.day, hidden.days)
        last_positions(self.events, self.sets, customer, end, hidden.offer, position)
        return position

    def _channel_codes(self, names: tuple[str, ...]) -> np.ndarray:
        """Channel number in the log (-1 for none, the last entry) -> code among the names, 0 for another."""
        position = {name: k + 1 for k, name in enumerate(names)}
        return np.array([position.get(name, 0) for name in self.log.meta["channels"]] + [0], np.int32)


def _filled(**arrays: Any) -> Inputs:
    return Inputs(**arrays)
