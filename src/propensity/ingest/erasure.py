"""Customers who asked to be forgotten: taken out of logs and tables, kept out of what is delivered later.

`tombstones.json` lies beside the logs it guards. It holds no id, only what a salted hash makes of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.atomic import whole_file, whole_folder
from propensity.data.event_log import COLUMNS, EventLog, to_date
from propensity.errors import ConfigurationError, IntegrityError
from propensity.ingest.privacy import ID_COLUMNS, distinct_customers, files_mentioning, pseudonym, read_key
from propensity.ingest.source import Tables
from propensity.kernel.event import KINDS

FILE = "tombstones.json"


class ErasureResult(NamedTuple):
    """What was done: where rows were removed and how many, models that were trained with the customer."""

    removed: dict[str, int]
    models: list[str]


def tombstone_hash(identity: object, salt: str) -> str:
    return hashlib.sha256(f"{salt}:{identity}".encode()).hexdigest()


def drop_erased(tables: Tables, beside: str | Path) -> Tables:
    """The tables without the customers whose tombstones lie beside the log; each of their rows is dropped by rule."""
    path = Path(beside).parent / FILE
    if not path.is_file():
        return tables
    known = json.loads(path.read_text())
    stones = set(known["stones"])
    names = distinct_customers(tables)
    gone = names.filter(pl.Series([tombstone_hash(name, known["salt"]) in stones for name in names], dtype=pl.Boolean))
    if not len(gone):
        return tables
    theirs = pl.col("customer").is_in(gone.implode()).fill_null(False)
    screen: Callable[[pl.LazyFrame], pl.LazyFrame] = tables.screen

    def screened(events: pl.LazyFrame) -> pl.LazyFrame:
        judged = screen(events)
        had = pl.col("reason") if "reason" in judged.collect_schema() else pl.lit(None, pl.String)
        return judged.with_columns(reason=pl.when(theirs).then(pl.lit("customer_erased")).otherwise(had))

    customers = None if tables.customers is None else tables.customers.filter(~theirs)
    return tables._replace(screen=screened, customers=customers)


def add_tombstones(identities: list[str], beside: str | Path) -> None:
    """Adds tombstones for the ways in which one customer is named."""
    path = Path(beside).parent / FILE
    new: dict[str, Any] = {"salt": os.urandom(16).hex(), "stones": {}}
    known = json.loads(path.read_text()) if path.is_file() else new
    known["stones"] |= {tombstone_hash(name, known["salt"]): date.today().isoformat() for name in identities}
    with whole_file(path) as draft:
        draft.write_text(json.dumps(known, indent=1))


def stored_ids(customer: str, key: str | None) -> list[str]:
    """The ids under which a customer may be stored: as given, and under the key."""
    return [customer] if key is None else [customer, pseudonym(customer, read_key(key))]


def customer_row(log: EventLog, names: list[str]) -> int | None:
    """Row of a customer of the log, if it has them."""
    found = np.flatnonzero(log.customers["customer"].cast(pl.String).is_in(names).to_numpy())
    return int(found[0]) if found.size else None


def erase_customer(customer: str, folder: str | Path, runs: str | Path, key: str | None = None) -> ErasureResult:
    """Removes a customer from the log at `folder` and the tables under `runs`, and keeps them out from now on.

    Raises: ConfigurationError if no table has them; IntegrityError if a search still finds them afterwards.
    """
    folder, runs, names = Path(folder), Path(runs), stored_ids(customer, key)
    log = EventLog.open(folder)
    row, removed = customer_row(log, names), {}
    models = models_trained_on(log, folder, runs, row)
    add_tombstones(names, folder)
    tables = [file for file in sorted(runs.rglob("*.parquet")) if runs.is_dir()]
    removed = {str(file): count for file in tables if (count := _clear(file, names))}
    aside = sorted((folder / "quarantine").glob("*.parquet"))
    if row is not None or any(_theirs(file, names).height for file in aside):
        removed[str(folder)] = _rewrite(log, folder, row, names)
    if not removed:
        raise ConfigurationError(
            f"{folder} and {runs} hold nothing on customer {customer}; a tombstone is set all the same"
        )
    left = [
        place for where in (folder, runs) if where.is_dir() for name in names for place in files_mentioning(where, name)
    ]
    if left:
        raise IntegrityError(f"customer {customer} is still found in {', '.join(left)}; remove it there by hand")
    return ErasureResult(removed, models)


def _rewrite(log: EventLog, folder: Path, row: int | None, names: list[str]) -> int:
    """Puts the log without a customer in its place, quarantine included; returns the rows that went."""
    kept, count = remove_customer(log, row) if row is not None else (log, 0)
    notes = {file.name: file.read_text() for file in folder.glob("origin.json")}
    with whole_folder(folder) as draft:
        for name in COLUMNS:
            np.save(draft / f"{name}.npy", getattr(kept, name), allow_pickle=False)
        for file in sorted((folder / "quarantine").glob("*.parquet")):
            (draft / "quarantine").mkdir(exist_ok=True)
            frame = pl.read_parquet(file)
            rest = frame.filter(_others(names))
            rest.write_parquet(draft / "quarantine" / file.name)
            count += frame.height - rest.height
        kept.seal(draft, notes)
    return count


def remove_customer(log: EventLog, row: int) -> tuple[EventLog, int]:
    """The log without one customer, and how many events that were. What was counted of rows says so."""
    start, end = log.offsets[row], log.offsets[row + 1]
    columns: dict[str, Any] = {name: np.delete(getattr(log, name), np.s_[start:end]) for name in COLUMNS}
    offsets = np.delete(log.offsets, row + 1)
    offsets[row + 1 :] -= end - start
    rows = dict(log.meta["rows"])
    rows["used"] -= int(end - start)
    rows["dropped"] = rows["dropped"] | {
        "customer_erased": rows["dropped"].get("customer_erased", 0) + int(end - start)
    }
    customers = log.customers.filter(pl.int_range(pl.len()) != row)
    return replace(log, offsets=offsets, customers=customers, meta=log.meta | {"rows": rows}, **columns), int(
        end - start
    )


def _others(names: list[str]) -> pl.Expr:
    return pl.col("customer").cast(pl.String).is_in(names).fill_null(False).not_()


def _theirs(file: Path, names: list[str]) -> pl.DataFrame:
    """The rows of a table that are one customer's."""
    frame = pl.scan_parquet(file)
    column = next((name for name in ID_COLUMNS if name in frame.collect_schema()), None)
    if column is None:
        return pl.DataFrame()
    return frame.filter(pl.col(column).cast(pl.String).is_in(names)).collect()


