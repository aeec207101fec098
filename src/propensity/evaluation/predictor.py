"""Scores of models of your own: an object with `predict`, a scikit-learn classifier, or a table of scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.baseline.pair_table import rows_of, training_table
from propensity.errors import ConfigurationError, DataError
from propensity.scores import Scores, aligned, load_scores, scores_from
from propensity.task import CutoffData, TrainingSet

CUTOFFS, ROWS = 8, 1_000_000  # of the training set that a scikit-learn classifier is fitted on, as for LightGBM


def score_model(
    name: str, model: Any, training_set: Callable[[], TrainingSet], cutoffs_data: Sequence[CutoffData], seed: int
) -> list[Scores]:
    """Score every cutoff with one model of your own, and fit it first where it can be fitted.

    Parameters
    ----------
    name : str
        Name of the model in metrics, tables and messages.
    model : path, frame or object
        A Parquet file, or a Polars or pandas frame, with the columns cutoff, customer_id, offer_id, score and
        expected_revenue; or an object with `predict(cutoff_data)`, which returns `Scores`, probabilities (N, M), or a
        pair of probabilities and expected revenue, both (N, M), and which is fitted first if it has
        `fit(training_set, seed)`; or a scikit-learn classifier, which is fitted on the columns of the baselines.
    training_set : callable
        Returns the training set; called only if a model has to be fitted.
    cutoffs_data : sequence of CutoffData
        Cutoffs to score, each with N customers and M offers.
    seed : int
        Seed of `fit`, and of the sample of rows for a scikit-learn classifier.

    Returns
    -------
    list of Scores
        One for each cutoff.

    Raises
    ------
    ConfigurationError
        For an object that is none of these, a file that does not exist, or a cutoff without scores.
    DataError
        For a table without a pair of the evaluation, or predictions of another shape.
    """
    if isinstance(model, str | Path):
        return match_scores(load_scores(model, name), cutoffs_data)
    if (frame := polars_frame(model)) is not None:
        return match_scores(scores_from(frame, name, name), cutoffs_data)
    if hasattr(model, "predict_proba"):
        return _fit_classifier(name, model, training_set(), cutoffs_data, seed)
    if not callable(getattr(model, "predict", None)):
        raise ConfigurationError(
            f"{name} is a {type(model).__name__}; give a table of scores, an object with predict(cutoff_data), "
            "or a scikit-learn classifier"
        )
    if hasattr(model, "fit"):
        model.fit(training_set(), seed)
    return [_as_scores(name, model.predict(cutoff_data), cutoff_data) for cutoff_data in cutoffs_data]


def polars_frame(table: Any) -> pl.DataFrame | None:
    """Convert a Polars or pandas frame to a Polars frame; None for anything else."""
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if isinstance(table, pl.DataFrame):
        return table
    if type(table).__module__.split(".")[0] == "pandas" and type(table).__name__ == "DataFrame":
        return pl.from_pandas(table)
    return None


def match_scores(scores: Sequence[Scores], cutoffs_data: Sequence[CutoffData]) -> list[Scores]:
    """Align scores with the customers and offers of each cutoff.

    Parameters
    ----------
    scores : sequence of Scores
        Scores of one model, one for each of its cutoffs.
    cutoffs_data : sequence of CutoffData
        Cutoffs of the evaluation.

    Returns
    -------
    list of Scores
        One for each cutoff of the evaluation; pairs without a score have score 0 and a mask of False.

    Raises
    ------
    ConfigurationError
        If a cutoff has no score.
    DataError
        If no score belongs to a pair of the cutoff.
    """
    by_cutoff = {each.cutoff: each for each in scores}
    matches = []
    for features, market_stats, row in cutoffs_data:
        if (day := str(market_stats.cutoff)) not in by_cutoff:
            raise ConfigurationError(f"{scores[0].model} has no scores at {day}, only at {', '.join(by_cutoff)}")
        matches.append(aligned(by_cutoff[day], features.log.customer_id[row], features.offers.name))
        if not np.any(matches[-1].mask):
            raise DataError(
                f"{matches[-1].model} at {day} scores none of the run's pairs; use its customer and offer ids"
            )
    return matches


def _fit_classifier(
    name: str, model: Any, training_set: TrainingSet, cutoffs_data: Sequence[CutoffData], seed: int
) -> list[Scores]:
    """Fit a scikit-learn classifier on a sample of the training pairs and score every cutoff."""
    table = training_table(training_set, CUTOFFS, ROWS, seed)
    model.fit(table.x, table.bought)
    scores = []
    for cutoff_data in cutoffs_data:
        probability = np.empty((cutoff_data.row.size, len(cutoff_data.features.offers)), np.float32)
        for block, inputs in cutoff_data.blocks():
            probability[block] = model.predict_proba(rows_of(inputs))[:, 1].reshape(inputs.pair.shape[:2])
        scores.append(_as_scores(name, probability, cutoff_data))
    return scores


def _as_scores(name: str, prediction: Any, cutoff_data: CutoffData) -> Scores:
    """The return value of a model's `predict` as `Scores` for the pairs of the cutoff."""
    if isinstance(prediction, Scores):
        return match_scores([prediction], [cutoff_data])[0]
    probability, revenue = prediction if isinstance(prediction, tuple) else (prediction, prediction)
    offers, cutoff = cutoff_data.features.offers.name, str(cutoff_data.market_stats.cutoff)
    shape = cutoff_data.row.size, len(offers)
    for values, what in ((probability, "probabilities"), (revenue, "expected revenue")):
        if np.shape(values) != shape:
            raise DataError(f"{name} gives {what} of shape {np.shape(values)} at {cutoff}; give {shape}, all pairs")
    score, expected = np.asarray(probability, np.float32), np.asarray(revenue, np.float32)
    return Scores(cutoff_data.customer_id, offers, score, expected, cutoff, name, np.ones(shape, bool))
