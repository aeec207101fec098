"""How old a run is at the cutoff, and how far the customers have moved since the end of its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import to_date, to_day
from propensity.decision.history import PurchaseHistory
from propensity.errors import ConfigurationError
from propensity.ingest.provenance import configured_task
from propensity.key_figures.lines import SalesData
from propensity.metric.drift import binned, edges_of, stability_index

WATCH, ACT = 0.1, 0.25  # population stability index: a change to watch, and a drift
NO_INPUT = ("masked",)


def drift(sales: SalesData, run: str) -> tuple[dict[str, Any], pl.DataFrame, list[str]]:
    """Compare the customers' features at the end of training with those at the cutoff.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.
    run : str
        Folder of a trained run.

    Returns
    -------
    tuple[dict[str, Any], pl.DataFrame, list[str]]
        trained_until, days_since_training, drift_columns and drifted_columns (with an index above 0.25); one row per
        column of the customers: column, stability_index; and sentences for a reader.

    Raises
    ------
    ConfigurationError
        If there is no run, or its training does not say when it ended.
    """
    config = Path(run) / "config.yaml"
    if not config.is_file():
        raise ConfigurationError(f"no run at {run}: it has no config.yaml; give run=<folder of a trained run>")
    task = configured_task(config)
    end = task.end or _end_of_log(task)
    if end is None:
        raise ConfigurationError(f"the run {run} does not say when its training ended; train again with data.end=...")
    day = to_day(end)
    facts: dict[str, Any] = {"trained_until": str(end), "days_since_training": sales.day - day}
    if day > sales.day:
        return facts, pl.DataFrame(), [f"the run {run} was trained until {end}, after {sales.cutoff}: no drift"]
    history = PurchaseHistory(sales.log, task.offer, sales.day, task.horizon)
    before, now = (_features(history.at(each)) for each in (day, sales.day))
    if not before or not now:
        return facts, pl.DataFrame(), [f"nobody had bought by {end}: no drift can be measured"]
    names = [name for name in before if name not in NO_INPUT]
    first, second = (np.stack([each[name] for name in names], axis=1).astype(float) for each in (before, now))
    edges = edges_of(first)
    index = stability_index(binned(first, edges), binned(second, edges))
    table = pl.DataFrame({"column": names, "stability_index": index}).sort(
        "stability_index", "column", descending=[True, False]
    )
    drifted = table.filter(pl.col("stability_index") > ACT)
    facts |= {"drift_columns": table.height, "drifted_columns": drifted["column"].to_list()}
    sentences = [
        f"{drifted.height} of {table.height} columns of the customers have drifted since the training ended on {end} "
        f"(largest: {table['column'][0]}, {table['stability_index'][0]:.2f}); consider to train again"
    ]
    return facts, table, sentences if drifted.height else []


def _end_of_log(task: Any) -> str | None:
    """The day after the last one of the log of a task that was trained to its end; None where it is gone."""
    from propensity.data.event_log import EventLog
    from propensity.ingest.provenance import log_of_task

    folder = Path(log_of_task(task))
    return to_date(EventLog.open(folder).last_day + 1).isoformat() if (folder / "meta.json").is_file() else None


def _features(history: PurchaseHistory) -> dict[str, np.ndarray]:
    """Features of the customers with a purchase before the day of the history; empty without any."""
    row = history.purchasers()
    return history.customer_features(row) if row.size else {}
