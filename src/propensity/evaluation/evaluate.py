"""Judging a run: the network and the incumbents at dates that none of them saw, by the same metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from hydra.utils import instantiate

from propensity.atomic import whole_file
from propensity.baseline import Baseline
from propensity.baseline.heuristic import segment, six_month_rule
from propensity.config import BacktestConfig, EvaluateConfig, conf_folder
from propensity.data.cutoff import last_windows, parse_cutoff, require_labels
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError
from propensity.evaluation.predictor import predicted
from propensity.feature.column import CONTEXT_NAMES
from propensity.feature.features import Features
from propensity.metric.declaration import Metric
from propensity.metric.evaluation import evaluate as compare
from propensity.metric.heuristic import compare_heuristics
from propensity.metric.interval import resample_weights
from propensity.metric.labels import Labels, Prediction
from propensity.metric.slice import partition, slices
from propensity.scores import SHARES_FILE, Scores, save_scores, save_shares
from propensity.task import CutoffData, TrainingSet
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.predict import predict_both
from propensity.training.track import log_evaluation

NETWORK = "network"
RESERVED = ("scores", "customers", "channels")  # tables of a run that are no rival's
Say = Callable[[str], None]
Answers = dict[str, list[Scores]]
Evaluation = EvaluateConfig | BacktestConfig  # what names baselines, resamples and seed


class Case(NamedTuple):
    """What is to be judged: a log that knows what came, the dates, every model's answers; and where to leave it."""

    log: EventLog
    cutoffs_data: list[CutoffData]
    answers: Answers
    about: dict[str, Any]
    out: Path


def evaluate_run(
    cfg: EvaluateConfig, say: Say, models: Mapping[str, Any] | None = None, metrics: Sequence[Metric] = ()
) -> dict[str, Any]:
    """Judges `cfg.run` at `cfg.cutoffs` against the incumbents, which are fitted on the run's own training dates.

    Leaves metrics.json, scores.parquet, a Parquet file per incumbent, customers.parquet and, where the network learned
    channels, channels.parquet in the run.
    """
    trained = load_trained(cfg.run)
    log = trained.task.open()
    if log.fingerprint != trained.about["data"]:
        say(
            f"the event log is not the one the run was trained on ({log.fingerprint} now, {trained.about['data']} then)"
        )
    horizon = trained.task.horizon
    cutoffs = cfg.cutoffs if cfg.cutoffs is not None else last_windows(log, horizon, trained.about["last_label"])
    cutoffs_data = [cutoff_data_of(trained, log, day) for day in judged(cutoffs, log, horizon)]
    for cutoff_data in cutoffs_data:
        if cutoff_data.market_stats.cutoff.day < to_day(trained.about["last_label"]):
            cutoff = cutoff_data.market_stats.cutoff
            say(f"cutoff {cutoff} lies before the last training label: its figures are in-sample")
    asked = [predict_both(trained.model, cutoff_data, NETWORK) for cutoff_data in cutoffs_data]
    answers = {NETWORK: [scores for scores, _ in asked]}
    baselines = chosen(cfg)

    @cache
    def training_set() -> TrainingSet:
        say("preparing the training cutoffs of the baselines")
        return replace(trained.task, end=trained.about["end"]).training_set(log)  # the log may have grown since

    if baselines:
        answers |= baseline_scores(baselines, training_set(), cutoffs_data, cfg.seed, say)
    for name, model in {**(cfg.also or {}), **(models or {})}.items():
        if name in (*answers, *RESERVED):
            raise ConfigurationError(f"also.{name} takes the name of another file of the run; give another")
        answers[name] = predicted(name, model, training_set, cutoffs_data, cfg.seed)
    curve = stored_decay(cfg.decay, log, trained.about["config"]["data"])
    case = Case(log, cutoffs_data, answers, trained.about, Path(cfg.run))
    result = judge(case, cfg, say, {"decay": curve} if curve else {}, metrics)
    if shares := [each for _, each in asked if each is not None]:
        save_shares(shares, case.out / SHARES_FILE)
    return result


