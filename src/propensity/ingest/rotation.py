"""Rotation of the key of a log: its customer ids are hashed once more, under a new key, in one step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity import audit
from propensity.data.column_store import CHUNK, ColumnFiles, mapped_columns, release_pages
from propensity.data.event_log import ENGAGEMENT, EventLog
from propensity.data.log_folder import META
from propensity.errors import ConfigurationError
from propensity.ingest.compact import open_whole, rewriting
from propensity.ingest.customer_data import id_columns, scan_cells
from propensity.ingest.key_chain import FORMER, encrypted, key_chain
from propensity.ingest.privacy import check_key, key_fingerprint, pseudonym, read_key
from propensity.ingest.provenance import Provenance


class RotationResult(NamedTuple):
    """Result of a rotation."""

    customers: int
    quarantined: int  # rows of the quarantine with a customer
    tables: list[str]  # tables of runs that hold ids under the former key
    models: list[str]  # runs that were trained on the log


def rotate_key(folder: str | Path, pseudonym_key: str, new_pseudonym_key: str, runs: str | Path) -> RotationResult:
    """Store the customer ids of a log under a new key.

    Parameters
    ----------
    folder : str or Path
        Folder of the log.
    pseudonym_key, new_pseudonym_key : str
        Locations of the present and of the new key, `file:<path>` or `env:<name>`.
    runs : str or Path
        Folder that is searched for what was made from the log, and that has the audit log.

    Returns
    -------
    RotationResult
        What was changed, and what still holds the former ids.

    Raises
    ------
    ConfigurationError
        If the log does not store its ids under the present key, or the new key was a key of the log; nothing has
        changed then.

    Notes
    -----
    Tombstones hold hashes of delivered ids and of former pseudonyms. They stay valid, because a delivery is compared
    with them before and after each key of the chain.
    """
    folder, runs = Path(folder), Path(runs)
    key, new_key = read_key(pseudonym_key), read_key(new_pseudonym_key, "new_pseudonym")
    log = open_whole(folder)  # what is copied gets new checksums
    if "key" not in log.meta:
        raise ConfigurationError(f"{folder} has no fingerprint of its key; prepare it again under the new key")
    check_key(log.meta, key, folder)
    keys = key_chain(log.meta, key)
    if new_key in keys:
        raise ConfigurationError(f"new_pseudonym={new_pseudonym_key} is or was a key of {folder}; make a new key")
    provenance = Provenance(log, folder, [runs])
    tables = [str(file) for file in provenance.tables() if _has_customers(file, log.customers["customer"])]
    models = sorted({str(entry["run"]) for entry in provenance.trainings()})
    with rewriting(folder, log) as draft:
        for note in (*folder.glob("*.json"), *folder.glob("*.txt")):
            shutil.copy(note, draft / note.name)
        (draft / META).unlink()
        quarantined = _write_quarantine(folder / "quarantine", draft / "quarantine", new_key)
        meta = log.meta | {
            "key": key_fingerprint(new_key),
            FORMER: [encrypted(each, new_key) for each in keys],
            "formerly": [*log.meta.get("formerly", []), log.fingerprint],
        }
        rotated = _with_ids(replace(log, meta=meta), _under_key(log.customers["customer"], new_key), draft)
        rotated.seal(draft)
    entry = {"fingerprint": EventLog.open(folder).fingerprint, "customers": len(log), "key": meta["key"]}
    audit.append(runs, "rotate_key", {"log": str(folder), **entry, "former": log.meta["key"]})
    return RotationResult(len(log), quarantined, tables, models)


def _under_key(ids: pl.Series, key: bytes) -> pl.Series:
    """Pseudonyms of ids; null stays null."""
    return pl.Series(ids.name, [None if name is None else pseudonym(name, key) for name in ids], pl.String)


def _has_customers(file: Path, ids: pl.Series) -> bool:
    """Whether a table holds any of some customer ids."""
    try:
        frame = scan_cells(file)
        same = [pl.col(name).cast(pl.String).is_in(ids.implode()).any() for name in id_columns(frame)]
        return bool(same) and bool(frame.select(pl.any_horizontal(same)).collect().item())
    except pl.exceptions.PolarsError:
        return False  # not a table


def _write_quarantine(source: Path, target: Path, key: bytes) -> int:
    """Write the quarantined rows with new ids; returns the number of those with a customer."""
    count = 0
    for file in sorted(source.glob("*.parquet")):
        target.mkdir(exist_ok=True)
        rows = pl.read_parquet(file)
        if "customer" in rows.columns:
            rows = rows.with_columns(_under_key(rows["customer"], key))
            count += rows["customer"].count()
        rows.write_parquet(target / file.name)
    return count


def _with_ids(log: EventLog, ids: pl.Series, draft: Path) -> EventLog:
    """The log with other customer ids (N,), its columns written in their order to a folder."""
    order = ids.arg_sort().to_numpy()
    customers = log.customers.with_columns(customer=ids)[order]
    log = replace(log, customers=customers, **_write_columns(log, order, draft))
    if log.engagement is None:
        return log
    (draft / ENGAGEMENT).mkdir()
    return replace(log, engagement=log.sibling(_write_columns(log.engagement, order, draft / ENGAGEMENT)))


def _write_columns(log: EventLog, order: np.ndarray, folder: Path) -> dict[str, Any]:
    """Write the columns with the customers in another order (N,); returns them, memory-mapped, with offsets."""
    types = log.column_types
    with ColumnFiles(folder, types) as files:
        for events in _events_in_order(log.offsets, order):
            files.append({name: np.asarray(getattr(log, name)[events]) for name in types})
            for name in types:
                release_pages(getattr(log, name))
    return mapped_columns(folder, np.diff(log.offsets)[order], types)


def _events_in_order(offsets: np.ndarray, order: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of the events of some customers at a time."""
    size = np.diff(offsets)[order]
    ends = np.cumsum(size)
    edges = np.searchsorted(ends, np.arange(0, ends[-1] if ends.size else 0, CHUNK), side="right")
    for start, stop in zip(edges, [*edges[1:], order.size], strict=True):
        part = size[start:stop]
        first = offsets[order[start:stop]] - (np.cumsum(part) - part)
        yield np.repeat(first, part) + np.arange(part.sum())
