"""Erasure of customers from logs and tables, and export of what is stored of them.

Both are written to the audit log.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity import audit
from propensity.atomic import only_writer, remove_drafts, remove_left_overs, whole_file
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.data.log_folder import TOMBSTONES, read_meta
from propensity.data.segment import list_segments, quarantine_files
from propensity.data.table_file import rewrite_table
from propensity.errors import ConfigurationError, IntegrityError
from propensity.ingest.account import money_of_events, without_events, without_quarantined
from propensity.ingest.compact import open_whole, rewriting
from propensity.ingest.customer_data import (
    customer_events,
    customer_row,
    customer_rows,
    id_columns,
    scan_cells,
    stored_ids,
)
from propensity.ingest.key_chain import key_chain, stored_meta
from propensity.ingest.money import CENT, sale_amount
from propensity.ingest.privacy import check_key, files_mentioning, read_key
from propensity.ingest.provenance import Provenance
from propensity.ingest.tombstone import add_tombstones, remove_tombstones

ERASED = "customer_erased"  # code of the rule
SALE = ("kind", "revenue", "discount")  # columns that sale_amount reads


class ErasureResult(NamedTuple):
    """Result of an erasure."""

    removed: dict[str, int]  # file or log -> number of removed rows
    models: list[str]  # runs that were trained with the customer
    searched: list[str]  # folders, and files outside them that the audit log names
    copies: list[str]  # files that `export_customer` wrote of customers of the log, which are not changed


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
    folder = Path(folder)
    keys = _keys(stored_meta(folder), key)
    if not remove_tombstones(stored_ids(customer, keys), folder):
        raise ConfigurationError(f"{folder} has no tombstone of customer {customer}; check the id and the key")
    _record_action("lift", customer, folder, Path(runs), keys)


def erase_customer(
    customer: str, folder: str | Path, runs: str | Path, key: str | None = None, folders: Sequence[str | Path] = ()
) -> ErasureResult:
    """Remove a customer from a log and from the tables that were made from it, and reject their later deliveries.

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
    folders : sequence of str or Path
        Further folders that are searched. What the audit log names as made from the log is searched anyway.

    Returns
    -------
    ErasureResult
        Removed rows, and models that were trained with the customer. The models are not changed.

    Raises
    ------
    ConfigurationError
        If no table contains the customer, a folder does not exist, or the key is not that of the log; nothing has
        changed then.
    IntegrityError
        If a search finds the customer afterwards.

    Notes
    -----
    Only tables that were made from this log are changed, see `propensity.ingest.provenance`.
    """
    folder, runs = Path(folder), Path(runs)
    log = open_whole(folder)  # what stays gets new checksums
    keys, provenance = _opened(log, folder, runs, key, folders)
    ids = stored_ids(customer, keys)
    for place in provenance.places:
        remove_left_overs(place)
    row = customer_row(log, ids)
    models = models_trained_on(log, provenance, row)
    quarantine = [file for file in sorted((folder / "quarantine").glob("*.parquet")) if customer_rows(file, ids).height]
    tables = [file for file in provenance.tables() if customer_rows(file, ids).height]
    places = [folder, *provenance.places]
    if row is None and not quarantine and not tables:
        names = " and ".join(str(each) for each in (folder, runs, *folders))
        raise ConfigurationError(f"{names} contain no data of customer {customer}; nothing was changed")
    add_tombstones(ids, folder)
    with only_writer(folder):
        remove_drafts(folder)
        _remove_appended(folder)
    removed = {str(file): _remove_rows(file, ids) for file in tables}
    if row is not None or quarantine:
        removed[str(folder)] = _rewrite_log(log, folder, row, ids)
    _record_action("forget", customer, folder, runs, keys, rows=sum(removed.values()))
    found = {file for each in places for name in ids for file in files_mentioning(each, name)}
    copies = provenance.copies
    if left := sorted(file for file in found - {*copies} if provenance.of_log(Path(file)) is not False):
        raise IntegrityError(f"customer {customer} is still found in {', '.join(left)}; remove it there by hand")
    return ErasureResult(removed, models, [str(each) for each in places], copies)


def _keys(meta: Mapping[str, Any], key: str | None) -> tuple[bytes, ...]:
    """The keys of a log, the present one from its location."""
    return key_chain(meta, None if key is None else read_key(key))


def _opened(
    log: EventLog, folder: Path, runs: Path, key: str | None, folders: Sequence[str | Path]
) -> tuple[tuple[bytes, ...], Provenance]:
    """The keys of a log and where its tables lie; ConfigurationError for another key or a folder that is not there."""
    if key is not None:
        check_key(log.meta, read_key(key), folder)
    if absent := [str(each) for each in folders if not Path(each).is_dir()]:
        raise ConfigurationError(f"folders={absent[0]} is no folder; correct or leave it out")
    return _keys(log.meta, key), Provenance(log, folder, [runs, *map(Path, folders)])


def _record_action(action: str, customer: str, folder: Path, runs: Path, keys: Sequence[bytes], **more: Any) -> None:
    """Append a line to the audit log; the customer stands in it as a hash, under the first key of the log."""
    mark = audit.customer_mark(customer, runs, keys[0] if keys else None)
    audit.append(runs, action, {"customer": mark, "log": str(folder), **more})


def _remove_appended(folder: Path) -> None:
    """Remove the events of killed appends of an earlier version, which stand beside the log in folders tmp*."""
    for place in folder.parent.glob("tmp*"):
        if place.is_dir() and ((place / "day.npy").is_file() or (place / "quarantine").is_dir()):
            shutil.rmtree(place, ignore_errors=True)


def _rewrite_log(log: EventLog, folder: Path, row: int | None, ids: list[str]) -> int:
    """Replace the log and its quarantine by those without the customer; returns the number of removed rows."""
    rest, count = remove_customer(log, row) if row is not None else (log, 0)
    notes = {name: (folder / name).read_text() for name in ("origin.json", TOMBSTONES) if (folder / name).is_file()}
    with rewriting(folder, log) as draft:
        rest.write_columns(draft)
        reasons, sales = _without_quarantined_rows(folder / "quarantine", draft / "quarantine", ids)
        replace(rest, meta=without_quarantined(rest.meta, reasons, ERASED, sales)).seal(draft, notes)
    return count + reasons.total()


def _without_quarantined_rows(source: Path, target: Path, ids: list[str]) -> tuple[Counter[str], float]:
    """Write the quarantined rows of the others; returns the number of the customer's by reason, and their sales."""
    reasons, sales = Counter[str](), 0.0
    for file in sorted(source.glob("*.parquet")):
        target.mkdir(exist_ok=True)
        frame = pl.read_parquet(file)
        own = frame.filter(~_is_other_customer(ids))
        reasons.update(dict(own["reason"].value_counts().iter_rows()))
        sales += own.select(sale_amount().sum()).item() if {*SALE} <= {*own.columns} else 0.0
        frame.filter(_is_other_customer(ids)).write_parquet(target / file.name)
    return reasons, sales


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
    own = slice(*map(int, log.offsets[row : row + 2]))
    meta = without_events(log.meta, count, ERASED, money_of_events(log, own))
    meta["formerly"] = [*log.meta.get("formerly", []), log.fingerprint]
    if lines := meta.get("large_lines"):
        meta["large_lines"] = [line for line in lines if not _is_line_of(log, own, line)]
    return replace(rest, customers=log.customers.filter(pl.Series(others)), meta=meta, engagement=engagement), count


