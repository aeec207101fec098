"""Comparison of training variants that differ by overrides of the configuration, paired on the same customers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate

from propensity.atomic import whole_file
from propensity.champion.champion import NETWORK
from propensity.checksum import seal_folder, unseal_folder
from propensity.config import CompareConfig, TrainConfig
from propensity.data.cutoff import last_windows, parse_cutoff
from propensity.errors import ConfigurationError
from propensity.evaluation.evaluate import Say, evaluation_cutoffs, own_metrics
from propensity.evaluation.fold_job import closed_by
from propensity.evaluation.labels import labels
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Labels, Prediction
from propensity.training.predict import predict
from propensity.training.run import train

# settings of the comparison itself, not of a training
OWN = ("variants", "out", "cutoffs", "metrics", "resamples", "seeds")
Variant = Callable[[Sequence[str]], TrainConfig]  # overrides to the configuration with them


def compare(cfg: CompareConfig, variant: Variant, say: Say) -> dict[str, Any]:
    """Train each variant for every cutoff and seed, and compare the first with each other one.

    Parameters
    ----------
    cfg : CompareConfig
        Variants, cutoffs, seeds and bootstrap.
    variant : callable
        Composes the training configuration of a variant from its overrides.
    say : callable
        Called with a sentence of progress.

    Returns
    -------
    dict
        The content of metrics.json, whose differences are the first variant minus each other one.

    Raises
    ------
    ConfigurationError
        For fewer than two variants, or invalid cutoffs.

    Notes
    -----
    Training labels close by the cutoff. Predictions are averaged over the seeds, which lowers the variance between
    trainings. `cfg.out` receives metrics.json, checksums.json and a run folder per training; a training that was
    finished with the same code, configuration and data is not repeated.
    """
    if len(cfg.variants) < 2:
        raise ConfigurationError(f"{len(cfg.variants)} variant makes no comparison; give variants two or more")
    unseal_folder(cfg.out)
    log = instantiate(cfg.data, _convert_="all").open()
    horizon = cfg.data["horizon"]
    cutoffs = cfg.cutoffs if cfg.cutoffs is not None else last_windows(log, horizon)
    days = evaluation_cutoffs(cutoffs, log, horizon)
    predictions: dict[str, list[Prediction]] = {name: [] for name in cfg.variants}
    all_labels: list[Labels] = []
    for day in days:
        at_cutoff = {}
        for name, overrides in cfg.variants.items():
            say(f"{name} for {day}")
            out = Path(cfg.out) / name / day
            at_cutoff[name], cutoff_labels = _predict_variant(variant(overrides), day, cfg.seeds, out)
        all_labels.append(cutoff_labels)
        for name, prediction in at_cutoff.items():
            predictions[name].append(prediction)
    first = next(iter(cfg.variants))
    metrics = evaluate(
        all_labels,
        predictions,
        reference=first,
        resamples=cfg.resamples,
        seed=cfg.seed,
        metrics=own_metrics(cfg.metrics),
        progress=say,
    )
    about = {"config": asdict(cfg), "cutoffs": days, "data": log.fingerprint}
    metrics["run"] = about | {"horizon": horizon, "rows": log.meta["rows"]}
    with whole_file(Path(cfg.out) / "metrics.json") as draft:
        draft.write_text(json.dumps(metrics, indent=1))
    seal_folder(cfg.out)
    return metrics


def _predict_variant(variant: TrainConfig, day: str, seeds: Sequence[int], out: Path) -> tuple[Prediction, Labels]:
    """One variant's prediction at a cutoff, averaged over the seeds, and the labels."""
    probability, revenue = [], []
    for seed in seeds:
        training = replace(closed_by(variant, day), seed=seed, champion=NETWORK)
        model, task, training_set, log = train(training, out / str(seed), reuse=True)
        cutoff_data = task.cutoff_data(log, parse_cutoff(log, day, task.horizon), training_set.vocabulary)
        scores = predict(model, cutoff_data)
        probability.append(scores.probability)
        revenue.append(scores.revenue)
    return Prediction(np.mean(probability, axis=0), np.mean(revenue, axis=0)), labels(log, cutoff_data)