def stored_decay(file: str | None, log: EventLog, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The lift decay that an experiment measured, if it was on the same data, offers and horizon; else None.

    The fingerprint of the log decides on the data: it names every event, customer and item, and so their source.

    Parameters
    ----------
    file : str or None
        A path from the working directory, or from the folder that holds conf/.
    log : EventLog
        The log that the run is evaluated on.
    data : mapping
        The run's settings of the data, of which `offer` and `horizon` are compared.
    """
    places = [Path(file), conf_folder().parent / file] if file else []
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    curve: dict[str, Any] = json.loads(path.read_text())
    task = {"data": log.fingerprint, "offer": data["offer"], "horizon": data["horizon"]}
    return curve if all(curve["about"][key] == value for key, value in task.items()) else None


def judged(cutoffs: Sequence[str], log: EventLog, horizon: int) -> list[str]:
    """The cutoffs to judge at, as ISO dates, oldest first, each once and with complete labels; else a sentence."""
    if not cutoffs:
        raise ConfigurationError("no cutoff to judge at; give cutoffs=[YYYY-MM-DD,...]")
    days = sorted(str(require_labels(log, parse_cutoff(log, day, horizon))) for day in cutoffs)
    if len(set(days)) < len(days):
        raise ConfigurationError(f"cutoffs names a date twice: {', '.join(days)}; give each once")
    return days


def cutoff_data_of(trained: Trained, log: EventLog, day: str) -> CutoffData:
    """A send date as the trained network sees it."""
    return trained.task.cutoff_data(log, parse_cutoff(log, day, trained.task.horizon), trained.vocabulary)


def chosen(cfg: Evaluation) -> dict[str, Baseline]:
    """The incumbents named in `cfg.baselines` (None: all), built."""
    names = list(cfg.baseline) if cfg.baselines is None else list(cfg.baselines)
    if unknown := [name for name in names if name not in cfg.baseline]:
        raise ConfigurationError(f"no baseline {unknown[0]!r}; baselines holds {', '.join(cfg.baseline)}")
    return {name: instantiate(cfg.baseline[name], _convert_="all") for name in names}


def baseline_scores(
    baselines: Mapping[str, Baseline], training_set: TrainingSet, cutoffs_data: list[CutoffData], seed: int, say: Say
) -> Answers:
    """Fits each incumbent on the examples and asks it at every occasion."""
    answers: Answers = {}
    for name, baseline in baselines.items():
        say(f"fitting {name}")
        baseline.fit(training_set, seed)
        answers[name] = [baseline.predict(cutoff_data) for cutoff_data in cutoffs_data]
    return answers


def judge(case: Case, cfg: Evaluation, say: Say, more: Mapping[str, Any], own: Sequence[Metric] = ()) -> dict[str, Any]:
    """Compares the answers, and leaves scores, customers and metrics, with what is known `more`, in the case's folder.

    Args: cfg, of which `resamples`, `seed`, `metrics` and `heuristics` are read.
    """
    all_labels = [labels(case.log, cutoff_data) for cutoff_data in case.cutoffs_data]
    answers, out = case.answers, case.out
    predictions = {
        name: [Prediction(s.probability, s.revenue, s.mask) for s in found] for name, found in answers.items()
    }
    settings = {"resamples": cfg.resamples, "seed": cfg.seed}
    own = [*own_metrics(cfg.metrics), *own]
    metrics = compare(all_labels, predictions, reference=NETWORK, metrics=own, progress=say, **settings) | dict(more)
    if cfg.heuristics:
        say("holding the rule and the segments against the network")
        metrics["heuristics"] = heuristic_comparisons(case.cutoffs_data, all_labels, predictions[NETWORK], cfg)
    horizon, rows = case.cutoffs_data[0].market_stats.cutoff.horizon, case.log.meta["rows"]
    metrics["run"] = case.about | {"horizon": horizon, "rows": rows, "evaluation": settings}
    metrics["run"]["source"] = case.log.meta.get("source")
    for name, found in answers.items():
        save_scores(found, out / ("scores.parquet" if name == NETWORK else f"{name}.parquet"))
    with whole_file(out / "customers.parquet") as draft:
        customers(case.cutoffs_data[-1]).write_parquet(draft)
    with whole_file(out / "metrics.json") as draft:
        draft.write_text(json.dumps(metrics, indent=1))
    log_evaluation(metrics, case.about["config"]["logger"], out)
    return metrics


def heuristic_comparisons(
    cutoffs_data: Sequence[CutoffData],
    all_labels: Sequence[Labels],
    ours: Sequence[Prediction],
    cfg: Evaluation,
) -> dict[str, Any]:
    """The network against the marketer's rule and against segments, at equal volume: what they leave on the table."""
    weights = resample_weights([each.customer for each in all_labels], cfg.resamples, cfg.seed)
    values = [prediction.value for prediction in ours]
    audiences = {
        "rule": [six_month_rule(cutoff_data) for cutoff_data in cutoffs_data],
        "segment": [segment(cutoff_data, cfg.seed) for cutoff_data in cutoffs_data],
    }
    return {name: compare_heuristics(all_labels, values, chosen, weights) for name, chosen in audiences.items()}


def own_metrics(metrics: Any) -> list[Metric]:
    """The declarations that `metrics`, a list of `_target_`s, stands for: metrics beside the built-in ones."""
    return list(instantiate(metrics or [], _convert_="all"))


def labels(log: EventLog, cutoff_data: CutoffData) -> Labels:
    """What the occasion's customers did in the horizon, and the slices they belonged to before it."""
    features, market_stats, customer = cutoff_data
    past = features.log
    rows = np.searchsorted(log.customer_id, past.customer_id[customer])
    later = Features(log, features.offers, features.vocabulary, features.config).outcomes(market_stats.cutoff, rows)
    pair, person = features.config.pair, features.config.customer
    shape = (customer.size, len(features.offers))
    ever, recent, live = np.empty(shape, bool), np.empty(shape, bool), np.empty(customer.size, bool)
    tenure = np.empty(customer.size)
    for block, known in cutoff_data.blocks():
        ever[block] = np.asarray(known.pair)[:, :, pair.index("purchase_days")] > 0
        recent[block] = np.asarray(known.pair)[:, :, pair.index("days_91")] > 0
        live[block] = np.asarray(known.customer)[:, person.index("orders_28")] > 0
        tenure[block] = np.asarray(known.customer)[:, person.index("tenure")]
    orders = np.maximum.reduceat(past.order, past.offsets[:-1])[customer] + 1
    ids = cutoff_data.customer_id
    masks = slices(ever, recent, live, orders, ids)
    age = market_stats.context[:, CONTEXT_NAMES.index("age")]
    masks |= partition(tenure, live, masks["light"][:, 0], ever, recent, age)
    bought = np.asarray(later.bought) > 0
    return Labels(
        str(market_stats.cutoff), ids, np.array(features.offers.name), bought, np.asarray(later.revenue), masks
    )


def customers(cutoff_data: CutoffData) -> pl.DataFrame:
    """Attributes and activity of every customer as of the occasion, one row each.

    An attribute that is called like a column of ours goes by `given_<name>`.
    """
    features, market_stats, customer = cutoff_data
    log = features.log
    columns = np.concatenate([np.asarray(known.customer) for _, known in cutoff_data.blocks()])
    activity = pl.DataFrame(columns, schema=list(features.config.customer)).drop("masked").fill_nan(None)
    taken = {"customer_id", "cutoff", *activity.columns}
    attributes = log.customers[customer].rename(lambda name: f"given_{name}" if name in taken else name)
    cutoff = pl.lit(to_date(market_stats.cutoff.day)).alias("cutoff")
    named = attributes.rename({"customer": "customer_id"})
    return pl.concat([named, activity], how="horizontal").with_columns(cutoff)
