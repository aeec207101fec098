"""Canary: an input column made from the future, added on request to test the leakage check."""

from __future__ import annotations

from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats
from propensity.task import CutoffData

CANARY_KINDS = ("pair", "customer", "context", "noisy", "season")
FIELDS = {"noisy": "pair", "customer": "customer_features"}  # of `Inputs`, where they are not called like the kind


def add_canary(cutoff_data: CutoffData, log: EventLog, kind: str, name: str) -> CutoffData:
    """Add one input column that is made from events at or after the cutoff.

    Parameters
    ----------
    cutoff_data : CutoffData
        Customers and offers at the cutoff.
    log : EventLog
        A log that covers the horizon.
    kind : {"pair", "customer", "context", "noisy", "season"}
        `pair`: whether the customer buys the offer; `customer`: revenue of the customer; `context`: number of buyers of
        the offer; `noisy`: `pair` with normal noise of standard deviation 3; `season`: revenue of all customers. All
        within the horizon.
    name : str
        Name of the column.

    Returns
    -------
    CutoffData
        The same cutoff with the further column.

    Raises
    ------
    ConfigurationError
        For another kind.
    """
    if kind not in CANARY_KINDS:
        raise ConfigurationError(
            f"evaluate.canary={kind} is not a kind of canary; give true, or one of {', '.join(CANARY_KINDS)}"
        )
    features: Any = CanaryFeatures(cutoff_data.features, log, kind, name)
    return cutoff_data._replace(features=features)


class CanaryFeatures:
    """Features with a canary as the last column of one block; all other attributes are those of `features`.

    Parameters
    ----------
    features : Features
        The features without the canary.
    log : EventLog
        A log that covers the horizon.
    kind, name : str
        As for `add_canary`.
    """

    def __init__(self, features: Features, log: EventLog, kind: str, name: str) -> None:
        self.features, self.kind = features, kind
        self.label_features = Features(log, features.offers, features.vocabulary, features.config)
        self.field = FIELDS.get(kind, kind)
        self.canary = {self.field: (name,)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.features, name)

    def inputs(self, market_stats: MarketStats, row: np.ndarray, mask: Any = None) -> Inputs:
        """Compute the inputs of the customers `row` (B,), with the canary."""
        inputs: Any = self.features.inputs(market_stats, row, mask)
        label_row = np.searchsorted(self.label_features.log.customer_id, self.features.log.customer_id[row])
        outcomes = self.label_features.outcomes(market_stats.cutoff, label_row)
        bought, revenue = np.asarray(outcomes.bought), np.asarray(outcomes.revenue)
        noise = np.random.default_rng(0).normal(0, 3, bought.shape).astype(np.float32)
        column = {
            "pair": bought,
            "noisy": bought + noise,
            "customer": revenue.sum(axis=1),
            "context": bought.sum(axis=0),
            "season": revenue.sum(keepdims=False)[None],
        }[self.kind]
        values = np.asarray(getattr(inputs, self.field))
        extended = np.concatenate([values, column.reshape(*values.shape[:-1], 1)], axis=-1, dtype=np.float32)
        return inputs._replace(**{self.field: extended})
