"""Baselines: models fitted on the network's training cutoffs that return the same `Scores`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from propensity.errors import ConfigurationError
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet, Validation


class Baseline(Protocol):
    """What every model of `conf/baseline` offers.

    Notes
    -----
    `fit` reads the training set only: every label window in it closed before the first evaluated cutoff.
    A baseline that gives all customers the same score by its definition says so with a class attribute
    `constant = True`; an evaluation then does not warn that its ranking is random.
    """

    def fit(self, training_set: TrainingSet, seed: int, validation: Validation | None = None) -> None:
        """Fits the model.

        Parameters
        ----------
        training_set : TrainingSet
            Training cutoffs, oldest first, with a weight (M,) for the offers of each.
        seed : int
            Seed of every random draw; the same seed gives the same model.
        validation : Validation or None
            Cutoffs after training with their outcomes, by which hyperparameters are chosen; None: defaults hold.

        Raises
        ------
        ConfigurationError
            If the training windows hold one class only, or a library is not installed.
        """
        ...

    def predict(self, cutoff_data: CutoffData) -> Scores:
        """Scores every customer for every offer of a cutoff.

        Parameters
        ----------
        cutoff_data : CutoffData
            What is known at the cutoff of N customers and M offers.

        Returns
        -------
        Scores
            probability (N, M) of a purchase within the horizon and expected revenue (N, M) in the log's currency.
        """
        ...


def chosen_names(baselines: Mapping[str, Any], names: Sequence[str] | None) -> list[str]:
    """Names of the baselines that a configuration chooses.

    Parameters
    ----------
    baselines : mapping of str to settings
        The group `baseline` of the configuration.
    names : sequence of str or None
        Its setting `baselines`; None chooses all.

    Raises
    ------
    ConfigurationError
        For a name that the group does not define.
    """
    chosen = list(baselines) if names is None else list(names)
    if unknown := [name for name in chosen if name not in baselines]:
        raise ConfigurationError(f"no baseline {unknown[0]!r}; baselines holds {', '.join(baselines)}")
    return chosen


def scores_of(cutoff_data: CutoffData, name: str, probability: np.ndarray, amount: np.ndarray) -> Scores:
    """Scores from purchase probabilities and the amounts that buyers are expected to spend.

    Parameters
    ----------
    cutoff_data : CutoffData
        The cutoff that the N customers and M offers belong to.
    name : str
        Name of the model.
    probability : np.ndarray
        (N, M), in [0, 1].
    amount : np.ndarray
        (N, M), expected spend within the horizon given a purchase, in the log's currency.

    Returns
    -------
    Scores
        Probability and revenue as float32; expected revenue is probability times amount.
    """
    revenue = (probability * amount).astype(np.float32)
    offer, cutoff = cutoff_data.features.offers.name, str(cutoff_data.market_stats.cutoff)
    return Scores(cutoff_data.customer_id, offer, probability.astype(np.float32), revenue, cutoff, name)
