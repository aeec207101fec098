"""What is stored of one customer: ids, rows of the log and of other tables, and events under their original names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.contact import optional_values
from propensity.data.event_log import OPTIONAL, EventLog, to_date
from propensity.ingest.key_chain import chained_pseudonym
from propensity.ingest.privacy import ID_COLUMNS
from propensity.kernel.event import EVERY_KIND

LAST = "~"  # after every time


def stored_ids(customer: str, keys: Sequence[bytes]) -> list[str]:
    """List the ids under which a customer may be stored.

    Parameters
    ----------
    customer : str
        Id as delivered, or as a table under a former key of the log has it.
    keys : sequence of bytes
        Keys of the log, see `propensity.ingest.key_chain`.

    Returns
    -------
    list of str
        The id, of an e-mail address also in lower case as it is stored, and their pseudonyms after each key.
    """
    ids = list(dict.fromkeys([customer, customer.lower()] if "@" in customer else [customer]))
    spans = [keys[i:j] for i in range(len(keys)) for j in range(i + 1, len(keys) + 1)]
    return list(dict.fromkeys([*ids, *(chained_pseudonym(each, span) for each in ids for span in spans)]))


def customer_row(log: EventLog, ids: list[str]) -> int | None:
    """Find a customer in a log.

    Parameters
    ----------
    log : EventLog
        The log.
    ids : list of str
        Ids of the customer.

    Returns
    -------
    int or None
        Row of the first match, None without a match.
    """
    rows = np.flatnonzero(log.customers["customer"].cast(pl.String).is_in(ids).to_numpy())
    return int(rows[0]) if rows.size else None


def scan_cells(file: Path) -> pl.LazyFrame:
    """A table; the cells of text files stay text."""
    if file.suffix == ".parquet":
        return pl.scan_parquet(file)
    return pl.scan_csv(file, infer_schema=False, separator="\t" if file.suffix == ".tsv" else ",")


def id_columns(frame: pl.LazyFrame) -> list[str]:
    """Columns of customer ids."""
    return [name for name in frame.collect_schema() if name.lower() in ID_COLUMNS]


def customer_rows(file: Path, ids: list[str]) -> pl.DataFrame:
    """Rows of a table that belong to one customer.

    Parameters
    ----------
    file : Path
        Parquet, CSV or TSV file.
    ids : list of str
        Ids of the customer.

    Returns
    -------
    polars.DataFrame
        Empty for a table without a column of customer ids, or that cannot be read.
    """
    try:
        frame = scan_cells(file)
        columns = id_columns(frame)
        if not columns:
            return pl.DataFrame()
        return frame.filter(pl.any_horizontal(pl.col(name).cast(pl.String).is_in(ids) for name in columns)).collect()
    except pl.exceptions.PolarsError:
        return pl.DataFrame()  # not a table; the search at the end reads it as text


def customer_events(log: EventLog, row: int) -> list[dict[str, Any]]:
    """Decode the events of one customer.

    Parameters
    ----------
    log : EventLog
        The log.
    row : int
        Row of the customer.

    Returns
    -------
    list of dict
        Events of all kinds with original names, by day and time.
    """
    parts = [log, *([] if log.engagement is None else [log.engagement])]
    events = [
        (int(part.day[e]), _event(part, e)) for part in parts for e in range(*map(int, part.offsets[row : row + 2]))
    ]
    return [event for _, event in sorted(events, key=lambda each: (each[0], each[1].get("time") or LAST))]


def _event(log: EventLog, e: int) -> dict[str, Any]:
    """One event under its original names, with the optional values that are known."""
    item, channel, place = int(log.item[e]), int(log.channel[e]), np.array([e])
    event = {
        "day": to_date(int(log.day[e])).isoformat(), "kind": EVERY_KIND[log.kind[e]],
        "item": log.items["item"][item] if item >= 0 else None,
        "channel": log.meta["channels"][channel] if channel >= 0 else None, "order": int(log.order[e]),
        "quantity": float(log.quantity[e]), "revenue": float(log.revenue[e]), "discount": float(log.discount[e]),
    }  # fmt: skip
    values = {name: optional_values(log, name, place)[0] for name in OPTIONAL if getattr(log, name) is not None}
    if values.get("time") is not None:
        values["time"] = moment_text(values["time"])
    contact = values.pop("contact", None)
    if contact is not None and log.contacts is not None:
        values |= log.contacts.row(contact, named=True)
    return event | {name: value for name, value in values.items() if value is not None}


def moment_text(milliseconds: int) -> str:
    """A moment in UTC as ISO text.

    Parameters
    ----------
    milliseconds : int
        Since 1970-01-01 UTC.

    Returns
    -------
    str
        ISO 8601 with milliseconds.

    Examples
    --------
    >>> moment_text(1_704_463_500_250)
    '2024-01-05T14:05:00.250Z'
    """
    moment = datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds)
    return f"{moment.isoformat(timespec='milliseconds')}Z"
