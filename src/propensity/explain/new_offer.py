"""Reasons for scores of offers that a model was not trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from propensity.data.batch import Inputs
from propensity.explain.coalition import LogOdds, baseline_of
from propensity.explain.reasons import Explainer, Reasons, strongest
from propensity.feature.empty_customer import empty_customer
from propensity.feature.market_stats import MarketStats
from propensity.feature.new_offer import NewOfferFeatures


class NewOfferExplainer(Explainer):
    """Explains scores of new offers; the typical offer of the baseline is the median of the trained ones.

    Parameters
    ----------
    log_odds : callable
        The served model, see `Explainer`.
    features : NewOfferFeatures
        Of K new offers.
    market_stats : MarketStats
        Their statistics.
    others : bool
        Whether the model adds up purchases over all offers.
    shift : ndarray of shape (K,)
        What is added to the model's log-odds of each offer. It is part of the base value.
    currency : str, optional
        Of the amounts in sentences.
    """

    def __init__(
        self,
        log_odds: LogOdds,
        features: NewOfferFeatures,
        market_stats: MarketStats,
        others: bool,
        shift: np.ndarray,
        currency: str | None = None,
    ) -> None:
        super().__init__(log_odds, features, market_stats, others, currency)
        typical = baseline_of(empty_customer(features.trained, features.market))
        self.baseline = typical._replace(empty=self.baseline.empty)
        self.new, self.shift = features, shift

    def explain(self, inputs: Inputs, row: int, offer_index: int) -> Reasons:
        """Explain the score of one customer and offer, see `Explainer.explain`.

        `inputs` are those of the last call of `features.inputs`.
        """
        reasons, shift = super().explain(inputs, row, offer_index), float(self.shift[offer_index])
        return replace(reasons, base_value=reasons.base_value + shift, score=reasons.score + shift)

    def companions(self, inputs: Inputs, row: int, offer_index: int) -> list[str]:
        """Trained offers that a customer bought and that are bought together with a new one more often than the mean.

        Parameters
        ----------
        inputs : Inputs
            Inputs of the last call of `features.inputs`.
        row, offer_index : int
            Place of the pair.
        """
        assert self.new.state is not None
        weight, bought = np.asarray(self.market_stats.cosine), self.new.state.whole[row]
        if weight.shape[0] != bought.size:  # the group affinity is off
            weight = np.maximum(np.asarray(self.market_stats.together)[-1], 0)
        return strongest(weight[:, offer_index], bought, self.new.trained.offers.name)
