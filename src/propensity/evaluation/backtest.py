"""One model per send date, each trained only on label windows that closed by then; and models left to grow old."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from hydra.utils import instantiate

from propensity.atomic import whole_file
from propensity.config import BacktestConfig, TrainConfig, training_config
from propensity.data.cutoff import last_windows, parse_cutoff
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError
from propensity.evaluation.evaluate import NETWORK, Answers, Case, Say, baseline_scores, chosen, judge, judged, labels
from propensity.metric.decay import lift_decay
from propensity.metric.labels import Prediction
from propensity.scores import Scores
from propensity.task import CutoffData
from propensity.training.predict import predict
from propensity.training.run import commit, train

WEEK = 7


class AgedScores(NamedTuple):
    """A network trained on what closed by some day, asked at a send date `weeks` later."""

    weeks: int
    cutoff_data: CutoffData
    scores: Scores


def backtest(cfg: BacktestConfig, say: Say) -> dict[str, Any]:
    """Trains the network and the incumbents anew for every cutoff, and judges them together.

    With `cfg.ages`, networks trained so many weeks before each cutoff are asked as well, and what they lose against the
    fresh one is the lift decay. A fold that was finished with the same code, configuration and data is not trained
    again. Leaves scores.parquet, a Parquet file per incumbent, metrics.json, decay.json and a run folder per training
    date in `cfg.out`.
    """
    log = instantiate(cfg.data, _convert_="all").open()
    days = judged(send_dates(cfg, log), log, cfg.data["horizon"])
    answers: Answers = {}
    asked = list(_asked(cfg, days, answers, say))
    fresh = [each for each in asked if each.weeks == 0]
    answers = {NETWORK: [each.scores for each in fresh], **answers}
    about = {
        "config": asdict(cfg),
        "seed": cfg.seed,
        "cutoffs": days,
        "data": log.fingerprint,
        "commit": commit(),
    }
    case = Case(log, [each.cutoff_data for each in fresh], answers, about, Path(cfg.out))
    more = {"decay": _decay(cfg, case, asked, say)} if list(cfg.ages) else {}
    return judge(case, cfg, say, more)


def send_dates(cfg: BacktestConfig, log: EventLog) -> list[str]:
    """`cfg.cutoffs`, or `cfg.folds` dates `cfg.step` days apart, or the last label windows of the log."""
    if cfg.folds is not None and cfg.cutoffs is not None:
        raise ConfigurationError("give cutoffs=[YYYY-MM-DD,...], or folds=<number> with step=<days>, and not both")
    if cfg.folds is None:
        return list(cfg.cutoffs) if cfg.cutoffs is not None else last_windows(log, cfg.data["horizon"])
    if cfg.folds < 1 or cfg.step < 1:
        raise ConfigurationError(f"folds={cfg.folds} and step={cfg.step} make no send dates; give 1 or more of each")
    last = log.last_day + 1 - cfg.data["horizon"]
    return [to_date(last - cfg.step * fold).isoformat() for fold in reversed(range(cfg.folds))]


def closed_by(config: TrainConfig, day: str) -> TrainConfig:
    """The training whose label windows close by `day`: its last cutoff lies a horizon before it."""
    fold = training_config(config)
    fold.data["end"] = day
    return fold


def _asked(cfg: BacktestConfig, days: list[str], answers: Answers, say: Say) -> Iterator[AgedScores]:
    """Trains once for every day that a send date or an age asks for, oldest first; fills the incumbents' answers."""
    ages, baselines = {0, *cfg.ages}, chosen(cfg)
    if bad := [age for age in ages if age < 0]:
        raise ConfigurationError(f"ages holds {bad[0]}; give weeks of 0 or more")
    ends = sorted({to_day(day) - WEEK * age for day in days for age in ages})
    for number, end in enumerate(ends):
        date = to_date(end).isoformat()
        say(f"training up to {date}, {number + 1} of {len(ends)}")
        model, task, training_set, log = train(closed_by(cfg, date), Path(cfg.out) / "folds" / date, reuse=True)
        for day in days:
            weeks, rest = divmod(to_day(day) - end, WEEK)
            if rest or weeks not in ages:
                continue
            cutoff_data = task.cutoff_data(log, parse_cutoff(log, day, task.horizon), training_set.vocabulary)
            yield AgedScores(weeks, cutoff_data, predict(model, cutoff_data, NETWORK))
            if weeks == 0:
                for name, scores in baseline_scores(baselines, training_set, [cutoff_data], cfg.seed, say).items():
                    answers.setdefault(name, []).extend(scores)


def _decay(cfg: BacktestConfig, case: Case, asked: list[AgedScores], say: Say) -> dict[str, Any]:
    """The lift decay, also left as decay.json, with what it was measured on."""
    say("measuring how lift decays")
    aged: dict[int, list[Prediction]] = {}
    for each in sorted(asked, key=lambda each: each.scores.cutoff):
        aged.setdefault(each.weeks, []).append(Prediction(each.scores.probability, each.scores.revenue))
    all_labels = [labels(case.log, cutoff_data) for cutoff_data in case.cutoffs_data]
    data = case.about["config"]["data"]
    task = {"source": case.log.meta.get("source"), "offer": data["offer"], "horizon": data["horizon"]}
    about = {"data": case.log.fingerprint, "commit": case.about["commit"], **task}
    made = lift_decay(all_labels, aged, cfg.resamples, cfg.seed) | {"about": about}
    with whole_file(case.out / "decay.json") as draft:
        draft.write_text(json.dumps(made, indent=1) + "\n")
    return made
