"""Reasons in words beside the customers and offers of a decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from propensity.config import DecideConfig
from propensity.decision.result import DecisionResult
from propensity.errors import ConfigurationError
from propensity.explain.opened import OpenedCutoff, open_cutoff
from propensity.serving.verify import MANIFEST
from propensity.training.checkpoint import FILE

PAIR = {"customer_id", "offer_id"}


def with_reasons(result: DecisionResult, cutoff: str, cfg: DecideConfig, say: Callable[[str], None]) -> DecisionResult:
    """A decision whose tables of customers and offers say why.

    Parameters
    ----------
    result : DecisionResult
        The decision.
    cutoff : str
        ISO date of its scores.
    cfg : DecideConfig
        `reasons`, `model`, `scores` and `log` are read.
    say : callable
        Receives messages about progress.

    Returns
    -------
    DecisionResult
        Tables with `customer_id` and `offer_id` have the columns `base_value`, `reasons` and `why` in addition.

    Raises
    ------
    ConfigurationError
        If `reasons` is below 1, no table has customers and offers, or there is neither a run nor a bundle.
    """
    count = cfg.reasons or 0
    if count < 1:
        raise ConfigurationError(f"reasons={count} is below 1; give 1 or more, or null")
    tables = {result.name: result.table, **result.extra_tables}
    lists = {name: table for name, table in tables.items() if set(table.columns) >= PAIR}
    if not lists:
        raise ConfigurationError(f"decision {result.name} lists no customers with offers; leave out reasons={count}")
    folder = Path(cfg.model) if cfg.model is not None else Path(cfg.scores).parent
    if not any((folder / name).is_file() for name in (FILE, MANIFEST)):
        raise ConfigurationError(f"{folder} holds neither a run nor a bundle to explain scores; give model=<folder>")
    opened = open_cutoff(folder, cutoff, cfg.log)
    explained = {name: explain_list(table, opened, count, say) for name, table in lists.items()}
    extra = {name: explained.get(name, table) for name, table in result.extra_tables.items()}
    return replace(result, table=explained.get(result.name, result.table), extra_tables=extra)


def explain_list(table: pl.DataFrame, opened: OpenedCutoff, count: int, say: Callable[[str], None]) -> pl.DataFrame:
    """A table with reasons."""
    say(f"explaining {table.height:,} rows, about 40 ms each")
    return table.hstack(opened.explain_table(table, count))
