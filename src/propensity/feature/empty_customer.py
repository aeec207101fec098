"""Inputs of a customer of whom nothing is known."""

from __future__ import annotations

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.event_log import COLUMNS
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.group_rate import unknown_groups
from propensity.feature.market_stats import MarketStats
from propensity.feature.registrant import Registry
from propensity.kernel.event import Events, fixed


def empty_customer(features: Features, market_stats: MarketStats) -> Inputs:
    """Inputs of one customer without any event.

    Parameters
    ----------
    features : Features
        Offers, vocabulary and settings.
    market_stats : MarketStats
        Statistics of the cutoff.

    Returns
    -------
    Inputs
        With one row.
    """
    columns = (fixed(np.zeros(0, COLUMNS[name])) for name in Events._fields[1:])
    events, attributes = Events(fixed(np.zeros(2, np.int64)), *columns), unknown_attributes(features.config, 1)
    groups = market_stats.group_label, unknown_groups(market_stats.customer_groups, 1)
    twin = features.with_customers(events, attributes, Registry.unknown(1), {market_stats.cutoff.day: groups})
    return twin.inputs(market_stats, np.zeros(1, np.int64))


def unknown_attributes(config: FeatureConfig, customers: int) -> np.ndarray:
    """Numbers of the attributes of B customers of whom none is known: (B, A) float32."""
    return np.full((customers, len(config.used_attributes)), np.nan, np.float32)
