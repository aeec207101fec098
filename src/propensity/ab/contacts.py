"""The table of an experiment from an event log: arms of a split or of its contacts, outcomes and placebo of windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from propensity.ab.split import GLOBAL, HOLDOUT
from propensity.ab.table import Columns
from propensity.ab.window import (
    RETAINED,
    RETAINED_DAYS,
    covariates,
    known_customers,
    require_outcomes,
    require_window,
    window,
)
from propensity.data.contact import sent_messages
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, DataError

MESSAGE, NO_MESSAGE = "message", "no message"
DEFAULT_OUTCOMES = ("visit", "revenue")


def experiment_table(
    log: EventLog, cutoff: int, horizon: int, columns: Columns, arms: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, Columns]:
    """One row per customer with arm, outcomes after the cutoff, the same before it, and covariates.

    Parameters
    ----------
    log : EventLog
        The log.
    cutoff : int
        Day of the send; outcomes are counted from it on.
    horizon : int
        Days of the outcomes, and of the placebo before the cutoff.
    columns : Columns
        Outcomes of `window`, or `retained_90` (a purchase in the days from the horizon to 90), the control arm if
        known, and `name` of the experiment if the contacts know it.
    arms : pl.DataFrame, optional
        customer_id, arm and probability, as `ab split` writes them. Without it the contacts of the log on the cutoff
        say who got a message.

    Returns
    -------
    pl.DataFrame
        `customer_id`, `arm`, `probability` if known, outcomes, `<outcome>_before` and covariates.
    Columns
        What the columns mean. `drawn` is False where only the contacts say who got a message.

    Raises
    ------
    ConfigurationError
        If the log does not cover the windows, or has no message on the cutoff.
    DataError
        If no customer of `arms` is in the log.
    """
    retained = RETAINED in columns.outcomes
    longest = max(horizon, RETAINED_DAYS) if retained else horizon
    require_window(log, cutoff - longest, cutoff + longest)
    outcomes = list(columns.outcomes or DEFAULT_OUTCOMES)
    after, before = window(log, cutoff, cutoff + horizon), window(log, cutoff - horizon, cutoff)
    if retained and horizon < RETAINED_DAYS:
        after[RETAINED] = window(log, cutoff + horizon, cutoff + RETAINED_DAYS)["visit"]
        before[RETAINED] = window(log, cutoff - RETAINED_DAYS, cutoff - horizon)["visit"]
    require_outcomes(outcomes, after)
    drawn = arms is not None or columns.name is not None
    past = covariates(log, cutoff if drawn else cutoff - horizon)  # where chance decided nothing, before the placebo
    values = {name: after[name] for name in outcomes} | {f"{name}_before": before[name] for name in outcomes} | past
    frame = pl.DataFrame({"customer_id": log.customers["customer"]} | values)
    named = replace(columns, arm="arm", outcomes=outcomes, before=[f"{name}_before" for name in outcomes])
    named = replace(named, covariates=list(past), customer="customer_id", experiment=None, name=None)
    if arms is not None:
        return _of_split(frame, arms, named)
    return _of_contacts(frame, log, cutoff, columns, named)


def _of_split(frame: pl.DataFrame, arms: pl.DataFrame, named: Columns) -> tuple[pl.DataFrame, Columns]:
    """Arms of a split; those who share the global holdout are in no arm."""
    for column in ("customer_id", "arm", "probability"):
        if column not in arms.columns:
            raise ConfigurationError(f"arms has no column {column!r}; give a table that ab split wrote")
    arms = arms.filter(pl.col("arm") != GLOBAL).select(pl.col("customer_id").cast(pl.String), "arm", "probability")
    joined = arms.join(frame.with_columns(pl.col("customer_id").cast(pl.String)), on="customer_id", how="inner")
    if not joined.height:
        raise DataError("no customer of arms is in the log; give the split of this log's customers")
    control = named.control or (HOLDOUT if HOLDOUT in joined["arm"] else "")
    if not control:
        raise ConfigurationError("control is not given; name the arm that the others are compared with")
    return joined, replace(named, probability="probability", control=control)


def _of_contacts(
    frame: pl.DataFrame, log: EventLog, cutoff: int, columns: Columns, named: Columns
) -> tuple[pl.DataFrame, Columns]:
    """Arms of an experiment whose messages carry arm and probability; else who got a message, and who did not."""
    sent = sent_messages(log).filter(pl.col("day") == to_date(cutoff))
    if not sent.height:
        raise ConfigurationError(f"the log has no message on {to_date(cutoff)}; give the day of a send as cutoff")
    if columns.name is not None:
        sent = sent.filter(pl.col("experiment") == columns.name)
        if not sent.height:
            raise ConfigurationError(f"the log has no message of experiment {columns.name!r} on {to_date(cutoff)}")
        rows = frame.with_row_index("row").join(
            sent.select("row", "arm", "probability").cast({"row": pl.UInt32}), on="row"
        )
        if not columns.control:
            raise ConfigurationError("control is not given; name the arm that the others are compared with")
        return rows.drop("row"), replace(named, probability="probability")
    got = np.zeros(len(log), dtype=bool)
    got[sent["row"].to_numpy()] = True
    known = known_customers(log, cutoff)
    rows = frame.with_columns(arm=pl.Series(np.where(got, MESSAGE, NO_MESSAGE))).filter(pl.Series(known))
    return rows, replace(named, control=NO_MESSAGE, drawn=False)
