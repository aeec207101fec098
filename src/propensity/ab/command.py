"""From the settings of `analyse`, `uplift`, `policy` and `learn` to folders; a refusal is written, then raised."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.ab.contacts import experiment_table
from propensity.ab.drawn import contacts_of_log, contacts_of_table
from propensity.ab.factorial import cells_of_columns
from propensity.ab.fatigue import NOT_SENT, fatigue_of_arms, fatigue_of_contacts
from propensity.ab.learn import learn
from propensity.ab.learner import LEARNERS, OF_MESSAGES
from propensity.ab.policy import PolicyRules
from propensity.ab.sent import entered
from propensity.ab.table import Columns, Experiment, RefusedError, experiment_of, read_data
from propensity.ab.uplift import UpliftRules
from propensity.atomic import holds_other, whole_folder
from propensity.config import AbConfig, FatigueConfig, LearnConfig, PolicyConfig, UpliftConfig
from propensity.data.contact import sent_messages
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError
from propensity.ingest.rule.matching import rows_of
from propensity.scores import Scores, load_scores


def experiment_from(cfg: AbConfig, kind: str) -> Experiment:
    """The checked experiment; a refusal of the table itself leaves `<kind>.json` with the reason."""
    if getattr(cfg, "messages", None) is not None and not isinstance(cfg, FatigueConfig):
        raise ConfigurationError("messages are joined to a run; give run=<folder>, or a table or a log instead")
    columns = Columns(
        arm=cfg.arm,
        control="" if cfg.control is None else str(cfg.control),
        outcomes=list(cfg.outcomes),
        covariates=list(cfg.covariates),
        before=list(cfg.before),
        customer=cfg.customer,
        probability=cfg.probability,
        experiment=cfg.experiments,
        sent=cfg.sent,
        happened=cfg.happened,
        shares=dict(cfg.shares),
        name=cfg.name,
    )
    try:
        table, columns = _table(cfg, columns)
        return experiment_of(table, columns)
    except RefusedError as error:
        write(cfg.out, kind, refused(str(error)), pl.DataFrame())
        raise


def fatigue_from(cfg: FatigueConfig) -> dict[str, Any]:
    """The effect of the n-th message from arms with different numbers, or from contacts that were drawn one by one."""
    try:
        if cfg.arms is None and cfg.messages is None:
            return fatigue_of_contacts(*_drawn(cfg))
        if cfg.messages is not None and cfg.log is None:
            counted = replace(cfg, outcomes=[*cfg.outcomes, cfg.messages])
            experiment = experiment_from(counted, "fatigue")
            messages = experiment.outcomes.pop(cfg.messages)
            return fatigue_of_arms(experiment, messages)
        if cfg.log is None or cfg.cutoff is None:
            raise ConfigurationError(
                "arms need the messages of a log; give log=<folder> and cutoff=<date>, or messages"
            )
        experiment = experiment_from(cfg, "fatigue")
        first = to_day(cfg.cutoff)
        return fatigue_of_arms(experiment, messages_of(EventLog.open(cfg.log), experiment, first, first + cfg.horizon))
    except RefusedError as error:
        write(cfg.out, "fatigue", refused(str(error)), pl.DataFrame())
        raise


def _drawn(cfg: FatigueConfig) -> tuple[pl.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Contacts that were drawn, of a log or a table."""
    control = None if cfg.control is None else str(cfg.control)
    if cfg.log is not None:
        return contacts_of_log(EventLog.open(cfg.log), cfg.name, control, cfg.outcomes, cfg.window, cfg.horizon)
    if cfg.data.path is None:
        raise ConfigurationError("no data are given; add data=<table of contacts>, or log=<folder>")
    names = {"customer": cfg.customer, "sent": cfg.sent, "arm": cfg.arm, "probability": cfg.probability}
    return contacts_of_table(
        read_data(cfg.data.path), names | {"control": control}, cfg.outcomes, cfg.before, cfg.window
    )


def messages_of(log: EventLog, experiment: Experiment, start: int, end: int) -> np.ndarray:
    """(n,) messages of the log that the customers of an experiment got in the days `start <= day < end`."""
    sent = sent_messages(log).filter(pl.col("day").is_between(to_date(start), to_date(end - 1)))
    row = sent.filter(~pl.col("arm").is_in(NOT_SENT).fill_null(False))["row"].to_numpy()
    count = np.bincount(row.astype(np.int64), minlength=len(log))
    place = rows_of(pl.Series(experiment.customer), log.customers["customer"])
    return np.where(place >= 0, count[np.maximum(place, 0)], 0).astype(np.float64)


