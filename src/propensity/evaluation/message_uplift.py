"""`ab uplift`, `ab policy` and `ab learn` of messages: of each, and uplift of all pairs of a later cutoff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from propensity.ab.analyse import Rules, analyse
from propensity.ab.command import policy_rules, uplift_rules, write
from propensity.ab.learn import compare
from propensity.ab.policy import policy_values
from propensity.ab.sent import entered
from propensity.ab.table import read_data
from propensity.ab.uplift import Targets, UpliftRules, learn_targets
from propensity.config import LearnConfig, PolicyConfig, UpliftConfig
from propensity.errors import ConfigurationError
from propensity.evaluation.message_experiment import Messages, messages_from

EXPLORATION = "exploration.parquet"  # the experiment in the folder of a decision


def learn_messages(cfg: UpliftConfig, say: Callable[[str], None]) -> dict[str, Any]:
    """Learn uplift of messages by the settings of `ab uplift`, and write it.

    Parameters
    ----------
    cfg : UpliftConfig
        With `run` and `messages`.
    say : callable
        Receives messages about progress.

    Returns
    -------
    dict
        uplift.json; `at`, the cutoff of pairs.parquet.
    """
    messages = messages_from(cfg, "uplift", cfg.at, say)
    result, table, pairs = uplift_of(messages, uplift_rules(cfg))
    result |= {"run": cfg.run, "at": cfg.at}
    write(cfg.out, "uplift", result, table, pairs=pairs)
    return result


def uplift_of(messages: Messages, rules: UpliftRules) -> tuple[dict[str, Any], pl.DataFrame, pl.DataFrame]:
    """The result, the uplift of each message, and that of the targets."""
    experiment, targets = messages.experiment, messages.targets
    none = Targets(pl.DataFrame(), experiment.x[:0], experiment.customer[:0], {})
    result, table, pairs = learn_targets(experiment, rules, none if targets is None else targets)
    if not table.width:
        return result, table, pairs
    return result, named(table, messages), pairs


def named(table: pl.DataFrame, messages: Messages) -> pl.DataFrame:
    """A table whose customers are rows of the experiment, with customer, offer_id and cutoff instead."""
    labels = messages.labels.rename({"customer_id": "customer"}).with_row_index("row").cast({"row": pl.Int64})
    joined = table.rename({"customer": "row"}).join(labels, on="row", how="left", maintain_order="left")
    return joined.select("customer", "offer_id", "cutoff", *table.columns[1:])


def policy_of_messages(cfg: PolicyConfig, say: Callable[[str], None]) -> dict[str, Any]:
    """The value of a message for every pair, for none, and by a learned rule, by the settings of `ab policy`.

    Parameters
    ----------
    cfg : PolicyConfig
        With `run` and `messages`.
    say : callable
        Receives messages about progress.

    Returns
    -------
    dict
        policy.json: values are per pair of the experiment.
    """
    messages = messages_from(cfg, "policy", None, say)
    result, table = policy_values(messages.experiment, policy_rules(cfg))
    write(cfg.out, "policy", result, named(table, messages) if table.width else table)
    return result


def learn_what_was_sent(cfg: LearnConfig, say: Callable[[str], None]) -> dict[str, Any]:
    """Effects and uplift of messages, and the champion against them, by the settings of `ab learn`.

    Parameters
    ----------
    cfg : LearnConfig
        With `run`; `messages`, or the folder of a decision with exploration.parquet as `campaign`; `champion`, the
        folder whose pairs.parquet planned these messages.
    say : callable
        Receives messages about progress.

    Returns
    -------
    dict
        uplift.json; `at`, the cutoff of pairs.parquet.

    Raises
    ------
    ConfigurationError
        If the folder of the decision has no exploration, or the champion no pairs.
    """
    drawn = Path(cfg.campaign) / EXPLORATION
    if cfg.messages is None and not drawn.is_file():
        raise ConfigurationError(
            f"there is no {EXPLORATION} in {cfg.campaign}; give messages=<table>, or a decision with decision.explore"
        )
    pairs = None if cfg.champion is None else Path(cfg.champion) / "pairs.parquet"
    if pairs is not None and not pairs.is_file():
        raise ConfigurationError(f"there is no pairs.parquet in {cfg.champion}; run ab uplift with at=<cutoff>")
    champion = None if pairs is None else read_data(pairs)
    sent, notes = entered(cfg)
    messages = messages_from(replace(cfg, messages=cfg.messages or str(drawn), log=sent.log), "uplift", cfg.at, say)
    effects, rules = analyse(messages.experiment, Rules()), uplift_rules(cfg)
    result, table, later = uplift_of(messages, rules)
    compare(messages.experiment, result, table, champion, rules, messages.labels)
    result |= {"campaign": sent.campaign, "run": cfg.run, "at": cfg.at, "notes": [*notes, *result["notes"]]}
    result["sentences"] = [*effects["sentences"], *result["sentences"]]
    write(cfg.out, "uplift", result, table, also={"analysis": effects}, pairs=later)
    return result
