"""Features of one cutoff from stored tables, for customers given as raw events instead of a log.

B customers, M offers, P pair columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff
from propensity.data.offer import Offers
from propensity.data.vocabulary import Vocabulary
from propensity.feature.column import CONTEXT_NAMES, SIBLING_NAMES, TEXT_NAMES
from propensity.feature.empty_customer import unknown_attributes
from propensity.feature.engagement import (
    CUSTOMER_WINDOWS,
    ENGAGEMENT,
    ENGAGEMENT_CUSTOMER,
    ENGAGEMENT_PAIR,
    PAIR_WINDOWS,
)
from propensity.feature.features import PRIOR_DAYS, RATE_WINDOW, FeatureConfig, Features
from propensity.feature.group_rate import GROUP_RATE_WINDOWS, unknown_groups
from propensity.feature.hazard import COUNT_EDGES, RECENCY_EDGES
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import AFFINITY_HALF_LIVES, SVD_RANKS, MarketStats
from propensity.feature.price import PRICE_NAMES
from propensity.feature.registrant import (
    ACTIVITY_DAYS,
    ACTIVITY_EDGES,
    AGE_CAP,
    AGE_EDGES,
    COUNTED,
    GROUP,
    REGISTRANT,
    REGISTRANT_PAIR,
    WINDOWS,
    Registry,
)
from propensity.kernel.event import EVERY_KIND, Events, Sets, fixed
from propensity.kernel.neighbour import NEAREST, PROFILE_DAYS
from propensity.serving.inputs import REGISTRY, Arrays, Event, channel_codes, event_columns
from propensity.task import CutoffData


def cutoff_tables(cutoff_data: CutoffData) -> Arrays:
    """Market statistics, offers and item codes of a cutoff as plain arrays.

    Parameters
    ----------
    cutoff_data : CutoffData
        Features and market statistics of the cutoff.

    Returns
    -------
    dict of str to ndarray
        Content of `tables.npz`. The arrays `neighbour_...` hold purchase profiles of single customers without their
        ids; they are empty where the group neighbours is off. No other array is about a single customer.
    """
    features, market_stats = cutoff_data.features, cutoff_data.market_stats
    categories = features.item_categories(market_stats)
    statistics = {name: np.asarray(value) for name, value in market_stats._asdict().items() if name != "cutoff"}
    if GROUP not in features.config.groups:
        statistics = {name: value for name, value in statistics.items() if not name.startswith("registrant_")}
    text = {"text_weight": features.text_weight} if features.config.used_text else {}
    own = {
        "day": np.array(market_stats.cutoff.day),
        "recency_edges": RECENCY_EDGES,
        "count_edges": COUNT_EDGES,
        "offer_name": np.array(features.offers.name),
        "offer_parent": np.asarray(features.offers.parent),
        "offer_code": features.offer_code,
        "attribute": features.attribute,
        "standardisation": features.standardisation(market_stats),
        "item": np.array([str(item) for item in features.log.items["item"].to_list()]),
        "item_offsets": features.offers.item_offsets,
        "item_offer": features.offers.item_offer,
        "token": features.item_code,
        "category_offsets": categories.offsets,
        "category": categories.offer,
    }
    return statistics | text | own


def feature_settings(config: FeatureConfig, vocabulary: Vocabulary, horizon: int) -> dict[str, Any]:
    """Settings that `inputs.py` needs besides the tables.

    Parameters
    ----------
    config : FeatureConfig
        Windows, half-lives and history length.
    vocabulary : Vocabulary
        The network's vocabulary; its channels are stored.
    horizon : int
        Days.

    Returns
    -------
    dict
        The manifest's `features`: columns, windows, channels; serialisable as JSON.
    """
    return {
        "horizon": horizon,
        "windows": list(config.windows),
        "half_lives": list(config.half_lives),
        "affinity_half_lives": list(AFFINITY_HALF_LIVES),
        "history": config.history,
        "prior_days": PRIOR_DAYS,
        "rate_window": RATE_WINDOW,
        "pair": list(config.pair),
        "customer": list(config.customer),
        "groups": list(config.groups),
        "grouped": [c.name for c in config.columns["pair"] if c.group and c.definition is not None],
        "grouped_customer": [c.name for c in config.columns["customer"] if c.group and c.definition is not None],
        "attributes": list(config.used_attributes),
        "group_rates": list(config.used_group_rates),
        "group_rate_windows": list(GROUP_RATE_WINDOWS),
        "market": list(config.market),
        "sibling": list(SIBLING_NAMES),
        "text": list(config.used_text),
        "of_text": list(TEXT_NAMES),
        "prices": list(PRICE_NAMES),
        "undefined": [config.pair[k] for k in np.flatnonzero(np.isnan(never_bought_columns(config)))],
        "intensity": CONTEXT_NAMES.index("intensity"),
        "reach": CONTEXT_NAMES.index("reach_364"),
        "svd_ranks": list(SVD_RANKS),
        "nearest": NEAREST,
        "profile_days": PROFILE_DAYS,
        "channels": list(vocabulary.channels),
    } | own_settings(config.groups)


def never_bought_columns(config: FeatureConfig) -> np.ndarray:
    """Pair columns of a never-bought offer.

    Parameters
    ----------
    config : FeatureConfig
        Names the columns.

    Returns
    -------
    ndarray of shape (P,), float32
        Columns computed from the customer's own purchases of the offer; the other columns, which depend on the market
        or on other offers, are 0.
    """
    return np.array([column.empty or 0.0 for column in config.columns["pair"]], np.float32)


class PointInTimeFeatures(Features):
    """`Features` over the tables of a bundle; the events are those of the request.

    Parameters
    ----------
    tables : mapping of str to ndarray
        Content of `tables.npz`, see `cutoff_tables`.
    settings : mapping
        The manifest's `features`, see `feature_settings`.
    vocabulary : Vocabulary
        The network's vocabulary.
    """

    def __init__(self, tables: Mapping[str, np.ndarray], settings: Mapping[str, Any], vocabulary: Vocabulary) -> None:
        self.tables, self.settings, self.vocabulary = tables, settings, vocabulary
        self.config = FeatureConfig(
            tuple(settings["windows"]),
            tuple(settings["half_lives"]),
            settings["history"],
            groups=tuple(settings["groups"]),
            attributes=tuple(settings["attributes"]),
            registrants=GROUP in settings["groups"],
            group_rates=tuple(settings.get("group_rates", ())),
            text=tuple(settings.get("text", ())),
        )
        parts = (tables[name] for name in ("item_offsets", "item_offer", "offer_parent"))
        self.offers = Offers(tuple(tables["offer_name"].tolist()), *parts)
        self.sets = self.offers.sets
        self.offer_code, self.attribute, self.item_code = (tables[n] for n in ("offer_code", "attribute", "token"))
        self.channel_code = channel_codes(settings)
        self.windows, self.half_lives = np.array(settings["windows"]), np.array(settings["half_lives"])
        self.item_index = {item: index for index, item in enumerate(tables["item"].tolist())}
        self.market_stats = MarketStats(
            cutoff=Cutoff(int(tables["day"]), settings["horizon"]),
            **{name: tables[name] for name in MarketStats._fields if name != "cutoff" and name in tables},
        )
        self.groups_by_day = {}
        if self.config.used_text:
            self.text_weight = tables["text_weight"]

    def item_categories(self, market_stats: MarketStats) -> Sets:
        """The categories of the bundled items that customers are compared by."""
        return Sets(fixed(self.tables["category_offsets"]), fixed(self.tables["category"]))

    def standardisation(self, market_stats: MarketStats) -> np.ndarray:
        """The bundled mean and spread of the pair columns: (M, 2, P); a bundle of an earlier version holds none."""
        if not self.config.within_offer:
            return np.zeros((len(self.offers), 2, 0), np.float32)
        return np.asarray(self.tables["standardisation"])

    def from_raw_events(
        self, customers: Sequence[Sequence[Event]], day: int | None = None, mask: HistoryMask | None = None
    ) -> Inputs:
        """Inputs of customers given as raw events.

        Parameters
        ----------
        customers : sequence of sequences of mappings, length B
            Raw events of each customer, see `propensity.serving.inputs.event_columns`.
        day : int, optional
            Cutoff, in days since 1970-01-01; default: the cutoff of the tables.
        mask : HistoryMask, optional
            Events to hide.

        Returns
        -------
        Inputs
            With B rows.
        """
        columns = event_columns(customers, self.item_index, self.settings["channels"])
        events = Events(*(fixed(columns[name]) for name in Events._fields))
        return self.from_events(events, day, mask, registry=registry_of(columns))

    def from_events(
        self,
        events: Events,
        day: int | None = None,
        mask: HistoryMask | None = None,
        attributes: np.ndarray | None = None,
        registry: Registry | None = None,
        groups: np.ndarray | None = None,
    ) -> Inputs:
        """Inputs of every customer of a set of events.

        Parameters
        ----------
        events : Events
            Columns of B customers; items and channels are indices into the bundled tables.
        day : int, optional
            Cutoff, in days since 1970-01-01; default: the cutoff of the tables.
        mask : HistoryMask, optional
            Events to hide.
        attributes : ndarray of shape (B, A), optional
            Numbers of the attributes, see `propensity.feature.attribute.attribute_numbers`; default: none is known.
        registry : Registry, optional
            Registrations and engagement of the customers; default: none is known.
        groups : ndarray of shape (B, A), optional
            Groups of the customers, see `propensity.feature.group_rate.group_codes`; default: none is known.

        Returns
        -------
        Inputs
            With B rows.
        """
        customers = events.offsets.size - 1
        attributes = unknown_attributes(self.config, customers) if attributes is None else attributes
        registry = Registry.unknown(customers) if registry is None else registry
        cutoff = self.market_stats.cutoff if day is None else self.market_stats.cutoff._replace(day=day)
        unknown = unknown_groups(self.market_stats.customer_groups, customers)
        label = self.market_stats.group_label
        groups_by_day = {cutoff.day: (label, unknown if groups is None else groups)}
        twin = self.with_customers(events, attributes, registry, groups_by_day)
        return twin.inputs(self.market_stats._replace(cutoff=cutoff), np.arange(customers), mask)


def registry_of(columns: Mapping[str, np.ndarray]) -> Registry:
    """Registrations and engagement of customers given as raw events.

    Parameters
    ----------
    columns : mapping of str to ndarray
        Columns as from `propensity.serving.inputs.event_columns`.

    Returns
    -------
    Registry
        Of B customers.
    """
    return Registry(*(columns[name] for name in REGISTRY))


def own_settings(groups: Sequence[str]) -> dict[str, Any]:
    """Settings of the groups registrants and engagement, where they are on."""
    settings = {GROUP: ("registrant", registrant_settings), ENGAGEMENT: ("engagement", engagement_settings)}
    return {name: of_group() for group, (name, of_group) in settings.items() if group in groups}


def engagement_settings() -> dict[str, Any]:
    """Settings of the columns of engagement that `inputs.py` needs; serialisable as JSON."""
    windows = {"customer_windows": CUSTOMER_WINDOWS, "pair_windows": PAIR_WINDOWS}
    return {
        "customer": [column.name for column in ENGAGEMENT_CUSTOMER],
        "pair": [column.name for column in ENGAGEMENT_PAIR],
        "counted": [EVERY_KIND[kind] for kind in COUNTED],
        "days": ACTIVITY_DAYS,
        **{key: {n: [EVERY_KIND[kind], days] for n, (kind, days) in each.items()} for key, each in windows.items()},
    }


def registrant_settings() -> dict[str, Any]:
    """Settings of the columns of registrants that `inputs.py` needs; serialisable as JSON."""
    return {
        "customer": [column.name for column in REGISTRANT],
        "pair": [column.name for column in REGISTRANT_PAIR],
        "windows": {name: [EVERY_KIND[kind], days] for name, (kind, days) in WINDOWS.items()},
        "counted": [EVERY_KIND[kind] for kind in COUNTED],
        "age_cap": AGE_CAP,
        "days": ACTIVITY_DAYS,
        "age_edges": AGE_EDGES.tolist(),
        "activity_edges": ACTIVITY_EDGES.tolist(),
    }
