"""Judging a run: the network and the incumbents at dates that none of them saw, by the same metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

from propensity.atomic import whole_file
from propensity.baseline import Baseline
from propensity.baseline.custom import segment, six_month_rule
from propensity.config import conf_folder
from propensity.data.cutoff import cutoff_of, labelled
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.data.feature import Features
from propensity.data.preparation import Examples, Occasion
from propensity.data.snapshot import CONTEXT
from propensity.errors import ConfigurationError, DataError
from propensity.metric.duel import duel
from propensity.metric.evaluation import evaluate as compare
from propensity.metric.interval import resample_weights
from propensity.metric.slice import partition, slices
from propensity.metric.truth import Prediction, Truth
from propensity.scores import SHARES_FILE, Scores, aligned, load_scores, save_scores, save_shares
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.predict import predict_both
from propensity.training.track import log_judgement

NETWORK = "network"
RESERVED = ("scores", "customers", "channels")  # tables of a run that are no rival's
Say = Callable[[str], None]
Answers = dict[str, list[Scores]]


class Case(NamedTuple):
    """What is to be judged: a log that knows what came, the dates, every model's answers; and where to leave it."""

    log: EventLog
    occasions: list[Occasion]
    answers: Answers
    about: dict[str, Any]
    out: Path


def evaluate_run(cfg: DictConfig, say: Say) -> dict[str, Any]:
    """Judges `cfg.run` at `cfg.cutoffs` against the incumbents, which are fitted on the run's own training dates.

    Leaves metrics.json, scores.parquet, a Parquet file per incumbent, customers.parquet and, where the network learned
    channels, channels.parquet in the run.
    """
    trained = load_trained(cfg.run)
    log = trained.preparation.open()
    if log.fingerprint != trained.about["data"]:
        say(
            f"the event log is not the one the run was trained on ({log.fingerprint} now, {trained.about['data']} then)"
        )
    occasions = [occasion_of(trained, log, day) for day in judged(cfg.cutoffs, log, trained.preparation.horizon)]
    for occasion in occasions:
        if occasion.snapshot.cutoff.day < to_day(trained.about["end"]):
            say(f"cutoff {occasion.snapshot.cutoff} lies before the last training label: its figures are in-sample")
    asked = [predict_both(trained.model, occasion, NETWORK) for occasion in occasions]
    answers = {NETWORK: [scores for scores, _ in asked]}
    baselines = chosen(cfg)
    if baselines:
        say("preparing the incumbents' training dates")
        dated = replace(trained.preparation, end=trained.about["end"])  # the log may have grown since
        answers |= incumbents(baselines, dated.examples(log), occasions, cfg.seed, say)
    for name, path in (cfg.also or {}).items():
        if name in (*answers, *RESERVED):
            raise ConfigurationError(f"also.{name} takes the name of another file of the run; give another")
        answers[name] = foreign(load_scores(path, name), occasions)
    curve = stored_decay(cfg.decay, trained.about["config"]["data"])
    case = Case(log, occasions, answers, trained.about, Path(cfg.run))
    metrics = judge(case, cfg, say, {"decay": curve} if curve else {})
    if shares := [each for _, each in asked if each is not None]:
        save_shares(shares, case.out / SHARES_FILE)
    return metrics


