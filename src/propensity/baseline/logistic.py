"""Logistic regression on the network's input columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from propensity.baseline.candidate import CandidateOutputs, predict_blocks
from propensity.baseline.pair_table import (
    Columns,
    PairTable,
    training_columns,
    training_table,
    usual_amount_of,
    validation_table,
)
from propensity.baseline.regression import Problem, Ridge, fit_logistic, weighted_log_loss
from propensity.baseline.storage import columns_from, damaged, read, read_arrays, read_json, write_arrays, write_json
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet, Validation

WIDEST = 6.0  # standard deviations from the mean
ARRAYS = ("mean", "deviation", "coefficient")


@dataclass
class Logistic:
    """Logistic regression on standardised signed logs, with an indicator for each missing value.

    Parameters
    ----------
    last_cutoffs : int
        Number of the latest training cutoffs that pairs are sampled from.
    rows : int
        About how many pairs are sampled.
    ridges : tuple of float
        Candidate strengths of the ridge penalty on the coefficients of standardised columns, in sampled pairs;
        descending. The first that validation does not improve on is the last that is tried.
    ridge : float
        The strength without validation.
    name : str
        Name in tables and files.

    Attributes
    ----------
    chosen : dict
        `ridge`.
    mean, deviation : np.ndarray
        (2 C,) of the columns.
    coefficient : np.ndarray
        (2 C + 1,) of the standardised columns, the intercept last.

    Notes
    -----
    Columns in the log's currency are divided by the unit of money. Standardised values are clipped, so that a column
    that grows with the calendar stops at the edge.
    """

    last_cutoffs: int = 20
    rows: int = 200_000
    ridges: tuple[float, ...] = (1000.0, 100.0, 10.0, 1.0, 0.1)
    ridge: float = 100.0
    name: str = "logistic"
    chosen: dict[str, Any] = field(default_factory=dict, init=False)
    mean: np.ndarray = field(default_factory=lambda: np.zeros(0), init=False)
    deviation: np.ndarray = field(default_factory=lambda: np.ones(0), init=False)
    coefficient: np.ndarray = field(default_factory=lambda: np.zeros(1), init=False)
    columns: Columns = field(default=Columns((), (), ()), init=False)

    def fit(self, training_set: TrainingSet, seed: int, validation: Validation | None = None) -> None:
        """Chooses the ridge by log loss of the validation pairs and fits the regression on sampled training pairs.

        Raises
        ------
        ConfigurationError
            If nobody or everybody bought in the label windows.
        """
        problem = self._problem(training_set, seed)
        judged = validation_table(validation, seed=seed)
        self.chosen = {"ridge": self.ridge}
        if judged is None:
            self.coefficient = self._solve(problem, self.ridge, None)
            return
        x, lowest, warm = self._design(judged.x), np.inf, None
        for ridge in self.ridges:
            warm = self._solve(problem, ridge, warm)
            loss = weighted_log_loss(x @ warm.astype(np.float32), judged.bought, judged.weight)
            if loss >= lowest:
                break
            lowest, self.coefficient, self.chosen = loss, warm, {"ridge": ridge}

    def refit(self, training_set: TrainingSet, seed: int) -> None:
        """Fits the regression again, with the ridge that `fit` chose."""
        self.coefficient = self._solve(self._problem(training_set, seed), self.chosen["ridge"], None)

    def outputs(self, inputs: Any) -> CandidateOutputs:
        """Log-odds and amounts (B, M): a sum of what pair, customer and context columns contribute."""
        parts, total, start = [], self.mean.size // 2, 0
        for block in (inputs.pair, inputs.customer_features, inputs.context):
            values = np.asarray(block)
            place = np.arange(start, start + values.shape[-1])
            parts.append(self._contribution(values, np.concatenate([place, total + place])))
            start += values.shape[-1]
        pair, customer, context = parts
        logit = pair + customer[:, None] + context + self.coefficient[-1]
        return CandidateOutputs(logit, usual_amount_of(self.columns, inputs))

    def predict(self, cutoff_data: CutoffData) -> Scores:
        """Scores (N, M); the amount is the customer's mean spend, see `pair_table.usual_amount`."""
        return predict_blocks(self, cutoff_data)

    def save(self, folder: str | Path) -> None:
        """Writes `logistic.npz` and `logistic.json`."""
        write_arrays(Path(folder) / "logistic.npz", {name: getattr(self, name) for name in ARRAYS})
        state = {"name": self.name, "chosen": self.chosen, "columns": self.columns._asdict()}
        write_json(Path(folder) / "logistic.json", state)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises
        ------
        ConfigurationError
            If a file is missing.
        IntegrityError
            If a file is damaged.
        """
        path = Path(folder) / "logistic.json"
        state, arrays = read_json(path), read_arrays(Path(folder) / "logistic.npz", ARRAYS)
        return read(path, lambda: cls._from(state, arrays, path))

    @classmethod
    def _from(cls, state: dict[str, Any], arrays: dict[str, np.ndarray], path: Path) -> Self:
        model = cls(name=str(state["name"]))
        model.chosen, model.columns = {"ridge": float(state["chosen"]["ridge"])}, columns_from(state["columns"])
        width = 2 * sum(map(len, model.columns[:3]))
        for name, values in arrays.items():
            if values.shape != (width + (name == "coefficient"),):
                raise damaged(path, f"{name} has shape {values.shape}")
            setattr(model, name, values)
        return model

    def _problem(self, training_set: TrainingSet, seed: int) -> Problem:
        """The regression of the training pairs; sets columns, means and deviations."""
        table = training_table(training_set, self.last_cutoffs, self.rows, seed)
        self.columns = training_columns(training_set)
        return self._standardised(table.last(self.last_cutoffs, self.rows, seed))

    def _standardised(self, table: PairTable) -> Problem:
        """The regression of a table, whose means and deviations are kept."""
        x = numeric(table.x, self._factor(np.arange(table.x.shape[1])))
        self.mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        self.deviation = np.where(deviation > 0, deviation, 1.0)
        weight = table.weight.astype(np.float64) / table.weight.mean(dtype=np.float64)
        return Problem(self._design(table.x), table.bought.astype(np.float64), weight)

    def _solve(self, problem: Problem, ridge: float, warm: np.ndarray | None) -> np.ndarray:
        """Coefficients for one strength of the penalty; the intercept is free."""
        width = problem.x.shape[1]
        strength = np.append(np.full(width - 1, ridge), 1e-6)
        rate = float(np.average(problem.y, weights=problem.weight))
        start = np.append(np.zeros(width - 1), np.log(rate / (1 - rate))) if warm is None else warm
        return fit_logistic(problem, Ridge(strength, np.zeros(width)), start, tolerance=1e-5)

    def _design(self, x: np.ndarray) -> np.ndarray:
        """Standardised columns and ones: (K, C) -> (K, 2 C + 1) float32."""
        columns = self._scaled(numeric(x, self._factor(np.arange(x.shape[1]))), np.arange(2 * x.shape[1]))
        return np.concatenate([columns, np.ones((len(x), 1), np.float32)], axis=1)

    def _contribution(self, values: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Share of the log-odds of some columns (..., K), at the places (2 K,): (...)."""
        x = self._scaled(numeric(values, self._factor(place[: place.size // 2])), place)
        return np.asarray(x.astype(np.float64) @ self.coefficient[place])

    def _scaled(self, x: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Standardised and clipped columns at some places."""
        scaled = (x - self.mean[place].astype(np.float32)) / self.deviation[place].astype(np.float32)
        return np.clip(scaled, -WIDEST, WIDEST)

    def _factor(self, place: np.ndarray) -> np.ndarray:
        """What the columns at some places are multiplied by: one over the unit for money, else 1."""
        return np.where(np.isin(place, self.columns.money), 1 / self.columns.unit, 1.0).astype(np.float32)


def numeric(x: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Signed logs with 0 for missing, then the indicators of missing values.

    Parameters
    ----------
    x : np.ndarray
        (..., C) with NaN.
    factor : np.ndarray
        (C,) that the columns are multiplied by.

    Returns
    -------
    np.ndarray
        (..., 2 C) float32.
    """
    missing = np.isnan(x)
    scaled = np.where(missing, 0, x) * factor
    return np.concatenate([np.sign(scaled) * np.log1p(np.abs(scaled)), missing], axis=-1, dtype=np.float32)
