"""Erasure of customers: removal from logs and tables, and rejection of their later deliveries.

`tombstones.json` beside a log holds salted hashes of the erased ids, not the ids.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.atomic import remove_left_overs, whole_file, whole_folder
from propensity.data.contact import optional_values
from propensity.data.event_log import OPTIONAL, EventLog, to_date
from propensity.data.table_file import rewrite_table
from propensity.errors import ConfigurationError, IntegrityError
from propensity.ingest.privacy import ID_COLUMNS, distinct_customers, files_mentioning, pseudonym, read_key
from propensity.ingest.source import Tables
from propensity.kernel.event import EVERY_KIND

FILE = "tombstones.json"
LAST = "~"  # after every time


class ErasureResult(NamedTuple):
    """Result of an erasure."""

    removed: dict[str, int]  # file or log -> number of removed rows
    models: list[str]  # runs that were trained with the customer


def tombstone_hash(identity: object, salt: str) -> str:
    """Hash an erased id.

    Parameters
    ----------
    identity : object
        Customer id.
    salt : str
        Salt of the tombstone file.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    return hashlib.sha256(f"{salt}:{identity}".encode()).hexdigest()


def drop_erased(tables: Tables, log: str | Path) -> Tables:
    """Drop the customers whose tombstones are beside a log.

    Parameters
    ----------
    tables : Tables
        Raw tables.
    log : str or Path
        Folder of the log.

    Returns
    -------
    Tables
        The tables; each row of an erased customer is dropped under the rule `customer_erased`.
    """
    path = Path(log).parent / FILE
    if not path.is_file():
        return tables
    record = json.loads(path.read_text())
    hashes = set(record["stones"])
    ids = distinct_customers(tables)
    is_erased = pl.Series([tombstone_hash(name, record["salt"]) in hashes for name in ids], dtype=pl.Boolean)
    erased_ids = ids.filter(is_erased)
    if not len(erased_ids):
        return tables
    erased = pl.col("customer").is_in(erased_ids.implode()).fill_null(False)
    screen: Callable[[pl.LazyFrame], pl.LazyFrame] = tables.screen

    def screen_erased(events: pl.LazyFrame) -> pl.LazyFrame:
        """Screen of the source, then `customer_erased` for the erased customers."""
        screened = screen(events)
        reason = pl.col("reason") if "reason" in screened.collect_schema() else pl.lit(None, pl.String)
        return screened.with_columns(reason=pl.when(erased).then(pl.lit("customer_erased")).otherwise(reason))

    customers = None if tables.customers is None else tables.customers.filter(~erased)
    return tables._replace(screen=screen_erased, customers=customers)


def add_tombstones(identities: list[str], log: str | Path) -> None:
    """Add tombstones for the ids of one customer.

    Parameters
    ----------
    identities : list of str
        Ids under which the customer may be delivered or stored.
    log : str or Path
        Folder of the log; the tombstone file is beside it.
    """
    path = Path(log).parent / FILE
    empty: dict[str, Any] = {"salt": os.urandom(16).hex(), "stones": {}}
    record = json.loads(path.read_text()) if path.is_file() else empty
    record["stones"] |= {tombstone_hash(name, record["salt"]): date.today().isoformat() for name in identities}
    with whole_file(path) as draft:
        draft.write_text(json.dumps(record, indent=1))


def stored_ids(customer: str, key: str | None) -> list[str]:
    """List the ids under which a customer may be stored.

    Parameters
    ----------
    customer : str
        Id as delivered.
    key : str, optional
        Location of the pseudonym key, `file:<path>` or `env:<name>`.

    Returns
    -------
    list of str
        The id, of an e-mail address also in lower case as it is stored, and their pseudonyms if there is a key.
    """
    ids = list(dict.fromkeys([customer, customer.lower()] if "@" in customer else [customer]))
    return ids if key is None else [*ids, *(pseudonym(each, read_key(key)) for each in ids)]


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


def erase_customer(customer: str, folder: str | Path, runs: str | Path, key: str | None = None) -> ErasureResult:
    """Remove a customer from a log and from the tables of runs, and reject their later deliveries.

    Parameters
    ----------
    customer : str
        Id as delivered.
    folder : str or Path
        Folder of the log.
    runs : str or Path
        Folder that is searched for tables and audit records.
    key : str, optional
        Location of the pseudonym key.

    Returns
    -------
    ErasureResult
        Removed rows, and models that were trained with the customer. The models are not changed.

    Raises
    ------
    ConfigurationError
        If no table contains the customer.
    IntegrityError
        If a search finds the customer afterwards.
    """
    folder, runs, ids = Path(folder), Path(runs), stored_ids(customer, key)
    log = EventLog.open(folder, verify=True)  # what stays gets new checksums
    remove_left_overs(runs)
    row = customer_row(log, ids)
    models = models_trained_on(log, folder, runs, row)
    add_tombstones(ids, folder)
    tables = [file for file in sorted(runs.rglob("*.parquet")) if runs.is_dir()]
    removed = {str(file): count for file in tables if (count := _remove_rows(file, ids))}
    quarantine = sorted((folder / "quarantine").glob("*.parquet"))
    if row is not None or any(_customer_rows(file, ids).height for file in quarantine):
        removed[str(folder)] = _rewrite_log(log, folder, row, ids)
    if not removed:
        raise ConfigurationError(
            f"{folder} and {runs} contain no data of customer {customer}; a tombstone was added, nothing else to do"
        )
    folders = [each for each in (folder, runs) if each.is_dir()]
    left = [file for each in folders for name in ids for file in files_mentioning(each, name)]
    if left:
        raise IntegrityError(f"customer {customer} is still found in {', '.join(left)}; remove it there by hand")
    return ErasureResult(removed, models)


