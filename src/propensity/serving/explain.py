"""Explains scores of a run or a bundle: of one customer, of a sample, and of the rows of a decision."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.atomic import whole_file
from propensity.champion.champion import Champion
from propensity.config import DecideConfig, ExplainConfig
from propensity.data.batch import Inputs
from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import META, EventLog
from propensity.data.score_file import folder_of_scores, run_of_scores, scored_log, scoring_model
from propensity.decision.result import DecisionResult
from propensity.errors import ConfigurationError
from propensity.explain.coalition import LogOdds
from propensity.explain.model import log_odds_of
from propensity.explain.opened import OpenedCutoff, of_run
from propensity.explain.reasons import Explainer, Reason, Reasons
from propensity.explain.reliance import reliance
from propensity.serving.bundle import open_bundle
from propensity.serving.verify import MANIFEST, run_session
from propensity.training.checkpoint import FILE, load_trained

PAIR = {"customer_id", "offer_id"}


def bundle_log_odds(session: Any) -> LogOdds:
    """The served model of a bundle.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Of model.onnx. The faster scorers take rows without purchases for rows of a never-bought offer, and do not fit
        inputs of coalitions.
    """

    def log_odds(inputs: Inputs) -> np.ndarray:
        return log_odds_of(run_session(session, inputs._asdict())["probability"])

    return log_odds


def open_cutoff(folder: str | Path, cutoff: str, log: str | None = None) -> OpenedCutoff:
    """Open a run or a bundle at a cutoff.

    Parameters
    ----------
    folder : str or Path
        Of the run, or of an exported bundle.
    cutoff : str
        ISO date.
    log : str, optional
        Folder of the event log; None: that of the run.

    Raises
    ------
    ConfigurationError
        If the folder holds neither, or the cutoff does not fit the log.
    """
    if (Path(folder) / MANIFEST).is_file():
        bundle = open_bundle(folder)
        events = bundle.task.open() if log is None else EventLog.open(log)
        features, market_stats = bundle.features_at(events, bundle.cutoff(events, cutoff))
        log_odds, others = bundle_log_odds(bundle.session()), "frequency" in bundle.candidates
        rows = bundle.task.scored_rows(features.log, market_stats.cutoff.day)
        return OpenedCutoff(
            Explainer(log_odds, features, market_stats, others, features.log.meta.get("currency")), rows
        )
    trained = load_trained(folder)
    events = trained.task.open() if log is None else EventLog.open(log)
    date = parse_cutoff(events, cutoff, trained.task.horizon)
    champion = Champion.load(folder, trained.model)
    return of_run(champion, trained.task.cutoff_data(events, date, trained.vocabulary))


class Explained(NamedTuple):
    """What the command found.

    Attributes
    ----------
    reasons : Reasons or None
        Of one customer and offer; None without a customer.
    largest : list of Reason
        The reasons that are shown.
    section : dict or None
        Result of `reliance`; None where no customers are sampled.
    """

    reasons: Reasons | None
    largest: list[Reason]
    section: dict[str, Any] | None


def explain(cfg: ExplainConfig, say: Callable[[str], None]) -> Explained:
    """Explain one score, and write what the model relies on.

    Parameters
    ----------
    cfg : ExplainConfig
        Composed configuration of conf/explain.yaml.
    say : callable
        Receives messages about progress.

    Raises
    ------
    ConfigurationError
        If not exactly one of `run` and `bundle` is set, or a number is too small.
    """
    if (cfg.run is None) == (cfg.bundle is None):
        raise ConfigurationError("explain either a run or a bundle; give run=runs/demo or bundle=bundle")
    if cfg.reasons < 1 or cfg.customers < 0:
        raise ConfigurationError(f"reasons={cfg.reasons} must be at least 1, and customers={cfg.customers} at least 0")
    if cfg.offer is not None and cfg.customer is None:
        raise ConfigurationError(f"offer={cfg.offer} needs a customer; give customer=<id>")
    opened = open_cutoff(cfg.run or cfg.bundle or "", cfg.cutoff, cfg.log)
    reasons = None if cfg.customer is None else of_customer(opened, str(cfg.customer), cfg.offer)
    section = None
    if cfg.customers:
        say(f"explaining scores of {cfg.customers} customers")
        section = reliance(opened, cfg.customers, cfg.seed)
        with whole_file(cfg.out) as draft:
            draft.write_text(json.dumps(section, indent=1))
    return Explained(reasons, [] if reasons is None else reasons.largest(cfg.reasons), section)


def of_customer(opened: OpenedCutoff, customer: str, offer: str | None) -> Reasons:
    """Reasons of a customer's score of an offer; None: of the highest score."""
    if offer is not None:
        return opened.explain(customer, offer)
    inputs = opened.inputs(opened.require(customer))
    return opened.explainer.explain(inputs, 0, int(np.argmax(opened.explainer.log_odds(inputs)[0])))


