"""Evaluation of a run: the network and the baselines at cutoffs after training, on the same pairs and metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from hydra.utils import instantiate

from propensity.atomic import whole_file
from propensity.baseline import Baseline, chosen_names
from propensity.baseline.heuristic import segment, six_month_rule
from propensity.champion.champion import NETWORK, SERVED, Champion
from propensity.champion.choose import STACK
from propensity.config import BacktestConfig, EvaluateConfig, conf_folder
from propensity.data.cutoff import last_windows, parse_cutoff, require_labels
from propensity.data.event_log import EventLog, to_date
from propensity.data.table_file import write_table
from propensity.engine.block import BLOCKS
from propensity.errors import ConfigurationError, OneClassError
from propensity.evaluation.data_sheet import data_sheet_facts, not_product_warnings
from propensity.evaluation.labels import labels, same_slices
from propensity.evaluation.predict_job import predict_in_blocks
from propensity.evaluation.predictor import score_model
from propensity.explain.opened import of_run
from propensity.explain.reliance import reliance
from propensity.metric.declaration import Metric
from propensity.metric.evaluation import evaluate
from propensity.metric.heuristic import compare_heuristics
from propensity.metric.interval import resample_weights
from propensity.metric.labels import Labels, Prediction
from propensity.metric.warning import in_sample, merged
from propensity.scores import SHARES_FILE, Scores, save_scores, save_shares, with_consents
from propensity.task import CutoffData, TrainingSet
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.curve import SUMMARY
from propensity.training.track import log_evaluation

CANDIDATES = (NETWORK, STACK, SERVED)  # models of ours, which are no baselines
RESERVED = ("scores", "customers", "channels", SERVED)  # tables of a run that hold no scores of a baseline
Say = Callable[[str], None]
ModelScores = dict[str, list[Scores]]  # model name to its scores at each cutoff
EvaluationConfig = EvaluateConfig | BacktestConfig


class EvaluationData(NamedTuple):
    """Everything that the metrics of an evaluation are computed from.

    Parameters
    ----------
    log : EventLog
        A log that covers the horizons of all cutoffs.
    cutoffs_data : list of CutoffData
        Cutoffs, oldest first.
    scores : dict of str to list of Scores
        Model name to its scores at each cutoff.
    about : dict
        Configuration, data fingerprint and versions of the run; written to metrics.json.
    out : Path
        Folder for the results.
    """

    log: EventLog
    cutoffs_data: list[CutoffData]
    scores: ModelScores
    about: dict[str, Any]
    out: Path


def evaluate_run(
    cfg: EvaluateConfig, say: Say, models: Mapping[str, Any] | None = None, metrics: Sequence[Metric] = ()
) -> dict[str, Any]:
    """Evaluate a run, the baselines and further models at cutoffs after training.

    Parameters
    ----------
    cfg : EvaluateConfig
        Run, cutoffs, baselines and bootstrap.
    say : callable
        Called with a sentence of progress.
    models : mapping, optional
        Models of your own by name, beside those of `cfg.also`; see `propensity.evaluation.predictor.score_model`.
    metrics : sequence of Metric
        Metrics of your own, beside those of `cfg.metrics`.

    Returns
    -------
    dict
        The content of metrics.json; see `propensity.metric.evaluation.evaluate`.

    Raises
    ------
    ConfigurationError
        For a cutoff without complete labels, an unknown baseline, or a model name that is taken.

    Notes
    -----
    The candidates of the run are those that were fitted with it; other baselines are fitted on its training cutoffs.
    The folder of the run receives metrics.json, scores.parquet, a Parquet file of scores per other model,
    customers.parquet and, where the network predicts channels, channels.parquet.
    """
    if cfg.requests is not None:
        raise ConfigurationError("requests are evaluated by propensity evaluate; leave them out, or run that command")
    trained = load_trained(cfg.run)
    log = trained.task.open()
    if log.fingerprint != trained.about["data"]:
        say(
            f"the event log is not the one the run was trained on ({log.fingerprint} now, {trained.about['data']} then)"
        )
    horizon = trained.task.horizon
    cutoffs = cfg.cutoffs if cfg.cutoffs is not None else last_windows(log, horizon, trained.about["last_label"])
    cutoffs_data = [cutoff_data_of(trained, log, day) for day in evaluation_cutoffs(cutoffs, log, horizon)]
    champion = Champion.load(cfg.run, trained.model)
    engine, blocks = instantiate(cfg.engine), Path(cfg.run) / BLOCKS
    predictions = predict_in_blocks(cfg.run, champion, log, cutoffs_data, engine, blocks, say)
    baselines = build_baselines(cfg)
    wanted = [name for name in predictions[0][0] if name in compared(champion, baselines)]
    scores = {name: [models[name] for models, _ in predictions] for name in wanted}

    @cache
    def training_set() -> TrainingSet:
        say("preparing the training cutoffs of the baselines")
        return replace(trained.task, end=trained.about["end"]).training_set(log)  # the log may have grown since

    if unfitted := {name: each for name, each in baselines.items() if name not in champion.candidates}:
        scores |= baseline_scores(unfitted, training_set(), cutoffs_data, cfg.seed, say)
    for name, model in {**(cfg.also or {}), **(models or {})}.items():
        if name in (*scores, *RESERVED):
            raise ConfigurationError(f"also.{name} takes the name of another file of the run; give another")
        scores[name] = score_model(name, model, training_set, cutoffs_data, cfg.seed)
    curve = stored_decay(cfg.decay, log, trained.about["config"]["data"])
    data = EvaluationData(log, cutoffs_data, scores, trained.about, Path(cfg.run))
    sections = ({"decay": curve} if curve else {}) | champion_section(champion)
    if cfg.reliance:
        say(f"explaining scores of {cfg.reliance} customers")
        sections["reliance"] = reliance(of_run(champion, cutoffs_data[-1]), cfg.reliance, cfg.seed)
    result = write_evaluation(data, cfg, say, sections, metrics)
    if shares := [channel_shares for _, channel_shares in predictions if channel_shares is not None]:
        save_shares(shares, data.out / SHARES_FILE)
    return result


def compared(champion: Champion, baselines: Iterable[str]) -> tuple[str, ...]:
    """Models that an evaluation compares; a network without candidates is the champion, and stands there once."""
    return (*(CANDIDATES if champion.candidates else (NETWORK,)), *baselines)


def champion_section(champion: Champion) -> dict[str, Any]:
    """The section of metrics.json on the served model and its candidates; empty for a network without any."""
    if not champion.candidates:
        return {}
    record = champion.record()
    return {"champion": {"name": record["champion"], "reason": record["why"]} | _without(record, "champion", "why")}


def _without(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def stored_decay(file: str | None, log: EventLog, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Load a stored lift decay if it was measured on the same log, offers and horizon.

    Parameters
    ----------
    file : str or None
        A path from the working directory, or from the folder that holds conf/.
    log : EventLog
        The log that the run is evaluated on.
    data : mapping
        The run's settings of the data, of which `offer` and `horizon` are compared.

    Returns
    -------
    dict or None
        The lift decay; None if there is no such file or it was measured on something else.

    Notes
    -----
    Logs are compared by their fingerprint, which depends on every event, customer and item.
    """
    places = [Path(file), conf_folder().parent / file] if file else []
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    curve: dict[str, Any] = json.loads(path.read_text())
    task = {"data": log.fingerprint, "offer": data["offer"], "horizon": data["horizon"]}
    return curve if all(curve["about"][key] == value for key, value in task.items()) else None


