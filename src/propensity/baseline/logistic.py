"""Logistic regression on the network's own columns: what a linear reading of the same facts reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from propensity.baseline import scores_of
from propensity.baseline.pair_table import rows_of, training_table, usual_amount
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet


@dataclass
class Logistic:
    """Standardised signed logs with a flag for missing values; `strength` is scikit-learn's C."""

    dates: int = 8
    rows: int = 300_000
    strength: float = 0.05
    name: str = "logistic"

    def fit(self, training_set: TrainingSet, seed: int) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        table = training_table(training_set, self.dates, self.rows, seed)
        self.model: Any = make_pipeline(StandardScaler(), LogisticRegression(C=self.strength, max_iter=200, tol=1e-3))
        self.model.fit(_flat(table.x), table.bought, logisticregression__sample_weight=table.weight)

    def predict(self, cutoff_data: CutoffData) -> Scores:
        probability = np.empty((cutoff_data.customer.size, len(cutoff_data.features.offers)), np.float32)
        amount = np.empty_like(probability)
        for block, inputs in cutoff_data.blocks():
            shape = inputs.pair.shape[:2]
            probability[block] = self.model.predict_proba(_flat(rows_of(inputs)))[:, 1].reshape(shape)
            amount[block] = usual_amount(cutoff_data, inputs)
        return scores_of(cutoff_data, self.name, probability, amount)


def _flat(x: np.ndarray) -> np.ndarray:
    """Signed logs with 0 for missing, and a flag beside each column."""
    missing = np.isnan(x)
    return np.concatenate([np.where(missing, 0, np.sign(x) * np.log1p(np.abs(x))), missing], axis=1, dtype=np.float32)
