"""What was sent, as a decision wrote it, enters the log as contacts: campaign, offer, arm, probability, cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from propensity.ab.fatigue import NOT_SENT
from propensity.ab.table import read_data
from propensity.config import LearnConfig
from propensity.data.event_log import to_date, to_day
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.sent import append_contacts

TABLES = ("campaign.parquet", "next_best.parquet", "audience.parquet")  # lists of a decision's folder
RENAMED = {"offer_id": "offer"}


def sent_table(campaign: str, sent: str | None) -> tuple[str, pl.DataFrame | None]:
    """Name of a campaign, and the table of what was sent of it.

    Parameters
    ----------
    campaign : str
        Name, or the folder of a decision, whose name is that of the campaign.
    sent : str, optional
        Table, or folder of a decision. None: the folder of `campaign`, or the contacts are in the log.

    Raises
    ------
    ConfigurationError
        If there is no such table.
    """
    name = Path(campaign).name
    place = Path(sent) if sent is not None else Path(campaign) if Path(campaign).is_dir() else None
    if place is None:
        return name, None
    if not place.is_dir():
        return name, read_data(place)
    files = [place / each for each in TABLES if (place / each).is_file()]
    if not files:
        raise ConfigurationError(f"{place} holds none of {', '.join(TABLES)}; give sent=<table of what was sent>")
    journey = place / "journey.parquet"  # next_best.parquet has the first message of each customer only
    return name, read_data(journey if journey.is_file() else files[0])


def contacts_of(table: pl.DataFrame, campaign: str, cutoff: str | None) -> pl.DataFrame:
    """Contacts of a table of what was sent.

    Parameters
    ----------
    table : pl.DataFrame
        customer_id, and those known of day, campaign, offer or offer_id, channel, arm, experiment, probability, cost.
    campaign : str
        Name of the campaign and experiment, where the table has none.
    cutoff : str, optional
        Day of the send, where the table has none.

    Returns
    -------
    pl.DataFrame
        Contacts as `propensity.ingest.sent.append_contacts` expects them.

    Raises
    ------
    ConfigurationError
        If the customers or the days are not known.
    DataError
        If the table has messages to a holdout, or days that are no dates.
    """
    if "customer_id" not in table.columns:
        raise ConfigurationError(f"sent has no column customer_id, only {', '.join(table.columns)}; name it so")
    if "day" not in table.columns and cutoff is None:
        raise ConfigurationError("sent has no column day; give the day of the send as cutoff=<date>")
    table = table.rename(
        {old: new for old, new in RENAMED.items() if old in table.columns and new not in table.columns}
    )
    if "day" not in table.columns:
        table = table.with_columns(day=pl.lit(to_date(to_day(str(cutoff)))))
    try:
        day = table["day"].str.to_date() if table["day"].dtype == pl.String else table["day"].cast(pl.Date)
    except pl.exceptions.PolarsError:
        raise DataError("column day of sent holds something else than dates; write them as YYYY-MM-DD") from None
    table = table.with_columns(day)
    if "arm" in table.columns and (held := table.filter(pl.col("arm").is_in(NOT_SENT)).height):
        raise DataError(f"{held:,} rows of sent are of customers in a holdout, who get no message; leave them out")
    for name in ("campaign", "experiment"):
        own = pl.col(name).cast(pl.String) if name in table.columns else pl.lit(None, pl.String)
        table = table.with_columns(own.fill_null(campaign).alias(name))
    return table.filter(pl.col("customer_id").is_not_null())


def entered(cfg: LearnConfig) -> tuple[LearnConfig, list[str]]:
    """Enter what the settings name as sent into their log, if anything.

    Returns
    -------
    LearnConfig
        The settings with the campaign's name and its first day as cutoff; without `arms` the contacts of the log that
        have this experiment carry the arms.
    list of str
        What happened, in words.

    Raises
    ------
    ConfigurationError
        If a table of what was sent is named without a log.
    """
    campaign, table = sent_table(cfg.campaign, cfg.sent)
    named = campaign if cfg.arms is None else cfg.name
    if table is None:
        return replace(cfg, campaign=campaign, name=named), []
    if cfg.log is None:
        raise ConfigurationError("what was sent enters an event log; give log=<folder>")
    day, words = enter(table, campaign, cfg.cutoff, cfg.log)
    return replace(cfg, campaign=campaign, name=named, cutoff=cfg.cutoff or day), words


def enter(table: pl.DataFrame, campaign: str, cutoff: str | None, log: str) -> tuple[str, list[str]]:
    """Enter what was sent into a log.

    Returns
    -------
    str
        The first day of the send.
    list of str
        What happened, in words.
    """
    contacts = contacts_of(table, campaign, cutoff)
    _, added, left_out = append_contacts(contacts, log)
    day = str(contacts["day"].min())
    words = [f"{added:,} contacts of {campaign} entered {log}"] if added else []
    if not added:
        words = [f"the contacts of {campaign} are in {log} already; nothing was entered"]
    return day, words + ([f"{left_out:,} contacts are of customers whom the log does not have"] if left_out else [])
