"""Contacts of a log: campaign, offer, arm and experiment of what was sent, and the table of sent messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from propensity.data.event_log import MISSING, OPTIONAL, EventLog
from propensity.kernel.event import MESSAGE

CONTACT_COLUMNS = ("campaign", "offer", "arm", "experiment")
SEPARATOR = "\x1f"  # between the parts of a key


def contact_key(rows: pl.DataFrame) -> pl.Series:
    """Join campaign, offer, arm and experiment to one text.

    Parameters
    ----------
    rows : polars.DataFrame
        Rows (R,) with any of `CONTACT_COLUMNS`.

    Returns
    -------
    polars.Series
        Text (R,), null for a row without any of them.
    """
    parts = [pl.col(c).cast(pl.String) if c in rows.columns else pl.lit(None, pl.String) for c in CONTACT_COLUMNS]
    joined = pl.concat_str([part.fill_null("") for part in parts], separator=SEPARATOR)
    return rows.select(pl.when(pl.any_horizontal(part.is_not_null() for part in parts)).then(joined).alias("key"))[
        "key"
    ]


def contact_table(keys: Sequence[str] | pl.Series) -> pl.DataFrame:
    """Split texts of `contact_key`.

    Parameters
    ----------
    keys : sequence of str
        Texts (C,).

    Returns
    -------
    polars.DataFrame
        `CONTACT_COLUMNS`, null where a part is missing.

    Examples
    --------
    >>> contact_table(contact_key(pl.DataFrame({"campaign": ["spring"], "arm": ["holdout"]}))).row(0)
    ('spring', None, 'holdout', None)
    """
    parts = pl.Series(keys, dtype=pl.String).str.split_exact(SEPARATOR, len(CONTACT_COLUMNS) - 1)
    table = parts.struct.rename_fields(list(CONTACT_COLUMNS)).struct.unnest()
    return table.with_columns(pl.when(pl.col(c) != "").then(pl.col(c)).alias(c) for c in CONTACT_COLUMNS)


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
