"""What sells sells: the offer's recent reach, the same for everybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from propensity.baseline import scores_of
from propensity.baseline.pair_table import usual_price
from propensity.feature.column import CONTEXT_NAMES
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet


@dataclass
class Popularity:
    """Buyers of the last 28 days, brought to the horizon as if purchases fell evenly on them."""

    name: str = "popularity"

    def fit(self, training_set: TrainingSet, seed: int) -> None:
        """Nothing to learn."""

    def predict(self, cutoff_data: CutoffData) -> Scores:
        market_stats = cutoff_data.market_stats
        reach = np.nan_to_num(np.minimum(np.exp(market_stats.context[:, CONTEXT_NAMES.index("reach_28")]), 0.999))
        chance = 1 - (1 - reach) ** (market_stats.cutoff.horizon / 28)
        shape = (cutoff_data.customer.size, chance.size)
        price = np.broadcast_to(usual_price(market_stats), shape)
        return scores_of(cutoff_data, self.name, np.broadcast_to(chance, shape), price)
