"""`ab uplift` of messages: uplift of each, and of all pairs of a later cutoff."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from propensity.ab.command import uplift_rules, write
from propensity.ab.uplift import Targets, UpliftRules, learn_targets
from propensity.config import UpliftConfig
from propensity.evaluation.message_experiment import Messages, messages_from


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
    labels = messages.labels.rename({"customer_id": "customer"}).with_row_index("row").cast({"row": pl.Int64})
    named = table.rename({"customer": "row"}).join(labels, on="row", how="left", maintain_order="left")
    return result, named.select("customer", "offer_id", "cutoff", *table.columns[1:]), pairs
