"""One question, several answers: variants of a training that differ by named overrides, judged together in pairs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate

from propensity.atomic import whole_file
from propensity.config import CompareConfig, TrainConfig
from propensity.data.cutoff import last_windows, parse_cutoff
from propensity.errors import ConfigurationError
from propensity.evaluation.backtest import closed_by
from propensity.evaluation.evaluate import Say, judged, labels, own_metrics
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Labels, Prediction
from propensity.training.predict import predict
from propensity.training.run import train

# settings of the comparison itself, not of a training
OWN = ("variants", "out", "cutoffs", "metrics", "resamples", "seeds")
Variant = Callable[[Sequence[str]], TrainConfig]


def compare(cfg: CompareConfig, variant: Variant, say: Say) -> dict[str, Any]:
    """Trains each variant for every cutoff and seed, on labels closed by it, and judges all on the same customers.

    The answers of several seeds are averaged, so that a difference is not one of luck. Leaves metrics.json, with the
    first variant minus each of the others, and a run folder per training in `cfg.out`, which are not trained again by
    the same code, configuration and data.
    """
    if len(cfg.variants) < 2:
        raise ConfigurationError(f"{len(cfg.variants)} variant makes no comparison; give variants two or more")
    log = instantiate(cfg.data, _convert_="all").open()
    horizon = cfg.data["horizon"]
    cutoffs = cfg.cutoffs if cfg.cutoffs is not None else last_windows(log, horizon)
    days = judged(cutoffs, log, horizon)
    answers: dict[str, list[Prediction]] = {name: [] for name in cfg.variants}
    all_labels: list[Labels] = []
    for day in days:
        found = {}
        for name, overrides in cfg.variants.items():
            say(f"{name} for {day}")
            found[name], judged_by = _answer(variant(overrides), day, cfg.seeds, Path(cfg.out) / name / day)
        all_labels.append(judged_by)
        for name, prediction in found.items():
            answers[name].append(prediction)
    first = next(iter(cfg.variants))
    metrics = evaluate(
        all_labels,
        answers,
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
    return metrics


def _answer(variant: TrainConfig, day: str, seeds: Sequence[int], out: Path) -> tuple[Prediction, Labels]:
    """One variant's prediction for a cutoff, averaged over the seeds, and what came true."""
    probability, revenue = [], []
    for seed in seeds:
        training = replace(closed_by(variant, day), seed=seed)
        model, task, training_set, log = train(training, out / str(seed), reuse=True)
        cutoff_data = task.cutoff_data(log, parse_cutoff(log, day, task.horizon), training_set.vocabulary)
        scores = predict(model, cutoff_data)
        probability.append(scores.probability)
        revenue.append(scores.revenue)
    return Prediction(np.mean(probability, axis=0), np.mean(revenue, axis=0)), labels(log, cutoff_data)
