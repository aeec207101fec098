"""Logistic regression on the network's input columns."""

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
    """scikit-learn's logistic regression on standardised signed logs, with an indicator for each missing value.

    Parameters
    ----------
    last_cutoffs : int
        Number of the latest training cutoffs that pairs are sampled from.
    rows : int
        About how many pairs are sampled.
    C, max_iter, tol
        Settings of `sklearn.linear_model.LogisticRegression` under its own names.
    name : str
        Name in tables and files.
    """

    last_cutoffs: int = 8
    rows: int = 300_000
    C: float = 0.05
    max_iter: int = 200
    tol: float = 1e-3
    name: str = "logistic"

    def fit(self, training_set: TrainingSet, seed: int) -> None:
        """Fits scaler and regression on the sampled pairs, see `pair_table.training_table`.

        Raises
        ------
        ConfigurationError
            If nobody or everybody bought in the label windows.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        table = training_table(training_set, self.last_cutoffs, self.rows, seed)
        regression = LogisticRegression(C=self.C, max_iter=self.max_iter, tol=self.tol)
        self.model: Any = make_pipeline(StandardScaler(), regression)
        self.model.fit(_numeric(table.x), table.bought, logisticregression__sample_weight=table.weight)

    def predict(self, cutoff_data: CutoffData) -> Scores:
        """Scores (N, M); the amount is the customer's mean spend, see `pair_table.usual_amount`."""
        probability = np.empty((cutoff_data.row.size, len(cutoff_data.features.offers)), np.float32)
        amount = np.empty_like(probability)
        for block, inputs in cutoff_data.blocks():
            shape = inputs.pair.shape[:2]
            probability[block] = self.model.predict_proba(_numeric(rows_of(inputs)))[:, 1].reshape(shape)
            amount[block] = usual_amount(cutoff_data, inputs)
        return scores_of(cutoff_data, self.name, probability, amount)


def _numeric(x: np.ndarray) -> np.ndarray:
    """(K, C) with NaN to (K, 2 C): signed logs with 0 for missing, then the indicators of missing values."""
    missing = np.isnan(x)
    return np.concatenate([np.where(missing, 0, np.sign(x) * np.log1p(np.abs(x))), missing], axis=1, dtype=np.float32)
