"""LightGBM on the network's own columns: the incumbent to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from propensity.baseline import scores_of
from propensity.baseline.pair_table import column_names, rows_of, training_table
from propensity.errors import ConfigurationError
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet


@dataclass
class LightGBM:
    """Boosted trees for the purchase, and boosted trees with a gamma loss for a buyer's amount.

    dates: how many of the last training dates; rows: pairs kept of them, about; trees, leaves, rate, minimum: what
    LightGBM calls num_iterations, num_leaves, learning_rate and min_data_in_leaf; launched: share of the offers that
    training sees as on the day of their launch, for a model that is asked about new ones; threads: beside another
    process two wait for each other more than they work, and the trees are the same.
    """

    dates: int = 8
    rows: int = 1_000_000
    n_estimators: int = 300
    num_leaves: int = 63
    learning_rate: float = 0.04
    min_child_samples: int = 300
    amount_trees: int = 100
    launched: float = 0.0
    threads: int = 1
    name: str = "lightgbm"

    def fit(self, training_set: TrainingSet, seed: int) -> None:
        table = training_table(training_set, self.dates, self.rows, seed, self.launched)
        names = column_names(training_set)
        self.purchase = self._boost(table.x, table.bought, table.weight, names, "binary", self.n_estimators, seed)
        paid = table.revenue > 0
        self.amount = None
        if paid.any():
            self.amount = self._boost(
                table.x[paid], table.revenue[paid], table.weight[paid], names, "gamma", self.amount_trees, seed
            )

    def predict(self, cutoff_data: CutoffData) -> Scores:
        probability = np.empty((cutoff_data.customer.size, len(cutoff_data.features.offers)), np.float32)
        amount = np.zeros_like(probability)  # of a log without prices
        for block, inputs in cutoff_data.blocks():
            probability[block] = self.answer(self.purchase, inputs)
            if self.amount is not None:
                amount[block] = self.answer(self.amount, inputs)
        return scores_of(cutoff_data, self.name, probability, amount)

    def answer(self, n_estimators: Any, inputs: Any) -> np.ndarray:
        """What the fitted `purchase` or `amount` trees say of every pair: (B, M)."""
        found: np.ndarray = n_estimators.predict(rows_of(inputs), num_threads=self.threads)
        return found.reshape(inputs.pair.shape[:2])

    def _boost(
        self,
        x: np.ndarray,
        y: np.ndarray,
        weight: np.ndarray,
        names: list[str],
        objective: str,
        n_estimators: int,
        seed: int,
    ) -> Any:
        try:
            import lightgbm
        except ModuleNotFoundError:
            raise ConfigurationError(
                "the incumbent lightgbm needs LightGBM; pip install 'propensity[gbdt]' or name other baselines"
            ) from None

        settings = {
            "objective": objective,
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": min(self.min_child_samples, max(len(y) // 20, 1)),
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 10.0,
            "max_bin": 127,
            "seed": seed,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": self.threads,
            "verbose": -1,
        }
        data = lightgbm.Dataset(x, y, weight=weight, feature_name=names, params={"verbose": -1, "max_bin": 127})
        return lightgbm.train(settings, data, num_boost_round=n_estimators)
