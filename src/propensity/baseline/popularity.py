"""What sells sells: the offer's recent reach, the same for everybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from propensity.baseline import scores_of
from propensity.baseline.table import usual_price
from propensity.data.preparation import Examples, Occasion
from propensity.data.snapshot import CONTEXT
from propensity.scores import Scores


@dataclass
class Popularity:
    """Buyers of the last 28 days, brought to the horizon as if purchases fell evenly on them."""

    name: str = "popularity"

    def fit(self, examples: Examples, seed: int) -> None:
        """Nothing to learn."""

    def predict(self, occasion: Occasion) -> Scores:
        snapshot = occasion.snapshot
        reach = np.nan_to_num(np.minimum(np.exp(snapshot.context[:, CONTEXT.index("reach_28")]), 0.999))
        chance = 1 - (1 - reach) ** (snapshot.cutoff.horizon / 28)
        shape = (occasion.customer.size, chance.size)
        price = np.broadcast_to(usual_price(snapshot), shape)
        return scores_of(occasion, self.name, np.broadcast_to(chance, shape), price)
