"""Tombstones of erased customers, by which their later deliveries are rejected.

`tombstones.json` beside and inside a log holds salted hashes of the erased ids, not the ids.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from propensity.atomic import only_writer, whole_file
from propensity.checksum import is_signed, signed
from propensity.data.log_folder import TOMBSTONES
from propensity.errors import IntegrityError
from propensity.ingest.key_chain import chained_pseudonym
from propensity.ingest.source import Tables


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


def are_erased(ids: pl.Series, log: str | Path, keys: Sequence[bytes] = ()) -> pl.Series:
    """Compare customer ids with the tombstones of a log.

    Parameters
    ----------
    ids : polars.Series
        Ids (n,) as delivered.
    log : str or Path
        Folder of the log.
    keys : sequence of bytes
        Keys of the log, the oldest first.

    Returns
    -------
    polars.Series of bool
        Whether there is a tombstone (n,) of the id, or of its pseudonym after any of the keys.
    """
    records = [record for record in _records(Path(log)) if record["stones"]]
    chains = (_with_pseudonyms(name, keys) if records else [] for name in ids)
    stones = [any(_has_stone(each, name) for each in records for name in chain) for chain in chains]
    return pl.Series(stones, dtype=pl.Boolean)


def _with_pseudonyms(identity: object, keys: Sequence[bytes]) -> list[object]:
    """An id, and its pseudonym after each key."""
    return [identity, *(chained_pseudonym(identity, keys[:n]) for n in range(1, len(keys) + 1))]


def has_tombstones(log: str | Path) -> bool:
    """Whether a log has any tombstone."""
    return any(record["stones"] for record in _records(Path(log)))


def drop_customers(tables: Tables, ids: pl.Series) -> Tables:
    """Drop customers who have a tombstone.

    Parameters
    ----------
    tables : Tables
        Raw tables.
    ids : polars.Series
        Their ids (n,) in these tables.

    Returns
    -------
    Tables
        The tables; each row of these customers is dropped under the rule `customer_erased`.
    """
    if not len(ids):
        return tables
    erased = pl.col("customer").is_in(ids.implode()).fill_null(False)
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


def remove_tombstones(identities: list[str], log: str | Path) -> int:
    """Remove the tombstones of the ids of one customer.

    Parameters
    ----------
    identities : list of str
        Ids under which the customer may be delivered or stored.
    log : str or Path
        Folder of the log.

    Returns
    -------
    int
        Number of removed tombstones.
    """
    log, removed = Path(log), 0
    for record in _records(log):
        stones = {tombstone_hash(name, record["salt"]) for name in identities} & record["stones"].keys()
        for stone in stones:
            del record["stones"][stone]
        if stones:
            _write_record(log, record)
        removed += len(stones)
    return removed


def _has_stone(record: Mapping[str, Any], identity: object) -> bool:
    return tombstone_hash(identity, record["salt"]) in record["stones"]


def _records(log: Path) -> list[dict[str, Any]]:
    """Tombstones of a log: those beside it under its name, then those inside it."""
    shelf, inside = _read(log.parent / TOMBSTONES), _read(log / TOMBSTONES)
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
    shelf_path = log.parent / TOMBSTONES
    with only_writer(shelf_path):
        shelf = _read(shelf_path)
        if shelf.get("salt") == record["salt"]:  # of an earlier version, which had one list for the whole folder
            shelf |= record
        else:
            shelf["logs"] = shelf.get("logs", {}) | {log.resolve().name: record}
        with whole_file(shelf_path) as draft:
            draft.write_text(json.dumps(signed(shelf), indent=1))
    if log.is_dir():
        with whole_file(log / TOMBSTONES) as draft:
            draft.write_text(json.dumps(signed(record), indent=1))


def tombstone_note(log: str | Path) -> dict[str, str]:
    """The copy of a log's tombstones that stands inside it, as a note for `EventLog.seal`; empty without tombstones."""
    log = Path(log)
    record = _read(log.parent / TOMBSTONES).get("logs", {}).get(log.resolve().name) or _read(log / TOMBSTONES)
    return {TOMBSTONES: json.dumps(signed(record), indent=1)} if record else {}
