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
from propensity.config import BacktestConfig, TrainConfig, training_config
from propensity.data.cutoff import last_windows, parse_cutoff
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError
from propensity.evaluation.evaluate import (
    NETWORK,
    EvaluationData,
    ModelScores,
    Say,
    baseline_scores,
    build_baselines,
    champion_section,
    compared,
    evaluation_cutoffs,
    write_evaluation,
)
from propensity.evaluation.labels import labels
from propensity.metric.decay import lift_decay
from propensity.metric.labels import Prediction
from propensity.scores import Scores
from propensity.task import CutoffData
from propensity.training.predict import predict
from propensity.training.run import commit, train

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
    aged_scores = list(_train_and_score(cfg, days, scores, champions, say))
    fresh = [each for each in aged_scores if each.weeks == 0]
    about = {
        "config": asdict(cfg),
        "seed": cfg.seed,
        "cutoffs": days,
        "data": log.fingerprint,
        "commit": commit(),
    }
    data = EvaluationData(log, [each.cutoff_data for each in fresh], scores, about, Path(cfg.out))
    sections = {"decay": _write_decay(cfg, data, aged_scores, say)} if list(cfg.ages) else {}
    sections |= champions_section(champions)
    metrics = write_evaluation(data, cfg, say, sections)
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


def closed_by(config: TrainConfig, day: str) -> TrainConfig:
    """Limit a training to label windows that close by a day.

    Parameters
    ----------
    config : TrainConfig
        The training.
    day : str
        ISO date that no training label reaches.

    Returns
    -------
    TrainConfig
        A copy with `data.end` set.
    """
    fold = training_config(config)
    fold.data["end"] = day
    return fold


def _train_and_score(
    cfg: BacktestConfig, days: list[str], scores: ModelScores, champions: dict[str, Champion], say: Say
) -> Iterator[AgedScores]:
    """Train once for every end of labels that a cutoff or an age needs, oldest first; fills scores and champions."""
    ages, baselines = {0, *cfg.ages}, build_baselines(cfg)
    if negative := [age for age in ages if age < 0]:
        raise ConfigurationError(f"ages holds {negative[0]}; give weeks of 0 or more")
    ends = sorted({to_day(day) - WEEK * age for day in days for age in ages})
    for number, end in enumerate(ends):
        date = to_date(end).isoformat()
        say(f"training up to {date}, {number + 1} of {len(ends)}")
        folder = Path(cfg.out) / "folds" / date
        model, task, training_set, log = train(closed_by(cfg, date), folder, reuse=True)
        champion = Champion.load(folder, model)
        for day in days:
            weeks, rest = divmod(to_day(day) - end, WEEK)
            if rest or weeks not in ages:
                continue
            cutoff_data = task.cutoff_data(log, parse_cutoff(log, day, task.horizon), training_set.vocabulary)
            if weeks > 0:
                yield AgedScores(weeks, cutoff_data, predict(model, cutoff_data, NETWORK))
                continue
            known = compared(champion, baselines)
            models = {name: [each] for name, each in champion.predict(cutoff_data).items() if name in known}
            unfitted = {name: each for name, each in baselines.items() if name not in models}
            models |= baseline_scores(unfitted, training_set, [cutoff_data], cfg.seed, say)
            for name, each in models.items():
                scores.setdefault(name, []).extend(each)
            champions[day] = champion
            yield AgedScores(weeks, cutoff_data, models[NETWORK][0])


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