Open = Callable[[str | Path, str, str | None], OpenedCutoff]


def with_reasons(
    result: DecisionResult,
    cutoff: str,
    cfg: DecideConfig,
    say: Callable[[str], None],
    opened_by: Open = open_cutoff,
) -> DecisionResult:
    """A decision whose tables of customers and offers say why.

    Parameters
    ----------
    result : DecisionResult
        The decision.
    cutoff : str
        ISO date of its scores.
    cfg : DecideConfig
        `reasons`, `reasons_from`, `scores` and `log` are read.
    say : callable
        Receives messages about progress.
    opened_by : callable
        As `open_cutoff`; one that keeps what it opened serves several decisions.

    Returns
    -------
    DecisionResult
        The same where `reasons` is null. Else tables with `customer_id` and `offer_id` have the columns `base_value`,
        `reasons` and `why` in addition.

    Raises
    ------
    ConfigurationError
        If `reasons` is below 1, no table has customers and offers, or there is neither a run nor a bundle.
    """
    if cfg.reasons is None:
        return result
    if (count := cfg.reasons) < 1:
        raise ConfigurationError(f"reasons={count} is below 1; give 1 or more, or null")
    tables = {result.name: result.table, **result.extra_tables}
    lists = {name: table for name, table in tables.items() if set(table.columns) >= PAIR}
    if not lists:
        raise ConfigurationError(f"decision {result.name} lists no customers with offers; leave out reasons={count}")
    folder = Path(cfg.reasons_from) if cfg.reasons_from is not None else _model_of(cfg.scores)
    if not any((folder / name).is_file() for name in (FILE, MANIFEST)):
        where = f"the folder of {cfg.scores}" if cfg.reasons_from is None else f"reasons_from={cfg.reasons_from}"
        raise ConfigurationError(
            f"reasons={count} needs the run or the bundle that wrote the scores, and {where} is neither; add "
            "reasons_from=<folder of the run or of the bundle>"
        )
    stored = scored_log(cfg.scores)
    log = stored if cfg.log is None and stored is not None and (Path(stored) / META).is_file() else cfg.log
    opened = opened_by(folder, cutoff, log)
    explained = {name: explain_list(table, opened, count, say) for name, table in lists.items()}
    extra = {name: explained.get(name, table) for name, table in result.extra_tables.items()}
    return replace(result, table=explained.get(result.name, result.table), extra_tables=extra)


def _model_of(scores: str) -> Path:
    """The run or bundle that scores come from: their own folder, else the one that they name."""
    named, beside = scoring_model(scores), folder_of_scores(scores)
    places = [beside, run_of_scores(scores), *([] if named is None else [named])]
    return next((each for each in places if any((each / n).is_file() for n in (FILE, MANIFEST))), places[1])


def explain_list(table: pl.DataFrame, opened: OpenedCutoff, count: int, say: Callable[[str], None]) -> pl.DataFrame:
    """A table with reasons."""
    say(f"explaining {table.height:,} rows")
    return table.hstack(opened.explain_table(table, count))
