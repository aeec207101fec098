"""Models of the user's own, evaluated beside the network: an object that predicts, or a table of scores."""

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


def predicted(
    name: str, model: Any, training_set: Callable[[], TrainingSet], cutoffs_data: Sequence[CutoffData], seed: int
) -> list[Scores]:
    """Scores of one model of the user's own for the customers and offers of every cutoff.

    Parameters
    ----------
    name : of the model in metrics, tables and messages.
    model : a Parquet file or a frame of scores with the columns cutoff, customer_id, offer_id, score and
        expected_revenue; or an object with `predict(cutoff_data)`, which gives `Scores`, probabilities (N, M), or a
        pair of probabilities and expected revenue, both (N, M), and which is first fitted where it has
        `fit(training_set, seed)`; or a scikit-learn classifier, which is fitted on the columns of the baselines.
    training_set : makes the training set when a model has to be fitted.
    cutoffs_data : cutoffs to predict, each with N customers and M offers.
    seed : of the draw of rows for a scikit-learn classifier, and handed to `fit`.

    Raises
    ------
    ConfigurationError
        For an object that is none of these, a file that does not exist, or a cutoff without scores.
    DataError
        For a table without a pair of the evaluation, or predictions of another shape.
    """
    if isinstance(model, str | Path):
        return matched(load_scores(model, name), cutoffs_data)
    if (frame := polars_frame(model)) is not None:
        return matched(scores_from(frame, name, name), cutoffs_data)
    if hasattr(model, "predict_proba"):
        return _classified(name, model, training_set(), cutoffs_data, seed)
    if not callable(getattr(model, "predict", None)):
        raise ConfigurationError(
            f"{name} is a {type(model).__name__}; give a table of scores, an object with predict(cutoff_data), "
            "or a scikit-learn classifier"
        )
    if hasattr(model, "fit"):
        model.fit(training_set(), seed)
    return [_scores(name, model.predict(cutoff_data), cutoff_data) for cutoff_data in cutoffs_data]


def polars_frame(table: Any) -> pl.DataFrame | None:
    """A Polars or pandas frame as a Polars frame; None for anything else."""
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if isinstance(table, pl.DataFrame):
        return table
    if type(table).__module__.split(".")[0] == "pandas" and type(table).__name__ == "DataFrame":
        return pl.from_pandas(table)
    return None


def matched(scores: Sequence[Scores], cutoffs_data: Sequence[CutoffData]) -> list[Scores]:
    """Scores made elsewhere, for the customers and offers of each cutoff; pairs without a score count as 0.

    Raises
    ------
    ConfigurationError
        For a cutoff without any score.
    DataError
        Where no score is about a pair of the cutoff.
    """
    by_cutoff = {each.cutoff: each for each in scores}
    matches = []
    for features, market_stats, customer in cutoffs_data:
        if (day := str(market_stats.cutoff)) not in by_cutoff:
            raise ConfigurationError(f"{scores[0].model} has no scores at {day}, only at {', '.join(by_cutoff)}")
        matches.append(aligned(by_cutoff[day], features.log.customer_id[customer], features.offers.name))
        if not np.any(matches[-1].mask):
            raise DataError(
                f"{matches[-1].model} at {day} scores none of the run's pairs; use its customer and offer ids"
            )
    return matches


def _classified(
    name: str, model: Any, training_set: TrainingSet, cutoffs_data: Sequence[CutoffData], seed: int
) -> list[Scores]:
    table = training_table(training_set, CUTOFFS, ROWS, seed)
    model.fit(table.x, table.bought)
    scores = []
    for cutoff_data in cutoffs_data:
        probability = np.empty((cutoff_data.row.size, len(cutoff_data.features.offers)), np.float32)
        for block, inputs in cutoff_data.blocks():
            probability[block] = model.predict_proba(rows_of(inputs))[:, 1].reshape(inputs.pair.shape[:2])
        scores.append(_scores(name, probability, cutoff_data))
    return scores


def _scores(name: str, prediction: Any, cutoff_data: CutoffData) -> Scores:
    """What `predict` gave, as `Scores` for the pairs of the cutoff."""
    if isinstance(prediction, Scores):
        return matched([prediction], [cutoff_data])[0]
    probability, revenue = prediction if isinstance(prediction, tuple) else (prediction, prediction)
    offers, cutoff = cutoff_data.features.offers.name, str(cutoff_data.market_stats.cutoff)
    shape = cutoff_data.row.size, len(offers)
    for values, what in ((probability, "probabilities"), (revenue, "expected revenue")):
        if np.shape(values) != shape:
            raise DataError(f"{name} gives {what} of shape {np.shape(values)} at {cutoff}; give {shape}, all pairs")
    score, expected = np.asarray(probability, np.float32), np.asarray(revenue, np.float32)
    return Scores(cutoff_data.customer_id, offers, score, expected, cutoff, name, np.ones(shape, bool))