def _clear(file: Path, names: list[str]) -> int:
    """Removes a customer's rows from a table; returns how many."""
    count = _theirs(file, names).height
    if count:
        frame = pl.read_parquet(file)
        column = next(name for name in ID_COLUMNS if name in frame.columns)
        with whole_file(file) as draft:
            frame.filter(pl.col(column).cast(pl.String).is_in(names).not_()).write_parquet(draft)
    return count


def models_trained_on(log: EventLog, folder: Path, runs: Path, row: int | None) -> list[str]:
    """Runs, by the audit logs under `runs`, that saw a customer: trained on this log after their first day."""
    if row is None or log.offsets[row] == log.offsets[row + 1]:
        return []
    first, found = to_date(int(log.day[log.offsets[row]])).isoformat(), set()
    for file in sorted(runs.rglob("audit.jsonl")) if runs.is_dir() else []:
        for entry in map(json.loads, file.read_text().splitlines()):
            same = entry["fingerprint"] == log.fingerprint or Path(entry["log"]).resolve() == folder.resolve()
            if same and entry["end"] > first:
                found.add(str(entry["run"]))
    return sorted(found)


def export_customer(customer: str, folder: str | Path, runs: str | Path, key: str | None = None) -> dict[str, Any]:
    """Everything that is held on a customer, in plain containers: ConfigurationError for nobody known."""
    folder, runs, names = Path(folder), Path(runs), stored_ids(customer, key)
    log = EventLog.open(folder)
    row = customer_row(log, names)
    aside = {str(file): _theirs(file, names) for file in sorted((folder / "quarantine").glob("*.parquet"))}
    tables = {str(file): _theirs(file, names) for file in sorted(runs.rglob("*.parquet"))} if runs.is_dir() else {}
    found = {place: frame.to_dicts() for place, frame in (aside | tables).items() if frame.height}
    if row is None and not found:
        raise ConfigurationError(f"{folder} and {runs} hold nothing on customer {customer}")
    about = {} if row is None else log.customers.row(row, named=True)
    events = [] if row is None else customer_events(log, row)
    return {"customer": customer, "attributes": about, "events": events, "tables": found,
            "models": models_trained_on(log, folder, runs, row)}  # fmt: skip


def customer_events(log: EventLog, row: int) -> list[dict[str, Any]]:
    """The events of one customer of the log under their original names."""
    span = slice(int(log.offsets[row]), int(log.offsets[row + 1]))
    items, channels = [*log.items["item"].to_list(), None], [*log.meta["channels"], None]
    return [
        {"day": to_date(int(log.day[e])).isoformat(), "kind": KINDS[log.kind[e]], "item": items[log.item[e]],
         "channel": channels[log.channel[e]], "order": int(log.order[e]), "quantity": float(log.quantity[e]),
         "revenue": float(log.revenue[e]), "discount": float(log.discount[e])}
        for e in range(span.start, span.stop)
    ]  # fmt: skip
