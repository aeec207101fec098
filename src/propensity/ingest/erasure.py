"""Erasure of customers: removal from logs and tables, and rejection of their later deliveries.

`tombstones.json` beside and inside a log holds salted hashes of the erased ids, not the ids.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity import audit
from propensity.atomic import only_writer, remove_drafts, remove_left_overs, whole_file, whole_folder
from propensity.checksum import is_signed, signed
from propensity.data.contact import optional_values
from propensity.data.event_log import OPTIONAL, TOMBSTONES, EventLog, to_date
from propensity.data.table_file import rewrite_table
from propensity.errors import ConfigurationError, IntegrityError
from propensity.ingest.privacy import (
    ID_COLUMNS,
    check_key,
    distinct_customers,
    files_mentioning,
    pseudonym,
    read_key,
)
from propensity.ingest.provenance import Provenance
from propensity.ingest.source import Tables
from propensity.kernel.event import EVERY_KIND

FILE = TOMBSTONES
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
    """Drop the customers who have a tombstone of a log.

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
    records = [record for record in _records(Path(log)) if record["stones"]]
    if not records:
        return tables
    ids = distinct_customers(tables)
    is_erased = pl.Series([any(_has_stone(record, name) for record in records) for name in ids], dtype=pl.Boolean)
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
        Folder of the log.

    Notes
    -----
    The tombstones of a log stand in `tombstones.json` beside it, under the name of its folder, so that they outlive the
    folder, and in a copy inside it, so that they move with it.
    """
    log = Path(log)
    known = _records(log)
    record: dict[str, Any] = known[0] if known else {"salt": os.urandom(16).hex(), "stones": {}}
    for other in known[1:]:
        if other["salt"] == record["salt"]:
            record["stones"] |= other["stones"]
    record["stones"] |= {tombstone_hash(name, record["salt"]): date.today().isoformat() for name in identities}
    _write_record(log, record)


def lift_tombstone(customer: str, folder: str | Path, runs: str | Path, key: str | None = None) -> None:
    """Lift the tombstones of a customer, whose later deliveries are then accepted again.

    Parameters
    ----------
    customer : str
        Id as delivered.
    folder : str or Path
        Folder of the log.
    runs : str or Path
        Folder of the audit log.
    key : str, optional
        Location of the pseudonym key.

    Raises
    ------
    ConfigurationError
        If the log has no tombstone of the customer.
    """
    folder, ids, lifted = Path(folder), stored_ids(customer, key), 0
    for record in _records(folder):
        stones = {tombstone_hash(name, record["salt"]) for name in ids} & record["stones"].keys()
        for stone in stones:
            del record["stones"][stone]
        if stones:
            _write_record(folder, record)
        lifted += len(stones)
    if not lifted:
        raise ConfigurationError(f"{folder} has no tombstone of customer {customer}; check the id and the key")
    _record_action("lift", customer, folder, Path(runs), key)


def _has_stone(record: Mapping[str, Any], identity: object) -> bool:
    return tombstone_hash(identity, record["salt"]) in record["stones"]


def _records(log: Path) -> list[dict[str, Any]]:
    """Tombstones of a log: those beside it under its name, then those inside it."""
    shelf, inside = _read(log.parent / FILE), _read(log / FILE)
    records = [shelf.get("logs", {}).get(log.resolve().name), inside or None, shelf if "stones" in shelf else None]
    return [record for record in records if record is not None]


def _read(path: Path) -> dict[str, Any]:
    """Content of a tombstone file, empty without one; IntegrityError if it is damaged."""
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        records = [*content.get("logs", {}).values(), *([content] if "stones" in content else [])]
        sound = all(isinstance(each["salt"], str) and isinstance(each["stones"], dict) for each in records)
        if sound and ("checksum" not in content or is_signed(content)):
            return content
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise IntegrityError(f"{path} is damaged, so that erased customers could return; restore it from a copy")


def _write_record(log: Path, record: dict[str, Any]) -> None:
    """Write the tombstones of a log beside it and, if it exists, inside it."""
    shelf_path = log.parent / FILE
    with only_writer(shelf_path):
        shelf = _read(shelf_path)
        if shelf.get("salt") == record["salt"]:  # of an earlier version, which had one list for the whole folder
            shelf |= record
        else:
            shelf["logs"] = shelf.get("logs", {}) | {log.resolve().name: record}
        with whole_file(shelf_path) as draft:
            draft.write_text(json.dumps(signed(shelf), indent=1))
    if log.is_dir():
        with whole_file(log / FILE) as draft:
            draft.write_text(json.dumps(signed(record), indent=1))


def tombstone_note(log: str | Path) -> dict[str, str]:
    """The copy of a log's tombstones that stands inside it, as a note for `EventLog.seal`; empty without tombstones."""
    log = Path(log)
    record = _read(log.parent / FILE).get("logs", {}).get(log.resolve().name) or _read(log / FILE)
    return {FILE: json.dumps(signed(record), indent=1)} if record else {}


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
        If no table contains the customer, or the key is not that of the log; nothing has changed then.
    IntegrityError
        If a search finds the customer afterwards.

    Notes
    -----
    Only tables that were made from this log are changed, see `propensity.ingest.provenance`.
    """
    folder, runs, ids = Path(folder), Path(runs), stored_ids(customer, key)
    log = EventLog.open(folder, verify=True)  # what stays gets new checksums
    remove_left_overs(runs)
    if key is not None:
        check_key(log.meta, read_key(key), folder)
    provenance = Provenance(log, folder, runs)
    row = customer_row(log, ids)
    models = models_trained_on(log, provenance, row)
    quarantine = [file for file in sorted((folder / "quarantine").glob("*.parquet")) if customer_rows(file, ids).height]
    tables = [file for file in provenance.tables() if customer_rows(file, ids).height]
    if row is None and not quarantine and not tables:
        raise ConfigurationError(f"{folder} and {runs} contain no data of customer {customer}; nothing was changed")
    add_tombstones(ids, folder)
    with only_writer(folder):
        remove_leftovers(folder)
    removed = {str(file): _remove_rows(file, ids) for file in tables}
    if row is not None or quarantine:
        removed[str(folder)] = _rewrite_log(log, folder, row, ids)
    _record_action("forget", customer, folder, runs, key, rows=sum(removed.values()))
    places = [each for each in (folder, runs) if each.is_dir()]
    found = {file for each in places for name in ids for file in files_mentioning(each, name)}
    if left := sorted(file for file in found if provenance.of_log(Path(file)) is not False):
        raise IntegrityError(f"customer {customer} is still found in {', '.join(left)}; remove it there by hand")
    return ErasureResult(removed, models)


def _record_action(action: str, customer: str, folder: Path, runs: Path, key: str | None, **more: Any) -> None:
    """Append a line to the audit log; the customer stands in it as a keyed hash."""
    mark = audit.customer_mark(customer, runs, None if key is None else read_key(key))
    audit.append(runs, action, {"customer": mark, "log": str(folder), **more})


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers of a log left beside it: drafts, and the folders of appended events."""
    remove_drafts(folder)
    for place in folder.parent.glob("tmp*"):
        if place.is_dir() and ((place / "day.npy").is_file() or (place / "quarantine").is_dir()):
            shutil.rmtree(place, ignore_errors=True)


