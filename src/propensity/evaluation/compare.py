"""One question, several answers: variants of a training that differ by named overrides, judged together in pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from propensity.atomic import whole_file
from propensity.data.cutoff import parse_cutoff
from propensity.errors import ConfigurationError
from propensity.evaluation.backtest import closed_by
from propensity.evaluation.evaluate import Say, judged, labels
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Labels, Prediction
from propensity.training.predict import predict
from propensity.training.run import train

OWN = ("variants", "out", "cutoffs", "resamples", "seeds")  # settings of the comparison itself, not of a training


def compare(cfg: DictConfig, say: Say) -> dict[str, Any]:
    """Trains each variant for every cutoff and seed, on labels closed by it, and judges all on the same customers.

    The answers of several seeds are averaged, so that a difference is not one of luck. Leaves metrics.json, with the
    first variant minus each of the others, and a run folder per training in `cfg.out`, which are not trained again by
    the same code, configuration and data.
    """
    if len(cfg.variants) < 2:
        raise ConfigurationError(f"{len(cfg.variants)} variant makes no comparison; give variants two or more")
    log = instantiate(cfg.data, _convert_="all").open()
    days = judged(cfg.cutoffs, log, cfg.data.horizon)
    answers: dict[str, list[Prediction]] = {name: [] for name in cfg.variants}
    all_labels: list[Labels] = []
    given = [o for o in HydraConfig.get().overrides.task if o.lstrip("+~").split("=")[0].split(".")[0] not in OWN]
    for day in days:
        found = {}
        for name, overrides in cfg.variants.items():
            say(f"{name} for {day}")
            settings = [*given, *overrides]
            found[name], judged_by = _answer(settings, day, cfg, Path(cfg.out) / name / day)
        all_labels.append(judged_by)
        for name, prediction in found.items():
            answers[name].append(prediction)
    first = next(iter(cfg.variants))
    metrics = evaluate(all_labels, answers, reference=first, resamples=cfg.resamples, seed=cfg.seed, progress=say)
    about = {"config": OmegaConf.to_container(cfg, resolve=True), "cutoffs": days, "data": log.fingerprint}
    metrics["run"] = about | {"horizon": cfg.data.horizon, "rows": log.meta["rows"]}
    with whole_file(Path(cfg.out) / "metrics.json") as draft:
        draft.write_text(json.dumps(metrics, indent=1))
    return metrics


def _answer(settings: list[str], day: str, cfg: DictConfig, out: Path) -> tuple[Prediction, Labels]:
    """One variant's prediction for a cutoff, averaged over the seeds, and what came true."""
    probability, revenue = [], []
    for seed in cfg.seeds:
        variant = closed_by(compose("compare", overrides=[*settings, f"seed={seed}"]), day)
        model, task, training_set, log = train(variant, out / str(seed), reuse=True)
        cutoff_data = task.cutoff_data(log, parse_cutoff(log, day, task.horizon), training_set.vocabulary)
        scores = predict(model, cutoff_data)
        probability.append(scores.probability)
        revenue.append(scores.revenue)
    return Prediction(np.mean(probability, axis=0), np.mean(revenue, axis=0)), labels(log, cutoff_data)
