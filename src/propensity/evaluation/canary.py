"""A column that knows the future, planted on request, to see that the check for leaks catches it."""

from __future__ import annotations

from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats
from propensity.task import CutoffData

KINDS = ("pair", "customer", "context", "noisy", "season")


def planted(cutoff_data: CutoffData, log: EventLog, kind: str, name: str) -> CutoffData:
    """The occasion with one more input, made from what `log` holds at or after the cutoff.

    kind: `pair` whether the customer buys the offer; `customer` what the customer will spend; `context` how many will
    buy the offer; `noisy` the first, mostly noise; `season` what all will spend. ConfigurationError for another.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"evaluate.canary={kind} is no canary; give true, or one of {', '.join(KINDS)}")
    features: Any = Canary(cutoff_data.features, log, kind, name)
    return cutoff_data._replace(features=features)


class Canary:
    """Features with the planted input beside those of `features`; everything else is theirs."""

    def __init__(self, features: Features, log: EventLog, kind: str, name: str) -> None:
        self.features, self.kind = features, kind
        self.later = Features(log, features.offers, features.vocabulary, features.config)
        self.planted = {"pair" if kind == "noisy" else kind: (name,)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.features, name)

    def inputs(self, market_stats: MarketStats, customer: np.ndarray, mask: Any = None) -> Inputs:
        made: Any = self.features.inputs(market_stats, customer, mask)
        rows = np.searchsorted(self.later.log.customer_id, self.features.log.customer_id[customer])
        found = self.later.outcomes(market_stats.cutoff, rows)
        bought, spent = np.asarray(found.bought), np.asarray(found.revenue)
        noise = np.random.default_rng(0).normal(0, 3, bought.shape).astype(np.float32)
        column = {
            "pair": bought,
            "noisy": bought + noise,
            "customer": spent.sum(axis=1),
            "context": bought.sum(axis=0),
            "season": spent.sum(keepdims=False)[None],
        }[self.kind]
        field = "pair" if self.kind == "noisy" else self.kind
        held = np.asarray(getattr(made, field))
        grown = np.concatenate([held, column.reshape(*held.shape[:-1], 1)], axis=-1, dtype=np.float32)
        return made._replace(**{field: grown})
