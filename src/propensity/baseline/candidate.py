"""Candidates: baselines that are functions of the model inputs alone, are tuned by validation, and are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from propensity.baseline import scores_of
from propensity.baseline.regression import logistic
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet, Validation


class CandidateOutputs(NamedTuple):
    """What a candidate says of B customers and M offers.

    Attributes
    ----------
    logit : np.ndarray
        (B, M) float64, log-odds of a purchase within the horizon.
    amount : np.ndarray
        (B, M) float64, expected spend of a buyer within the horizon, in the log's currency.
    """

    logit: np.ndarray
    amount: np.ndarray


class Candidate(Protocol):
    """A baseline that can be served: its scores follow from the model inputs of a block of customers.

    Attributes
    ----------
    name : str
        Name in tables and files.
    chosen : dict
        Hyperparameters that validation, or the defaults, gave; JSON-able.
    """

    name: str
    chosen: dict[str, Any]

    def fit(self, training_set: TrainingSet, seed: int, validation: Validation | None = None) -> None:
        """Chooses the hyperparameters by the log loss of validation, or takes the defaults, and fits the model."""
        ...

    def refit(self, training_set: TrainingSet, seed: int) -> None:
        """Fits the model again, with the hyperparameters that `fit` chose, on another training set."""
        ...

    def outputs(self, inputs: Any) -> CandidateOutputs:
        """Log-odds and amounts (B, M) of the inputs of B customers and all M offers, as NumPy arrays."""
        ...

    def predict(self, cutoff_data: CutoffData) -> Scores:
        """Scores every customer for every offer of a cutoff."""
        ...

    def save(self, folder: str | Path) -> None:
        """Writes the fitted model into a folder as JSON, NumPy arrays or LightGBM text."""
        ...

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads what `save` wrote; IntegrityError for files that are damaged or of another kind."""
        ...


def predict_blocks(candidate: Candidate, cutoff_data: CutoffData) -> Scores:
    """Scores of a candidate, block by block.

    Parameters
    ----------
    candidate : Candidate
        A fitted candidate.
    cutoff_data : CutoffData
        What is known at the cutoff of N customers and M offers.

    Returns
    -------
    Scores
        probability and revenue (N, M).
    """
    shape = cutoff_data.row.size, len(cutoff_data.features.offers)
    logit, amount = np.empty(shape), np.empty(shape)
    for block, inputs in cutoff_data.blocks():
        logit[block], amount[block] = candidate.outputs(inputs)
    return scores_of(cutoff_data, candidate.name, logistic(logit), amount)
