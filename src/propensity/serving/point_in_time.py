"""A date's tables as plain arrays, and inputs of customers who are known by their raw events alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import COLUMNS
from propensity.data.offer import Offers
from propensity.data.vocabulary import Vocabulary
from propensity.feature.column import MARKET_NAMES, SIBLING_NAMES
from propensity.feature.features import PRIOR_DAYS, RATE_WINDOW, FeatureConfig, Features
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import COUNT_EDGES, RECENCY_EDGES, TASTES, MarketStats
from propensity.kernel.event import Events, fixed
from propensity.serving.inputs import Arrays, Event, channel_codes, event_columns
from propensity.task import CutoffData


def tables_of(cutoff_data: CutoffData) -> Arrays:
    """The snapshot, the offers and the codes of items of a date, none of them about a single customer."""
    features, market_stats = cutoff_data.features, cutoff_data.market_stats
    market = {name: np.asarray(value) for name, value in market_stats._asdict().items() if name != "cutoff"}
    return market | {
        "day": np.array(market_stats.cutoff.day),
        "recency_edges": RECENCY_EDGES,
        "count_edges": COUNT_EDGES,
        "offer_name": np.array(features.offers.name),
        "offer_parent": np.asarray(features.offers.parent),
        "offer_code": features.offer_code,
        "attribute": features.attribute,
        "item": np.array([str(item) for item in features.log.items["item"].to_list()]),
        "item_offsets": features.offers.item_offsets,
        "item_offer": features.offers.item_offer,
        "token": features.item_code,
    }


def rule_of(rule: FeatureConfig, vocabulary: Vocabulary, horizon: int) -> dict[str, Any]:
    """What `inputs.py` must know besides the tables: columns, windows, channels."""
    return {
        "horizon": horizon,
        "windows": list(rule.windows),
        "half_lives": list(rule.half_lives),
        "tastes": list(TASTES),
        "history": rule.history,
        "prior_days": PRIOR_DAYS,
        "rate_window": RATE_WINDOW,
        "pair": list(rule.pair),
        "customer": list(rule.customer),
        "market": list(MARKET_NAMES),
        "sibling": list(SIBLING_NAMES),
        "undefined": [rule.pair[k] for k in np.flatnonzero(np.isnan(nothing(rule)))],
        "channels": list(vocabulary.channels),
    }


def nothing(rule: FeatureConfig) -> np.ndarray:
    """(P,) the pair columns of an offer that the customer never bought; 0 for those that depend on the market."""
    return np.array([column.empty or 0.0 for column in rule.columns["pair"]], np.float32)


def nobody(features: Features, market_stats: MarketStats) -> Inputs:
    """Inputs of one customer about whom nothing is known."""
    twin = copy.copy(features)
    columns = {name: np.zeros(0, COLUMNS[name]) for name in Events._fields[1:]}
    twin.events = Events(fixed(np.zeros(2, np.int64)), *(fixed(column) for column in columns.values()))
    return twin.inputs(market_stats, np.zeros(1, np.int64))


class PointInTimeFeatures(Features):
    """`Features` of the tables in a bundle: the log holds whoever is asked about."""

    def __init__(self, tables: Mapping[str, np.ndarray], rule: Mapping[str, Any], vocabulary: Vocabulary) -> None:
        self.tables, self.settings, self.vocabulary = tables, rule, vocabulary
        self.config = FeatureConfig(tuple(rule["windows"]), tuple(rule["half_lives"]), rule["history"])
        parts = (tables[name] for name in ("item_offsets", "item_offer", "offer_parent"))
        self.offers = Offers(tuple(tables["offer_name"].tolist()), *parts)
        self.sets = self.offers.sets
        self.offer_code, self.attribute, self.item_code = (tables[n] for n in ("offer_code", "attribute", "token"))
        self.channel_code = channel_codes(rule)
        self.windows, self.half_lives = np.array(rule["windows"]), np.array(rule["half_lives"])
        self.item_number = {item: number for number, item in enumerate(tables["item"].tolist())}
        self.market_stats = MarketStats(
            cutoff=Cutoff(int(tables["day"]), rule["horizon"]),
            **{name: tables[name] for name in MarketStats._fields if name != "cutoff"},
        )

    def asked(
        self, customers: Sequence[Sequence[Event]], day: int | None = None, mask: HistoryMask | None = None
    ) -> Inputs:
        """Inputs of customers, each a list of raw events, as of `day` (None: the tables' own)."""
        columns = event_columns(customers, self.item_number, self.settings["channels"])
        return self.seen(Events(*(fixed(columns[name]) for name in Events._fields)), day, mask)

    def seen(self, events: Events, day: int | None = None, mask: HistoryMask | None = None) -> Inputs:
        """Inputs of every customer of `events`, whose items and channels are numbered as in the tables."""
        twin = copy.copy(self)
        twin.events = events
        cutoff = self.market_stats.cutoff if day is None else self.market_stats.cutoff._replace(day=day)
        return twin.inputs(self.market_stats._replace(cutoff=cutoff), np.arange(events.offsets.size - 1), mask)
