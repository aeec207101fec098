"""A column that knows the future, planted on request, to see that the check for leaks catches it."""

from __future__ import annotations

from typing import Any

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.event_log import EventLog
from propensity.data.feature import Features
from propensity.data.preparation import Occasion
from propensity.data.snapshot import Snapshot
from propensity.errors import ConfigurationError

KINDS = ("pair", "customer", "context", "noisy", "season")


def planted(occasion: Occasion, log: EventLog, kind: str, name: str) -> Occasion:
    """The occasion with one more input, made from what `log` holds at or after the cutoff.

    kind: `pair` whether the customer buys the offer; `customer` what the customer will spend; `context` how many will
    buy the offer; `noisy` the first, mostly noise; `season` what all will spend. ConfigurationError for another.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"evaluate.canary={kind} is no canary; give true, or one of {', '.join(KINDS)}")
    features: Any = Canary(occasion.features, log, kind, name)
    return occasion._replace(features=features)


class Canary:
    """Features with the planted input beside those of `features`; everything else is theirs."""

    def __init__(self, features: Features, log: EventLog, kind: str, name: str) -> None:
        self.features, self.kind = features, kind
        self.later = Features(log, features.offers, features.vocabulary, features.rule)
        self.planted = {"pair" if kind == "noisy" else kind: (name,)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.features, name)

    def inputs(self, snapshot: Snapshot, customer: np.ndarray, hidden: Any = None) -> Inputs:
        made: Any = self.features.inputs(snapshot, customer, hidden)
        rows = np.searchsorted(self.later.log.customer_id, self.features.log.customer_id[customer])
        found = self.later.outcomes(snapshot.cutoff, rows)
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