def evaluation_cutoffs(cutoffs: Sequence[str], log: EventLog, horizon: int) -> list[str]:
    """Check the cutoffs of an evaluation and sort them.

    Parameters
    ----------
    cutoffs : sequence of str
        ISO dates.
    log : EventLog
        The log that gives the labels.
    horizon : int
        Days in which a purchase counts.

    Returns
    -------
    list of str
        ISO dates, oldest first.

    Raises
    ------
    ConfigurationError
        If there is no cutoff, one is given twice, or its labels are not complete.
    """
    if not cutoffs:
        raise ConfigurationError("no cutoff to evaluate; give cutoffs=[YYYY-MM-DD,...]")
    days = sorted(str(require_labels(log, parse_cutoff(log, day, horizon))) for day in cutoffs)
    if len(set(days)) < len(days):
        raise ConfigurationError(f"cutoffs names a date twice: {', '.join(days)}; give each once")
    return days


def cutoff_data_of(trained: Trained, log: EventLog, day: str) -> CutoffData:
    """Prepare a cutoff with the task and the vocabulary of a trained network.

    Parameters
    ----------
    trained : Trained
        The network with its task.
    log : EventLog
        The log.
    day : str
        ISO date of the cutoff.

    Returns
    -------
    CutoffData
        Customers, active offers and features at the cutoff.
    """
    return trained.task.cutoff_data(log, parse_cutoff(log, day, trained.task.horizon), trained.vocabulary)


