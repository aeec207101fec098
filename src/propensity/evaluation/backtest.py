"""Rolling-origin evaluation: one model per cutoff, trained on label windows that closed by then; and lift decay."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from hydra.utils import instantiate

from propensity.atomic import whole_file
from propensity.champion.champion import Champion
from propensity.checksum import seal_folder, unseal_folder
from propensity.config import BacktestConfig
from propensity.data.cutoff import last_windows
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError
from propensity.evaluation.evaluate import (
    NETWORK,
    EvaluationData,
    ModelScores,
    Say,
    build_baselines,
    champion_section,
    evaluation_cutoffs,
    write_evaluation,
)
from propensity.evaluation.fold_job import FoldPlan, folds_of, forget_folds
from propensity.evaluation.labels import labels
from propensity.metric.decay import lift_decay
from propensity.metric.labels import Prediction
from propensity.scores import Scores
from propensity.task import CutoffData
from propensity.training.run import commit

WEEK = 7  # days


class AgedScores(NamedTuple):
    """Scores at a cutoff by a network whose training labels closed `weeks` weeks before it."""

    weeks: int
    cutoff_data: CutoffData
    scores: Scores


def backtest(cfg: BacktestConfig, say: Say) -> dict[str, Any]:
    """Train the network and the baselines for every cutoff and evaluate them together.

    Parameters
    ----------
    cfg : BacktestConfig
        Training, cutoffs, ages, baselines and bootstrap.
    say : callable
        Called with a sentence of progress.

    Returns
    -------
    dict
        The content of metrics.json; see `propensity.metric.evaluation.evaluate`.

    Raises
    ------
    ConfigurationError
        For invalid cutoffs, folds, ages or baselines.

    Notes
    -----
    With `cfg.ages`, networks trained so many weeks before each cutoff are scored too; their loss of revenue lift
    against the network of age 0 is the lift decay. A fold that was finished with the same code, configuration and data
    is not trained again. `cfg.out` receives scores.parquet, a Parquet file per baseline, customers.parquet,
    metrics.json, with ages decay.json, checksums.json, and a run folder per training date.
    """
    unseal_folder(cfg.out)
    log = instantiate(cfg.data, _convert_="all").open()
    days = evaluation_cutoffs(backtest_cutoffs(cfg, log), log, cfg.data["horizon"])
    scores: ModelScores = {}
    champions: dict[str, Champion] = {}
    aged_scores = list(_train_and_score(cfg, days, log, scores, champions, say))
    fresh = [each for each in aged_scores if each.weeks == 0]
    about = {
        "config": _settings(cfg),
        "seed": cfg.seed,
        "cutoffs": days,
        "data": log.fingerprint,
        "commit": commit(),
    }
    data = EvaluationData(log, [each.cutoff_data for each in fresh], scores, about, Path(cfg.out))
    sections = {"decay": _write_decay(cfg, data, aged_scores, say)} if list(cfg.ages) else {}
    sections |= champions_section(champions)
    metrics = write_evaluation(data, cfg, say, sections)
    forget_folds(cfg)
    seal_folder(cfg.out)
    return metrics


def backtest_cutoffs(cfg: BacktestConfig, log: EventLog) -> list[str]:
    """Choose the cutoffs of a backtest.

    Parameters
    ----------
    cfg : BacktestConfig
        `cutoffs`, `folds`, `step` and `data.horizon` are read.
    log : EventLog
        The log.

    Returns
    -------
    list of str
        ISO dates: `cfg.cutoffs`; or `cfg.folds` cutoffs `cfg.step` days apart, the last one a horizon before the end of
        the log; by default the last label windows of the log.

    Raises
    ------
    ConfigurationError
        If both `cutoffs` and `folds` are given, or `folds` or `step` is below 1.
    """
    if cfg.folds is not None and cfg.cutoffs is not None:
        raise ConfigurationError("give cutoffs=[YYYY-MM-DD,...], or folds=<number> with step=<days>, and not both")
    if cfg.folds is None:
        return list(cfg.cutoffs) if cfg.cutoffs is not None else last_windows(log, cfg.data["horizon"])
    if cfg.folds < 1 or cfg.step < 1:
        raise ConfigurationError(f"folds={cfg.folds} and step={cfg.step} make no cutoffs; give 1 or more of each")
    last = log.last_day + 1 - cfg.data["horizon"]
    return [to_date(last - cfg.step * fold).isoformat() for fold in reversed(range(cfg.folds))]


def fold_plans(days: list[str], ages: set[int]) -> list[FoldPlan]:
    """Plan a training for every end of labels that a cutoff or an age needs.

    Parameters
    ----------
    days : list of str
        Cutoffs as ISO dates.
    ages : set of int
        Weeks between the end of labels and a cutoff.

    Returns
    -------
    list of FoldPlan
        Oldest first.

    Raises
    ------
    ConfigurationError
        For a negative age.
    """
    if negative := [age for age in ages if age < 0]:
        raise ConfigurationError(f"ages holds {negative[0]}; give weeks of 0 or more")
    ends = sorted({to_day(day) - WEEK * age for day in days for age in ages})
    weeks = {end: {day: divmod(to_day(day) - end, WEEK) for day in days} for end in ends}
    return [
        FoldPlan(end, {day: age for day, (age, rest) in weeks[end].items() if not rest and age in ages}) for end in ends
    ]


def _train_and_score(
    cfg: BacktestConfig, days: list[str], log: EventLog, scores: ModelScores, champions: dict[str, Champion], say: Say
) -> Iterator[AgedScores]:
    """Train every fold, oldest first; fills scores and champions."""
    build_baselines(cfg)  # an unknown name is refused before anything is trained
    plans = fold_plans(days, {0, *cfg.ages})
    request = {"config": _settings(cfg), "cutoffs": days, "data": log.fingerprint}
    fold_of = folds_of(cfg, plans, log, request, instantiate(cfg.engine), say)
    for number, plan in enumerate(plans):
        say(f"training up to {plan.date}, {number + 1} of {len(plans)}")
        fold = fold_of(plan)
        for day, weeks in plan.weeks.items():
            models = fold.scores[day]
            if weeks == 0:
                for name, each in models.items():
                    scores.setdefault(name, []).append(each)
                champions[day] = fold.champion
            yield AgedScores(weeks, fold.cutoffs_data[day], models[NETWORK])


def _settings(cfg: BacktestConfig) -> dict[str, Any]:
    """The configuration without what does not change the result."""
    return {name: value for name, value in asdict(cfg).items() if name != "engine"}


def champions_section(champions: Mapping[str, Champion]) -> dict[str, Any]:
    """The section on the served models of several cutoffs; empty where the networks have no candidates."""
    sections = {day: champion_section(champion) for day, champion in champions.items()}
    if not any(sections.values()):
        return {}
    names = {day: section["champion"]["name"] for day, section in sections.items()}
    if len(names) == 1:
        return next(iter(sections.values()))
    name = next(iter(names.values())) if len(set(names.values())) == 1 else "one for each cutoff"
    reasons = [f"at {day} {section['champion']['reason']}" for day, section in sections.items()]
    return {"champion": {"name": name, "reason": "; ".join(reasons), "cutoffs": names}}


def _write_decay(cfg: BacktestConfig, data: EvaluationData, aged_scores: list[AgedScores], say: Say) -> dict[str, Any]:
    """Compute the lift decay and write decay.json, with the task it was measured on."""
    say("measuring the lift decay")
    predictions: dict[int, list[Prediction]] = {}
    for each in sorted(aged_scores, key=lambda each: each.scores.cutoff):
        predictions.setdefault(each.weeks, []).append(Prediction(each.scores.probability, each.scores.revenue))
    all_labels = [labels(data.log, cutoff_data) for cutoff_data in data.cutoffs_data]
    settings = data.about["config"]["data"]
    task = {"source": data.log.meta.get("source"), "offer": settings["offer"], "horizon": settings["horizon"]}
    about = {"data": data.log.fingerprint, "commit": data.about["commit"], **task}
    decay = lift_decay(all_labels, predictions, cfg.resamples, cfg.seed) | {"about": about}
    with whole_file(data.out / "decay.json") as draft:
        draft.write_text(json.dumps(decay, indent=1) + "\n")
    return decay