def _rewrite_log(log: EventLog, folder: Path, row: int | None, ids: list[str]) -> int:
    """Replace the log and its quarantine by those without the customer; returns the number of removed rows."""
    rest, count = remove_customer(log, row) if row is not None else (log, 0)
    notes = {file.name: file.read_text() for file in folder.glob("origin.json")}
    with whole_folder(folder) as draft:
        rest.write_columns(draft)
        for file in sorted((folder / "quarantine").glob("*.parquet")):
            (draft / "quarantine").mkdir(exist_ok=True)
            frame = pl.read_parquet(file)
            other_rows = frame.filter(_is_other_customer(ids))
            other_rows.write_parquet(draft / "quarantine" / file.name)
            count += frame.height - other_rows.height
        rest.seal(draft, notes)
    return count


def remove_customer(log: EventLog, row: int) -> tuple[EventLog, int]:
    """Remove one customer from a log.

    Parameters
    ----------
    log : EventLog
        The log.
    row : int
        Row of the customer.

    Returns
    -------
    log : EventLog
        The log without the customer; its row counts contain the removed events as `customer_erased`.
    count : int
        Number of removed events.
    """
    others = np.arange(len(log)) != row
    rest = log.of_customers(others)
    engagement = None if log.engagement is None else log.engagement.of_customers(others)
    count = log.day.size - rest.day.size
    if log.engagement is not None and engagement is not None:
        count += log.engagement.day.size - engagement.day.size
    rows = dict(log.meta["rows"])
    rows["used"] -= count
    rows["dropped"] = rows["dropped"] | {"customer_erased": rows["dropped"].get("customer_erased", 0) + count}
    customers = log.customers.filter(pl.Series(others))
    return replace(rest, customers=customers, meta=log.meta | {"rows": rows}, engagement=engagement), count


def _is_other_customer(ids: list[str]) -> pl.Expr:
    """Whether a row belongs to another customer or to none."""
    return pl.col("customer").cast(pl.String).is_in(ids).fill_null(False).not_()


def _customer_rows(file: Path, ids: list[str]) -> pl.DataFrame:
    """Rows of a table that belong to one customer; empty for a table without an id column."""
    frame = pl.scan_parquet(file)
    column = next((name for name in ID_COLUMNS if name in frame.collect_schema()), None)
    if column is None:
        return pl.DataFrame()
    return frame.filter(pl.col(column).cast(pl.String).is_in(ids)).collect()


def _remove_rows(file: Path, ids: list[str]) -> int:
    """Remove the rows of one customer from a table; returns their number."""
    count = _customer_rows(file, ids).height
    if count:
        frame = pl.read_parquet(file)
        column = next(name for name in ID_COLUMNS if name in frame.columns)
        with whole_file(file) as draft:
            rewrite_table(frame.filter(pl.col(column).cast(pl.String).is_in(ids).not_()), file, draft)
    return count


def models_trained_on(log: EventLog, folder: Path, runs: Path, row: int | None) -> list[str]:
    """List the runs whose training data contained a customer, from the audit records.

    Parameters
    ----------
    log : EventLog
        The log.
    folder : Path
        Folder of the log.
    runs : Path
        Folder that is searched for `audit.jsonl`.
    row : int or None
        Row of the customer in the log.

    Returns
    -------
    list of str
        Runs that were trained on this log with labels after the customer's first event.
    """
    if row is None or log.offsets[row] == log.offsets[row + 1]:
        return []
    first, models = to_date(int(log.day[log.offsets[row]])).isoformat(), set()
    for file in sorted(runs.rglob("audit.jsonl")) if runs.is_dir() else []:
        for entry in map(json.loads, file.read_text().splitlines()):
            same = entry["fingerprint"] == log.fingerprint or Path(entry["log"]).resolve() == folder.resolve()
            if same and entry["end"] > first:
                models.add(str(entry["run"]))
    return sorted(models)


def export_customer(customer: str, folder: str | Path, runs: str | Path, key: str | None = None) -> dict[str, Any]:
    """Collect all stored data of a customer.

    Parameters
    ----------
    customer : str
        Id as delivered.
    folder : str or Path
        Folder of the log.
    runs : str or Path
        Folder that is searched for tables and audit records.
    key : str, optional
        Location of the pseudonym key.

    Returns
    -------
    dict
        Attributes, events, rows of other tables by file, and models that were trained with the customer.

    Raises
    ------
    ConfigurationError
        If no table contains the customer.
    """
    folder, runs, ids = Path(folder), Path(runs), stored_ids(customer, key)
    log = EventLog.open(folder)
    row = customer_row(log, ids)
    quarantine = {str(file): _customer_rows(file, ids) for file in sorted((folder / "quarantine").glob("*.parquet"))}
    tables = {str(file): _customer_rows(file, ids) for file in sorted(runs.rglob("*.parquet"))} if runs.is_dir() else {}
    rows = {place: frame.to_dicts() for place, frame in (quarantine | tables).items() if frame.height}
    if row is None and not rows:
        raise ConfigurationError(
            f"{folder} and {runs} contain no data of customer {customer}; check the id and the key"
        )
    attributes = {} if row is None else log.customers.row(row, named=True)
    events = [] if row is None else customer_events(log, row)
    return {"customer": customer, "attributes": attributes, "events": events, "tables": rows,
            "models": models_trained_on(log, folder, runs, row)}  # fmt: skip


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