def build_baselines(cfg: EvaluationConfig) -> dict[str, Baseline]:
    """Instantiate the baselines that `cfg.baselines` names; None names all of `cfg.baseline`.

    Raises
    ------
    ConfigurationError
        For a name that `cfg.baseline` does not define.
    """
    names = chosen_names(cfg.baseline, cfg.baselines)
    return {name: instantiate(cfg.baseline[name], _convert_="all") for name in names}


def baseline_scores(
    baselines: Mapping[str, Baseline], training_set: TrainingSet, cutoffs_data: list[CutoffData], seed: int, say: Say
) -> ModelScores:
    """Fit each baseline on the training set and score every cutoff.

    Parameters
    ----------
    baselines : mapping of str to Baseline
        Baselines by name.
    training_set : TrainingSet
        Training cutoffs.
    cutoffs_data : list of CutoffData
        Cutoffs to score.
    seed : int
        Seed of the fits.
    say : callable
        Called with a sentence before each fit.

    Returns
    -------
    dict of str to list of Scores
        Name to the scores at each cutoff, without baselines that the training windows give no purchase to learn from.
    """
    scores: ModelScores = {}
    for name, baseline in baselines.items():
        say(f"fitting {name}")
        try:
            baseline.fit(training_set, seed)
        except OneClassError as error:
            say(f"{name} is left out: {error}")
            continue
        scores[name] = [baseline.predict(cutoff_data) for cutoff_data in cutoffs_data]
    return scores


def write_evaluation(
    data: EvaluationData,
    cfg: EvaluationConfig,
    say: Say,
    sections: Mapping[str, Any],
    metrics: Sequence[Metric] = (),
) -> dict[str, Any]:
    """Compute all metrics, and write metrics.json, the scores of each model and customers.parquet.

    Parameters
    ----------
    data : EvaluationData
        Log, cutoffs, scores and folder.
    cfg : EvaluateConfig or BacktestConfig
        `resamples`, `seed`, `metrics`, `heuristics` and the baselines are read.
    say : callable
        Called with a sentence of progress.
    sections : mapping
        Further sections of metrics.json by name, such as `decay`. `champion` holds the `name` of the served model and
        the `reason`; without it the network is served.
    metrics : sequence of Metric
        Metrics of your own, beside those of `cfg.metrics`.

    Returns
    -------
    dict
        The content of metrics.json.
    """
    all_labels = same_slices([labels(data.log, cutoff_data) for cutoff_data in data.cutoffs_data])
    predictions = {
        name: [Prediction(each.probability, each.revenue, each.mask) for each in scores]
        for name, scores in data.scores.items()
    }
    metrics = [*own_metrics(cfg.metrics), *metrics]
    served = SERVED if "champion" in sections else NETWORK
    baselines = [name for name in predictions if name not in CANDIDATES]
    constant = [name for name, each in build_baselines(cfg).items() if getattr(each, "constant", False)]
    result = evaluate(
        all_labels,
        predictions,
        reference=served,
        resamples=cfg.resamples,
        seed=cfg.seed,
        metrics=metrics,
        baselines=baselines,
        constant=constant,
        progress=say,
    )
    result |= dict(sections)
    result["warnings"] = merged(
        training_warnings(data.out, list(result["counts"])),
        in_sample(result["counts"], data.about.get("last_label")),
        result["warnings"],
        not_product_warnings(data.log),
    )
    if cfg.heuristics:
        say("comparing with the heuristics")
        result["heuristics"] = heuristic_comparisons(data.cutoffs_data, all_labels, predictions[served], cfg)
    horizon, rows = data.cutoffs_data[0].market_stats.cutoff.horizon, data.log.meta["rows"]
    result["run"] = data.about | {
        "horizon": horizon,
        "rows": rows,
        "evaluation": {"resamples": cfg.resamples, "seed": cfg.seed},
    }
    result["run"] |= {key: data.log.meta.get(key) for key in ("source", "currency")}
    result["run"]["log"] = data_sheet_facts(data.log)
    for name, scores in data.scores.items():
        notes = result["warnings"] if name == served else ()
        path = data.out / ("scores.parquet" if name == served else f"{name}.parquet")
        places = [(each.features.log, each.row) for each in data.cutoffs_data]
        own = [with_consents(table, *place) for table, place in zip(scores, places, strict=True)]
        save_scores(own, path, notes, data.log.folder)
    with whole_file(data.out / "customers.parquet") as draft:
        write_table(customer_table(data.cutoffs_data[-1]), draft)
    with whole_file(data.out / "metrics.json") as draft:
        draft.write_text(json.dumps(result, indent=1))
    log_evaluation(result, data.about["config"]["logger"], data.out)
    return result


