"""The incumbents: each fits on the same training dates as the network and fills the same `Scores`."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from propensity.data.preparation import Examples, Occasion
from propensity.scores import Scores


class Baseline(Protocol):
    """`fit` sees training examples only; `predict` answers for every customer and offer of an occasion."""

    def fit(self, examples: Examples, seed: int) -> None: ...

    def predict(self, occasion: Occasion) -> Scores: ...


def scores_of(occasion: Occasion, name: str, probability: np.ndarray, amount: np.ndarray) -> Scores:
    """Scores out of probabilities (N, M) and the amounts (N, M) that a buyer is expected to spend."""
    revenue = (probability * amount).astype(np.float32)
    offer, cutoff = occasion.features.offers.name, str(occasion.snapshot.cutoff)
    return Scores(occasion.customer_id, offer, probability.astype(np.float32), revenue, cutoff, name)
