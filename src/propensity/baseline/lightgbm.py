"""LightGBM on the network's input columns: the strongest of the baselines."""

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
    """Gradient-boosted trees: a binary model of the purchase and a gamma model of the buyer's amount.

    Parameters
    ----------
    last_cutoffs : int
        Number of the latest training cutoffs that pairs are sampled from.
    rows : int
        About how many pairs are sampled.
    n_estimators, num_leaves, learning_rate, min_child_samples, subsample, subsample_freq, colsample_bytree, reg_lambda,
    max_bin, num_threads
        Settings of LightGBM under its own names. `min_child_samples` is lowered to a twentieth of the rows on small
        data. More than one thread changes no tree.
    amount_n_estimators : int
        n_estimators of the amount model.
    launched : float
        Share of the offers of each block of customers that are shown as on the day of their launch, in [0, 1].
    name : str
        Name in tables and files.

    Notes
    -----
    Without prices in the log there is no amount model and the expected revenue is 0.
    """

    last_cutoffs: int = 8
    rows: int = 1_000_000
    n_estimators: int = 300
    num_leaves: int = 63
    learning_rate: float = 0.04
    min_child_samples: int = 300
    subsample: float = 0.8
    subsample_freq: int = 1
    colsample_bytree: float = 0.5
    reg_lambda: float = 10.0
    max_bin: int = 127
    amount_n_estimators: int = 100
    launched: float = 0.0
    num_threads: int = 1
    name: str = "lightgbm"

    def fit(self, training_set: TrainingSet, seed: int) -> None:
        """Fits both models on the sampled pairs, see `pair_table.training_table`.

        Raises
        ------
        ConfigurationError
            If LightGBM is not installed, or nobody or everybody bought in the label windows.
        """
        table = training_table(training_set, self.last_cutoffs, self.rows, seed, self.launched)
        names = column_names(training_set)
        self.purchase_model = self._train(table.x, table.bought, table.weight, names, "binary", self.n_estimators, seed)
        paid = table.revenue > 0
        self.amount_model = None
        if paid.any():
            self.amount_model = self._train(
                *(table.x[paid], table.revenue[paid], table.weight[paid], names, "gamma"),
                *(self.amount_n_estimators, seed),
            )

    def predict(self, cutoff_data: CutoffData) -> Scores:
        """Scores (N, M); expected revenue is the product of both models."""
        probability = np.empty((cutoff_data.row.size, len(cutoff_data.features.offers)), np.float32)
        amount = np.zeros_like(probability)  # stays 0 where the log has no prices
        for block, inputs in cutoff_data.blocks():
            probability[block] = self.predict_pairs(self.purchase_model, inputs)
            if self.amount_model is not None:
                amount[block] = self.predict_pairs(self.amount_model, inputs)
        return scores_of(cutoff_data, self.name, probability, amount)

    def predict_pairs(self, model: Any, inputs: Any) -> np.ndarray:
        """Predictions of one of the two models.

        Parameters
        ----------
        model : lightgbm.Booster
            `purchase_model` or `amount_model`.
        inputs : Inputs
            Inputs of B customers and M offers, as arrays.

        Returns
        -------
        np.ndarray
            (B, M) float64: a probability, or an amount in the log's currency.
        """
        predictions: np.ndarray = model.predict(rows_of(inputs), num_threads=self.num_threads)
        return predictions.reshape(inputs.pair.shape[:2])

    def _train(
        self,
        x: np.ndarray,
        y: np.ndarray,
        weight: np.ndarray,
        names: list[str],
        objective: str,
        n_estimators: int,
        seed: int,
    ) -> Any:
        """A booster for one objective; settings as `lightgbm.train` calls them."""
        try:
            import lightgbm
        except ModuleNotFoundError:
            raise ConfigurationError(
                "the baseline lightgbm needs LightGBM; pip install 'propensity[gbdt]' or name other baselines"
            ) from None

        settings = {
            "objective": objective,
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": min(self.min_child_samples, max(len(y) // 20, 1)),
            "feature_fraction": self.colsample_bytree,
            "bagging_fraction": self.subsample,
            "bagging_freq": self.subsample_freq,
            "lambda_l2": self.reg_lambda,
            "max_bin": self.max_bin,
            "seed": seed,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": self.num_threads,
            "verbose": -1,
        }
        params = {"verbose": -1, "max_bin": self.max_bin}
        data = lightgbm.Dataset(x, y, weight=weight, feature_name=names, params=params)
        return lightgbm.train(settings, data, num_boost_round=n_estimators)
