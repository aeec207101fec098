"""The incumbents: each fits on the same training dates as the network and fills the same `Scores`."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet


class Baseline(Protocol):
    """`fit` sees training examples only; `predict` answers for every customer and offer of an occasion."""

    def fit(self, training_set: TrainingSet, seed: int) -> None: ...

    def predict(self, cutoff_data: CutoffData) -> Scores: ...


def scores_of(cutoff_data: CutoffData, name: str, probability: np.ndarray, amount: np.ndarray) -> Scores:
    """Scores out of probabilities (N, M) and the amounts (N, M) that a buyer is expected to spend."""
    revenue = (probability * amount).astype(np.float32)
    offer, cutoff = cutoff_data.features.offers.name, str(cutoff_data.market_stats.cutoff)
    return Scores(cutoff_data.customer_id, offer, probability.astype(np.float32), revenue, cutoff, name)