def stored_decay(file: str | None, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The lift decay measured by an experiment, if it was on the same source, offers and horizon; else None.

    Args: file, a path that begins where the command does, or beside conf/.
    """
    places = [Path(file), conf_folder().parent / file] if file else []
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        return None
    curve: dict[str, Any] = json.loads(found.read_text())
    ground = {"source": data["source"]["_target_"], "offer": data["offer"], "horizon": data["horizon"]}
    return curve if all(curve["about"][key] == value for key, value in ground.items()) else None


def foreign(scores: Sequence[Scores], occasions: Sequence[Occasion]) -> list[Scores]:
    """Scores made elsewhere, for the customers and offers of each occasion.

    Raises: ConfigurationError for a date without any, DataError where none is about a pair of the occasion.
    """
    found = {each.cutoff: each for each in scores}
    made = []
    for features, snapshot, customer in occasions:
        if (day := str(snapshot.cutoff)) not in found:
            raise ConfigurationError(f"{scores[0].model} has no scores at {day}, only at {', '.join(found)}")
        made.append(aligned(found[day], features.log.customer_id[customer], features.offers.name))
        if not np.any(made[-1].given):
            raise DataError(f"{made[-1].model} at {day} scores none of the run's pairs; use its customer and offer ids")
    return made


def judged(cutoffs: Sequence[str], log: EventLog, horizon: int) -> list[str]:
    """The cutoffs to judge at, as ISO dates, oldest first, each once and with complete labels; else a sentence."""
    if not cutoffs:
        raise ConfigurationError("no cutoff to judge at; give cutoffs=[YYYY-MM-DD,...]")
    days = sorted(str(labelled(log, cutoff_of(log, day, horizon))) for day in cutoffs)
    if len(set(days)) < len(days):
        raise ConfigurationError(f"cutoffs names a date twice: {', '.join(days)}; give each once")
    return days


def occasion_of(trained: Trained, log: EventLog, day: str) -> Occasion:
    """A send date as the trained network sees it."""
    return trained.preparation.occasion(log, cutoff_of(log, day, trained.preparation.horizon), trained.vocabulary)


def chosen(cfg: DictConfig) -> dict[str, Baseline]:
    """The incumbents named in `cfg.baselines` (None: all), built."""
    names = list(cfg.baseline) if cfg.baselines is None else list(cfg.baselines)
    if unknown := [name for name in names if name not in cfg.baseline]:
        raise ConfigurationError(f"no incumbent {unknown[0]!r}; baselines holds {', '.join(cfg.baseline)}")
    return {name: instantiate(cfg.baseline[name], _convert_="all") for name in names}


def incumbents(
    baselines: Mapping[str, Baseline], examples: Examples, occasions: list[Occasion], seed: int, say: Say
) -> Answers:
    """Fits each incumbent on the examples and asks it at every occasion."""
    answers: Answers = {}
    for name, baseline in baselines.items():
        say(f"fitting {name}")
        baseline.fit(examples, seed)
        answers[name] = [baseline.predict(occasion) for occasion in occasions]
    return answers


def judge(case: Case, cfg: DictConfig, say: Say, more: Mapping[str, Any]) -> dict[str, Any]:
    """Compares the answers, and leaves scores, customers and metrics, with what is known `more`, in the case's folder.

    Args: cfg, of which `resamples`, `seed` and `duel` are read.
    """
    truths = [truth(case.log, occasion) for occasion in case.occasions]
    answers, out = case.answers, case.out
    predictions = {
        name: [Prediction(s.probability, s.revenue, s.given) for s in found] for name, found in answers.items()
    }
    settings = {"resamples": cfg.resamples, "seed": cfg.seed}
    metrics = compare(truths, predictions, reference=NETWORK, progress=say, **settings) | dict(more)
    if cfg.duel:
        say("holding the rule and the segments against the network")
        metrics["duel"] = duels(case.occasions, truths, predictions[NETWORK], cfg)
    horizon, rows = case.occasions[0].snapshot.cutoff.horizon, case.log.meta["rows"]
    metrics["run"] = case.about | {"horizon": horizon, "rows": rows, "evaluation": settings}
    for name, found in answers.items():
        save_scores(found, out / ("scores.parquet" if name == NETWORK else f"{name}.parquet"))
    with whole_file(out / "customers.parquet") as draft:
        customers(case.occasions[-1]).write_parquet(draft)
    with whole_file(out / "metrics.json") as draft:
        draft.write_text(json.dumps(metrics, indent=1))
    log_judgement(metrics, case.about["config"]["training"]["logger"], out)
    return metrics


def duels(
    occasions: Sequence[Occasion], truths: Sequence[Truth], ours: Sequence[Prediction], cfg: DictConfig
) -> dict[str, Any]:
    """The network against the marketer's rule and against segments, at equal volume: what they leave on the table."""
    weights = resample_weights([each.customer for each in truths], cfg.resamples, cfg.seed)
    values = [prediction.value for prediction in ours]
    audiences = {
        "rule": [six_month_rule(occasion) for occasion in occasions],
        "segment": [segment(occasion, cfg.seed) for occasion in occasions],
    }
    return {name: duel(truths, values, chosen, weights) for name, chosen in audiences.items()}


def truth(log: EventLog, occasion: Occasion) -> Truth:
    """What the occasion's customers did in the horizon, and the slices they belonged to before it."""
    features, snapshot, customer = occasion
    past = features.log
    rows = np.searchsorted(log.customer_id, past.customer_id[customer])
    later = Features(log, features.offers, features.vocabulary, features.rule).outcomes(snapshot.cutoff, rows)
    pair, person = features.rule.pair, features.rule.customer
    shape = (customer.size, len(features.offers))
    ever, recent, live = np.empty(shape, bool), np.empty(shape, bool), np.empty(customer.size, bool)
    tenure = np.empty(customer.size)
    for block, known in occasion.blocks():
        ever[block] = np.asarray(known.pair)[:, :, pair.index("days_bought")] > 0
        recent[block] = np.asarray(known.pair)[:, :, pair.index("days_91")] > 0
        live[block] = np.asarray(known.customer)[:, person.index("orders_28")] > 0
        tenure[block] = np.asarray(known.customer)[:, person.index("tenure")]
    orders = np.maximum.reduceat(past.order, past.offsets[:-1])[customer] + 1
    ids = occasion.customer_id
    masks = slices(ever, recent, live, orders, ids)
    age = snapshot.context[:, CONTEXT.index("age")]
    masks |= partition(tenure, live, masks["light"][:, 0], ever, recent, age)
    bought = np.asarray(later.bought) > 0
    return Truth(str(snapshot.cutoff), ids, np.array(features.offers.name), bought, np.asarray(later.revenue), masks)


def customers(occasion: Occasion) -> pl.DataFrame:
    """Attributes and activity of every customer as of the occasion, one row each.

    An attribute that is called like a column of ours goes by `given_<name>`.
    """
    features, snapshot, customer = occasion
    log = features.log
    columns = np.concatenate([np.asarray(known.customer) for _, known in occasion.blocks()])
    activity = pl.DataFrame(columns, schema=list(features.rule.customer)).drop("hidden").fill_nan(None)
    taken = {"customer_id", "cutoff", *activity.columns}
    attributes = log.customers[customer].rename(lambda name: f"given_{name}" if name in taken else name)
    cutoff = pl.lit(to_date(snapshot.cutoff.day)).alias("cutoff")
    named = attributes.rename({"customer": "customer_id"})
    return pl.concat([named, activity], how="horizontal").with_columns(cutoff)