def _table(cfg: AbConfig, columns: Columns) -> tuple[pl.DataFrame, Columns]:
    """The table of the settings, or the one that a log gives."""
    if cfg.log is None:
        if cfg.data.path is None:
            raise ConfigurationError("no data are given; add data=<table>, or log=<folder> and cutoff=<date>")
        if cfg.control is None:
            raise ConfigurationError("control is not given; name the arm that the others are compared with")
        table, factors = read_data(cfg.data.path), list(getattr(cfg, "factors", []))
        return (cells_of_columns(table, columns.arm, columns.control, factors) if factors else table), columns
    if cfg.cutoff is None or cfg.data.path is not None:
        raise ConfigurationError("log needs a cutoff, and no data: give log=<folder> cutoff=<date>")
    arms = None if cfg.arms is None else read_data(cfg.arms)
    return experiment_table(EventLog.open(cfg.log), to_day(cfg.cutoff), cfg.horizon, columns, arms)


def uplift_rules(cfg: UpliftConfig) -> UpliftRules:
    """How uplift is learned; of messages by learners that shrink effects, as a run gives many covariates."""
    learners = cfg.learners or (LEARNERS if cfg.messages is None else OF_MESSAGES)
    fit = cfg.regressor or ("ridge" if cfg.messages is None else "ard")
    return UpliftRules(tuple(learners), fit, cfg.folds, cfg.orderings, cfg.resamples, cfg.seed)


def policy_rules(cfg: PolicyConfig) -> PolicyRules:
    """What contacts cost, and how the learned policy is fitted; of messages by a regression that shrinks."""
    fit = cfg.regressor or ("ridge" if cfg.messages is None else "gcv")
    return PolicyRules(cfg.cost, fit, cfg.folds, cfg.seed)


def learn_from(cfg: LearnConfig) -> dict[str, Any]:
    """Effects, uplift and the champion of a campaign to one row per customer, by the settings of `ab learn`."""
    champion = None if cfg.champion is None else read_data(Path(cfg.champion) / "uplift.parquet")
    cfg, notes = entered(cfg)
    effects, result, table = learn(experiment_from(cfg, "uplift"), uplift_rules(cfg), champion)
    result |= {"campaign": cfg.campaign, "notes": [*notes, *result["notes"]]}
    result["sentences"] = [*effects["sentences"], *result["sentences"]]
    write(cfg.out, "uplift", result, table, also={"analysis": effects})
    return result


def chosen_scores(path: str | None, cutoff: int) -> Scores | None:
    """Scores at a cutoff, else the last ones of the file, which the design refuses by their date."""
    if path is None:
        return None
    tables = load_scores(path)
    return next((each for each in tables if each.cutoff == str(to_date(cutoff))), tables[-1])


def refused(reason: str) -> dict[str, Any]:
    """A result whose table allowed no check."""
    return {"srm_p": None, "balance": {}, "refused": reason, "notes": [], "arms": {}, "sentences": [reason]}


def write(
    out: str,
    kind: str,
    result: dict[str, Any],
    table: pl.DataFrame,
    page: str | None = None,
    also: dict[str, dict[str, Any]] | None = None,
    pairs: pl.DataFrame | None = None,
) -> None:
    """Writes `<kind>.json`, `.parquet` and `.html`, and further JSON, into a folder, all or none; prints sentences.

    `pairs` is written to pairs.parquet.
    """
    folder = Path(out)
    if holds_other(folder, f"{kind}.json"):
        raise ConfigurationError(f"{out} holds something else than this result; give another folder as out")
    with whole_folder(folder) as draft:
        for name, each in (also or {}).items():
            (draft / f"{name}.json").write_text(json.dumps(each, indent=1), encoding="utf-8")
        (draft / f"{kind}.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        if table.width:
            table.write_parquet(draft / f"{kind}.parquet")
        if pairs is not None and pairs.width:
            pairs.write_parquet(draft / "pairs.parquet")
        if page is not None:
            (draft / f"{kind}.html").write_text(page, encoding="utf-8")
    if not result.get("refused"):
        print("\n".join([*result["notes"], *result["sentences"]]))
        print(f"{out}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
