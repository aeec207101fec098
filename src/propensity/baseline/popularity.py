"""Popularity: the offer's recent share of buyers, the same score for every customer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from propensity.baseline import scores_of
from propensity.baseline.pair_table import usual_price
from propensity.feature.column import CONTEXT_NAMES
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet, Validation


@dataclass
class Popularity:
    """Share of customers who bought the offer in the last 28 days, scaled to the horizon.

    Parameters
    ----------
    name : str
        Name in tables and files.

    Notes
    -----
    With reach r over 28 days and a horizon of h days the probability is 1 - (1 - r)^(h / 28), which assumes that
    purchases fall evenly on the days. AUC within an offer is 0.5, since all its customers have one score.
    """

    constant: ClassVar[bool] = True
    name: str = "popularity"

    def fit(self, training_set: TrainingSet, seed: int, validation: Validation | None = None) -> None:
        """Does nothing: the rule has no parameters."""

    def predict(self, cutoff_data: CutoffData) -> Scores:
        """Scores (N, M): each offer's probability, times its mean price for the revenue."""
        market_stats = cutoff_data.market_stats
        reach = np.nan_to_num(np.minimum(np.exp(market_stats.context[:, CONTEXT_NAMES.index("reach_28")]), 0.999))
        probability = 1 - (1 - reach) ** (market_stats.cutoff.horizon / 28)
        shape = (cutoff_data.row.size, probability.size)
        price = np.broadcast_to(usual_price(market_stats.context[:, CONTEXT_NAMES.index("price")]), shape)
        return scores_of(cutoff_data, self.name, np.broadcast_to(probability, shape), price)
