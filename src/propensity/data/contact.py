"""Contacts of a log: campaign, offer, arm and experiment of what was sent, and the table of sent messages."""

from __future__ import annotations

import numpy as np
import polars as pl

from propensity.data.contact_key import CONTACT_COLUMNS as CONTACT_COLUMNS
from propensity.data.contact_key import contact_key as contact_key
from propensity.data.contact_key import contact_table as contact_table
from propensity.data.event_log import MISSING, OPTIONAL, EventLog
from propensity.kernel.event import MESSAGE


def sent_messages(log: EventLog) -> pl.DataFrame:
    """List the messages of a log with what is known of each.

    Parameters
    ----------
    log : EventLog
        The log.

    Returns
    -------
    polars.DataFrame
        One row per message: `row` of the customer in the log, `customer`, `day`, `time` (UTC), `channel`, `campaign`,
        `offer`, `arm`, `experiment`, `probability` of being sent exactly this, and `cost` in the currency of the log;
        null where it is not known.
    """
    places = np.flatnonzero(log.kind == MESSAGE)
    row = log.owner(places)
    channels = pl.Series(log.meta["channels"], dtype=pl.String)
    table = pl.DataFrame(
        {
            "row": row,
            "customer": log.customers["customer"][row],
            "day": pl.Series(np.asarray(log.day[places], np.int32)).cast(pl.Date),
            "time": optional_values(log, "time", places).cast(pl.Datetime("ms", "UTC")),
            "channel": gathered(channels, log.channel[places]),
            "contact": optional_values(log, "contact", places),
            "probability": optional_values(log, "probability", places),
            "cost": optional_values(log, "cost", places),
        }
    )
    known = contact_table([]) if log.contacts is None else log.contacts
    table = table.join(known.with_row_index("contact").cast({"contact": pl.Int32}), on="contact", how="left",
                       maintain_order="left")  # fmt: skip
    return table.select("row", "customer", "day", "time", "channel", *CONTACT_COLUMNS, "probability", "cost")


def optional_values(log: EventLog, name: str, places: np.ndarray) -> pl.Series:
    """Values of an optional column.

    Parameters
    ----------
    log : EventLog
        The log.
    name : str
        One of `propensity.data.event_log.OPTIONAL`.
    places : numpy.ndarray of int
        Positions (P,) of events.

    Returns
    -------
    polars.Series
        Values (P,), null where one is not known.
    """
    column = getattr(log, name)
    missing = np.full(places.size, MISSING[name], OPTIONAL[name])
    values = missing if column is None else np.asarray(column[places])
    known = ~np.isnan(values) if values.dtype.kind == "f" else values != MISSING[name]
    return pl.select(pl.when(pl.Series(known)).then(pl.Series(values)).alias(name))[name]


def gathered(names: pl.Series, codes: np.ndarray) -> pl.Series:
    """Name (P,) of each code, null for -1."""
    table = pl.concat([names, pl.Series([None], dtype=names.dtype)])
    return table.gather(np.where(codes < 0, names.len(), codes).astype(np.uint32))