def _is_line_of(log: EventLog, own: slice, line: Mapping[str, Any]) -> bool:
    """Whether a large sale of the metadata is among some events."""
    same_day = np.asarray(log.day[own]) == to_day(str(line["day"]))
    amount = np.isclose(np.asarray(log.revenue[own]), line["amount"], rtol=1e-6, atol=CENT)
    codes = np.flatnonzero(log.items["item"].cast(pl.String) == str(line["item"]))
    return bool((same_day & amount & np.isin(log.item[own], codes)).any())


def _is_other_customer(ids: list[str]) -> pl.Expr:
    """Whether a row belongs to another customer or to none."""
    return pl.col("customer").cast(pl.String).is_in(ids).fill_null(False).not_()


def _remove_rows(file: Path, ids: list[str]) -> int:
    """Remove the rows of one customer from a table; returns their number."""
    frame = scan_cells(file).collect()
    same = [pl.col(name).cast(pl.String).is_in(ids).fill_null(False) for name in id_columns(frame.lazy())]
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


def export_customer(
    customer: str,
    folder: str | Path,
    runs: str | Path,
    key: str | None = None,
    folders: Sequence[str | Path] = (),
    out: str | Path | None = None,
) -> dict[str, Any]:
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
    folders : sequence of str or Path
        Further folders that are searched. What the audit log names as made from the log is searched anyway.
    out : str or Path, optional
        File that the data will be written to, for the audit log; `erase_customer` reminds of it.

    Returns
    -------
    dict
        Attributes, events, rows of other tables by file, models that were trained with the customer, and the places
        that were searched.

    Raises
    ------
    ConfigurationError
        If no table contains the customer.
    """
    folder, runs = Path(folder), Path(runs)
    log = EventLog.open(folder)
    keys, provenance = _opened(log, folder, runs, key, folders)
    ids = stored_ids(customer, keys)
    row = customer_row(log, ids)
    quarantine = quarantine_files(folder, list_segments(folder, read_meta(folder)))
    files = [*quarantine, *provenance.tables()]
    rows = {str(file): frame.to_dicts() for file in files if (frame := customer_rows(file, ids)).height}
    if row is None and not rows:
        names = " and ".join(str(each) for each in (folder, runs, *folders))
        raise ConfigurationError(f"{names} contain no data of customer {customer}; check the id and the key")
    copy = {} if out is None else {"copy": str(Path(out).resolve())}
    _record_action("export_customer", customer, folder, runs, keys, **copy)
    attributes = {} if row is None else log.customers.row(row, named=True)
    events = [] if row is None else customer_events(log, row)
    return {"customer": customer, "attributes": attributes, "events": events, "tables": rows,
            "models": models_trained_on(log, provenance, row),
            "searched": [str(each) for each in (folder, *provenance.places)]}  # fmt: skip