def _rewrite_log(log: EventLog, folder: Path, row: int | None, ids: list[str]) -> int:
    """Replace the log and its quarantine by those without the customer; returns the number of removed rows."""
    rest, count = remove_customer(log, row) if row is not None else (log, 0)
    notes = {name: (folder / name).read_text() for name in ("origin.json", FILE) if (folder / name).is_file()}
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
    meta = log.meta | {"rows": rows, "formerly": [*log.meta.get("formerly", []), log.fingerprint]}
    return replace(rest, customers=customers, meta=meta, engagement=engagement), count


def _is_other_customer(ids: list[str]) -> pl.Expr:
    """Whether a row belongs to another customer or to none."""
    return pl.col("customer").cast(pl.String).is_in(ids).fill_null(False).not_()


def _scan(file: Path) -> pl.LazyFrame:
    """A table; the cells of text files stay text."""
    if file.suffix == ".parquet":
        return pl.scan_parquet(file)
    return pl.scan_csv(file, infer_schema=False, separator="\t" if file.suffix == ".tsv" else ",")


def _id_columns(frame: pl.LazyFrame) -> list[str]:
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
        frame = _scan(file)
        columns = _id_columns(frame)
        if not columns:
            return pl.DataFrame()
        return frame.filter(pl.any_horizontal(pl.col(name).cast(pl.String).is_in(ids) for name in columns)).collect()
    except pl.exceptions.PolarsError:
        return pl.DataFrame()  # not a table; the search at the end reads it as text


def _remove_rows(file: Path, ids: list[str]) -> int:
    """Remove the rows of one customer from a table; returns their number."""
    frame = _scan(file).collect()
    same = [pl.col(name).cast(pl.String).is_in(ids).fill_null(False) for name in _id_columns(frame.lazy())]
    rest = frame.filter(~pl.any_horizontal(same))
    with whole_file(file) as draft:
        if file.suffix == ".parquet":
            rewrite_table(rest, file, draft)
        else:
            rest.write_csv(draft, separator="\t" if file.suffix == ".tsv" else ",")
    return frame.height - rest.height


def models_trained_on(log: EventLog, provenance: Provenance, row: int | None) -> list[str]:
    """List the runs whose training data contained a customer, from the audit log.

    Parameters
    ----------
    log : EventLog
        The log.
    provenance : Provenance
        Of the runs.
    row : int or None
        Row of the customer in the log.

    Returns
    -------
    list of str
        Runs that were trained on this log with labels after the customer's first event.
    """
    if row is None or log.offsets[row] == log.offsets[row + 1]:
        return []
    first = to_date(int(log.day[log.offsets[row]])).isoformat()
    return sorted({str(entry["run"]) for entry in provenance.trainings() if str(entry.get("end", "9")) > first})


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
    if key is not None:
        check_key(log.meta, read_key(key), folder)
    provenance, row = Provenance(log, folder, runs), customer_row(log, ids)
    files = [*sorted((folder / "quarantine").glob("*.parquet")), *provenance.tables()]
    rows = {str(file): frame.to_dicts() for file in files if (frame := customer_rows(file, ids)).height}
    if row is None and not rows:
        raise ConfigurationError(
            f"{folder} and {runs} contain no data of customer {customer}; check the id and the key"
        )
    _record_action("export_customer", customer, folder, runs, key)
    attributes = {} if row is None else log.customers.row(row, named=True)
    events = [] if row is None else customer_events(log, row)
    return {"customer": customer, "attributes": attributes, "events": events, "tables": rows,
            "models": models_trained_on(log, provenance, row)}  # fmt: skip


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