def training_warnings(folder: Path, cutoffs: Sequence[str]) -> list[str]:
    """Read the warnings of the trainings in a folder.

    Parameters
    ----------
    folder : Path
        A run, or a backtest with a run per cutoff.
    cutoffs : sequence of str
        ISO dates of the evaluation.

    Returns
    -------
    list of str
        `warnings` of each training.json, each sentence once; empty without the file or the key.
    """
    files = [folder / SUMMARY, *(folder / "folds" / cutoff / SUMMARY for cutoff in cutoffs)]
    return merged(*(json.loads(file.read_text()).get("warnings", []) for file in files if file.is_file()))


def heuristic_comparisons(
    cutoffs_data: Sequence[CutoffData],
    all_labels: Sequence[Labels],
    predictions: Sequence[Prediction],
    cfg: EvaluationConfig,
) -> dict[str, Any]:
    """Compare the served model with the six-month rule and with segments, at equal numbers of customers.

    Parameters
    ----------
    cutoffs_data : sequence of CutoffData
        Cutoffs.
    all_labels : sequence of Labels
        Labels at each cutoff.
    predictions : sequence of Prediction
        The served model's predictions at each cutoff.
    cfg : EvaluateConfig or BacktestConfig
        `resamples` and `seed` are read.

    Returns
    -------
    dict
        Results of `propensity.metric.heuristic.compare_heuristics` under `rule` and `segment`.
    """
    weights = resample_weights([each.customer for each in all_labels], cfg.resamples, cfg.seed)
    values = [prediction.value for prediction in predictions]
    audiences = {
        "rule": [six_month_rule(cutoff_data) for cutoff_data in cutoffs_data],
        "segment": [segment(cutoff_data, cfg.seed) for cutoff_data in cutoffs_data],
    }
    return {name: compare_heuristics(all_labels, values, audience, weights) for name, audience in audiences.items()}


def own_metrics(metrics: Any) -> list[Metric]:
    """Instantiate metrics of your own from a list of `_target_`s; None gives an empty list."""
    return list(instantiate(metrics or [], _convert_="all"))


def customer_table(cutoff_data: CutoffData) -> pl.DataFrame:
    """Collect the attributes and the customer columns of every customer at a cutoff.

    Parameters
    ----------
    cutoff_data : CutoffData
        N customers.

    Returns
    -------
    DataFrame
        One row per customer: `customer_id`, attributes, customer columns of the inputs and `cutoff`. An attribute with
        the name of another column is called `given_<name>`.
    """
    features, market_stats, row = cutoff_data
    values = np.concatenate([np.asarray(inputs.customer_features) for _, inputs in cutoff_data.blocks()])
    activity = pl.DataFrame(values, schema=list(features.config.customer)).drop("masked").fill_nan(None)
    taken = {"customer_id", "cutoff", *activity.columns}
    attributes = features.log.customers[row].rename(lambda name: f"given_{name}" if name in taken else name)
    cutoff = pl.lit(to_date(market_stats.cutoff.day)).alias("cutoff")
    identified = attributes.rename({"customer": "customer_id"})
    return pl.concat([identified, activity], how="horizontal").with_columns(cutoff)
