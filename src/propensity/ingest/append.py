"""Append of a delivery to a log: only the delivery is read, sorted and encoded; the old events are copied.

The result equals the log of both deliveries built at once if all lines of an order are in one delivery. A log is
sorted by customer, so the old events move. They are copied some customers at a time, in memory that does not grow with
the log.
"""

from __future__ import annotations

import copy
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.atomic import draft_folder, linked, whole_folder
from propensity.data.column_store import CHUNK, ColumnFiles, mapped_columns, release_pages
from propensity.data.contact import contact_key, contact_table
from propensity.data.event_log import COLUMNS, ENGAGEMENT, MISSING, OPTIONAL, EventLog, to_date
from propensity.errors import DataError
from propensity.ingest.build import ingest, protect_personal_data, translate_read_errors
from propensity.ingest.key_chain import chained_pseudonym, key_chain
from propensity.ingest.privacy import check_key, distinct_customers, with_ids
from propensity.ingest.retention import retain
from propensity.ingest.rule.identity import PADDED
from propensity.ingest.rule.matching import as_written, rows_of
from propensity.ingest.source import Source, Tables
from propensity.ingest.source.consent import merged_words, with_consent_flags
from propensity.ingest.source.table import EarlierLog, Table
from propensity.kernel.event import fixed
from propensity.kernel.sort import by_customer_and_day, merge_events, orders_so_far


def append(source: Source, out: str | Path, key: bytes | None = None, keep: int | None = None) -> EventLog:
    """Append the events of a source to a log, in one step.

    Attributes of items and customers that the delivery describes again are replaced. Personal data are protected as in
    `propensity.ingest.build.prepare`.

    Parameters
    ----------
    source : Source
        Raw tables whose events are all later than those of the log.
    out : str or Path
        Folder of the log.
    key : bytes, optional
        Key of the customer pseudonyms, the same as that of the log.
    keep : int, optional
        Days of the log, see `propensity.ingest.retention.retain`; by default those that the log was made with.

    Returns
    -------
    EventLog
        The extended log, memory-mapped.

    Raises
    ------
    ConfigurationError
        If there is no log, or its ids are stored under another key or under none.
    DataError
        If an event is not later than the log, or the tables cannot be read.
    """
    out = Path(out)
    old = EventLog.open(out, verify=True)  # what is copied gets new checksums
    check_key(old.meta, key, out)
    keys = key_chain(old.meta, key)
    with whole_folder(out) as draft:
        place = draft_folder(linked(out))
        try:
            with translate_read_errors():
                if isinstance(source, Table):
                    source = copy.copy(source)
                    source.earlier = EarlierLog(partial(_known, old, keys), _has_text_ids(old))
                tables = source.load() if keys else with_ids_of_log(source.load(), old)
                tables = protect_personal_data(tables, out, keys)
            new = ingest(tables, place)
            check_later(old, new)
            described = {"item": _is_delivered(tables.items), "customer": _is_delivered(tables.customers)}
            copy_other_files(out, place, draft)
            merged = merge_logs(old, new, described, draft, _stored(tables.aliases, old, keys))
            retain(merged, old.meta.get("keep") if keep is None else keep, draft).seal(draft)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return EventLog.open(out)


def check_later(old: EventLog, new: EventLog) -> None:
    """Check that the events of a delivery are later than those of the log.

    Parameters
    ----------
    old : EventLog
        The log.
    new : EventLog
        The log of the delivery.

    Raises
    ------
    DataError
        If an event of `new` is not later than all events of `old`, or their times have another zone.
    """
    last, first = old.last_event_day, new.first_event_day
    if first <= last:
        raise DataError(
            f"the delivery begins on {to_date(first)}, but the log ends on {to_date(last)}; prepare both together"
        )
    if old.timezone and new.timezone and old.timezone != new.timezone:
        raise DataError(
            f"the times of the delivery are in {new.timezone}, those of the log in {old.timezone}; "
            f"set data.source.timezone={old.timezone}"
        )


def _has_text_ids(log: EventLog) -> bool:
    return log.customers.schema["customer"] == pl.String


def with_ids_of_log(tables: Tables, old: EventLog) -> Tables:
    """Write the ids of known customers as the log does, such as 007 for 7.

    Parameters
    ----------
    tables : Tables
        Raw tables of a delivery.
    old : EventLog
        The log.

    Returns
    -------
    Tables
        The tables; unchanged if leading zeros tell two customers of the delivery apart, or if the log has none.
    """
    known = old.customers["customer"]
    if not _has_text_ids(old) or not known.str.contains(PADDED).any():
        return tables
    ids = distinct_customers(tables)
    written = as_written(ids, known)
    return tables if written.n_unique() < ids.len() else with_ids(tables, ids, written)


def _known(old: EventLog, keys: Sequence[bytes], ids: pl.Series) -> pl.Series:
    """Those of some ids that are customers of the log, as the log writes them; under keys, as delivered."""
    customers = old.customers["customer"]
    if not keys:
        row = rows_of(ids, customers)
        return customers[row[row >= 0]].cast(ids.dtype).unique()
    stored = pl.Series([chained_pseudonym(name, keys) for name in ids], dtype=pl.String)
    return ids.filter(pl.Series(rows_of(stored, customers) >= 0))


def _stored(aliases: pl.DataFrame | None, old: EventLog, keys: Sequence[bytes]) -> pl.DataFrame | None:
    """An identity map with the ids under which the log stores its customers."""
    if aliases is None:
        return None
    if not keys:
        return pl.DataFrame([as_written(ids, old.customers["customer"]) for ids in aliases.iter_columns()])
    return pl.DataFrame(
        [
            pl.Series(ids.name, [chained_pseudonym(name, keys) for name in ids], pl.String)
            for ids in aliases.iter_columns()
        ]
    )


def merge_logs(
    old: EventLog,
    new: EventLog,
    described: Mapping[str, bool],
    draft: Path,
    aliases: pl.DataFrame | None = None,
    late: bool = False,
) -> EventLog:
    """Merge two logs of consecutive periods.

    Parameters
    ----------
    old, new : EventLog
        The logs; events of `new` are later.
    described : mapping of str to bool
        Whether the delivery has a table of its own for "item" and "customer".
    draft : Path
        Folder for the columns.
    aliases : polars.DataFrame, optional
        Identity map of the delivery: ids of customers of the old log, and of those who replace them.
    late : bool
        Events of `new` may be earlier than those of `old`; they have no order of a purchase.

    Returns
    -------
    EventLog
        The merged log, which `EventLog.seal` completes.
    """
    before, after = (with_consent_flags(log.customers.lazy()).collect() for log in (old, new))
    customers = merged_words(_vocabulary(before, after, "customer", described["customer"]), before, after, aliases)
    items = _vocabulary(
        old.items.with_columns(known=pl.Series(old.item_known)),
        new.items.with_columns(known=pl.Series(new.item_known)),
        "item",
        described["item"],
    )
    channels = sorted({*old.meta["channels"], *new.meta["channels"]})
    contacts = _contacts(old, new)
    rows = _rows(customers, old.customers, "customer"), _rows(customers, new.customers, "customer")
    earlier_orders = orders_so_far(fixed(old.offsets), fixed(old.order), rows[0][_places(customers, new)])
    new_codes = _codes(new, items, channels, contacts)
    new = _recode(new, new_codes, earlier_orders)
    codes = _codes(old, items, channels, contacts)
    codes = {name: code for name, code in codes.items() if (code[:-1] != np.arange(code.size - 1)).any()}
    log = EventLog(
        item_known=items["known"].to_numpy().astype(np.int32),
        customers=customers,
        items=items.drop("known"),
        meta=_meta(old, new, channels),
        contacts=contacts,
        **_write_columns(old, new, rows, codes, draft, late),
    )
    parts = [each.engagement or _without_events(each) for each in (old, new)]
    if old.engagement is None and new.engagement is None:
        return log
    (draft / ENGAGEMENT).mkdir()
    if new.engagement is not None:
        parts[1] = _recode(new.engagement, new_codes, np.zeros(len(new), np.int32))
    return replace(log, engagement=log.sibling(_write_columns(parts[0], parts[1], rows, codes, draft / ENGAGEMENT)))


def _without_events(log: EventLog) -> EventLog:
    """No events of the same customers."""
    empty = {name: np.zeros(0, kind) for name, kind in COLUMNS.items()}
    return log.sibling({"offsets": np.zeros(len(log) + 1, np.int64)} | empty)


def _write_columns(
    old: EventLog,
    new: EventLog,
    rows: tuple[np.ndarray, np.ndarray],
    codes: Mapping[str, np.ndarray],
    draft: Path,
    late: bool = False,
) -> dict[str, Any]:
    """Write the merged columns some customers at a time; rows: row (N,) of each customer in either log, or -1.

    Returns the columns, memory-mapped, and their offsets.
    """
    counts = [np.where(at >= 0, np.diff(log.offsets)[at], 0) for at, log in zip(rows, (old, new), strict=True)]
    offsets = np.concatenate([[0], np.cumsum(sum(counts))]).astype(np.int64)
    types = old.column_types | new.column_types
    edges = np.searchsorted(offsets, np.arange(0, offsets[-1], CHUNK))
    new_offsets = fixed(new.offsets)
    with ColumnFiles(draft, types) as files:
        for first, stop in pairwise(np.unique(np.append(edges, offsets.size - 1))):
            merged = {name: np.empty(offsets[stop] - offsets[first], dtype) for name, dtype in types.items()}
            old_rows, new_rows = (each[first:stop] for each in rows)
            present = old_rows[old_rows >= 0]  # consecutive rows of the old log
            ends = old.offsets[present[0] : present[-1] + 2] if present.size else np.zeros(1, np.int64)
            old_rows = np.where(old_rows >= 0, np.cumsum(old_rows >= 0) - 1, -1)
            for name, out in merged.items():
                before = _values(old, name, ends[0], ends[-1])
                before = codes[name][before].astype(out.dtype) if name in codes else before
                columns = fixed(before), fixed(_values(new, name, 0, new.day.size))
                merge_events(old_rows, fixed(ends - ends[0]), new_rows, new_offsets, *columns, out)
                if getattr(old, name) is not None:
                    release_pages(getattr(old, name))
            if late:
                owner = np.repeat(np.arange(stop - first), np.diff(offsets[first : stop + 1]))
                by_day = by_customer_and_day(owner, merged["day"].astype(np.int64), int(stop - first))
                merged = {name: column[by_day] for name, column in merged.items()}
            files.append(merged)
    return mapped_columns(draft, np.diff(offsets), types)


def _values(log: EventLog, name: str, start: int, stop: int) -> np.ndarray:
    """Values of a column in [start, stop); those of a log without the column are missing."""
    column = getattr(log, name)
    return np.full(stop - start, MISSING[name], OPTIONAL[name]) if column is None else np.asarray(column[start:stop])


def _contacts(old: EventLog, new: EventLog) -> pl.DataFrame | None:
    """Distinct contacts of both logs, None without any."""
    tables = [log.contacts for log in (old, new) if log.contacts is not None]
    return contact_table(contact_key(pl.concat(tables)).unique().sort()) if tables else None


def _vocabulary(old: pl.DataFrame, new: pl.DataFrame, key: str, described: bool) -> pl.DataFrame:
    """Sorted rows of both tables; an id in both has the new attributes if `described`, and the earlier `known`.

    Otherwise the first description is kept, as in a log that is built from all events at once.
    """
    both = pl.concat([old, new.cast({key: old.schema[key]})], how="diagonal_relaxed")
    names = [name for name in both.columns if name not in (key, "known")]
    attributes = [pl.col(name).drop_nulls().last() if described else pl.col(name).first() for name in names]
    known = [pl.col("known").min()] if "known" in both.columns else []
    return both.group_by(key).agg(*attributes, *known).sort(key).select(both.columns)


def _is_delivered(table: pl.LazyFrame | None) -> bool:
    """Whether a table was delivered, rather than derived from the events."""
    return table is not None and "known" not in table.collect_schema()


def _rows(ids: pl.DataFrame, table: pl.DataFrame, key: str) -> np.ndarray:
    """Row of each id in a table, -1 if it is not there."""
    place = table.select(key).with_row_index("row")
    rows = ids.select(key).join(place, on=key, how="left", maintain_order="left")["row"]
    return rows.cast(pl.Int64).fill_null(-1).to_numpy()


def _places(customers: pl.DataFrame, log: EventLog) -> np.ndarray:
    """Row in `customers` of each customer of a log."""
    return _rows(log.customers, customers, "customer")


def _code(names: pl.Series, vocabulary: pl.Series) -> np.ndarray:
    """Code of each name in the vocabulary, with -1 appended."""
    table = pl.DataFrame({"name": vocabulary.cast(names.dtype)})
    return np.append(_rows(pl.DataFrame({"name": names}), table, "name"), -1)


def _channel_code(log: EventLog, channels: list[str]) -> np.ndarray:
    """Code of each channel of a log in `channels`, with -1 appended."""
    return np.array([channels.index(name) for name in log.meta["channels"]] + [-1], np.int64)


def _codes(
    log: EventLog, items: pl.DataFrame, channels: list[str], contacts: pl.DataFrame | None
) -> dict[str, np.ndarray]:
    """Merged code of each code of a log, by column, with -1 appended."""
    codes = {"item": _code(log.items["item"], items["item"]), "channel": _channel_code(log, channels)}
    if contacts is not None and log.contacts is not None:
        codes["contact"] = _code(contact_key(log.contacts), contact_key(contacts))
    return codes


def _recode(new: EventLog, codes: Mapping[str, np.ndarray], earlier_orders: np.ndarray) -> EventLog:
    """The new log with merged codes; earlier_orders (N,): number of its customers' orders in the old log."""
    shift = np.repeat(earlier_orders, np.diff(new.offsets))
    present = {name: code for name, code in codes.items() if getattr(new, name) is not None}
    recoded = {name: code[getattr(new, name)].astype(new.column_types[name]) for name, code in present.items()}
    return replace(new, **recoded, order=np.where(new.order >= 0, new.order + shift, -1).astype(np.int32))


def _meta(old: EventLog, new: EventLog, channels: list[str]) -> dict[str, Any]:
    """Metadata of the merged log."""
    one, other = old.meta["rows"], new.meta["rows"]
    rows: dict[str, Any] = {name: one[name] + other[name] for name in ("in", "used")}
    rows |= {name: _add_counts(one, other, name) for name in ("merged", "quarantined", "dropped")}
    first, last = min(old.first_day, new.first_day), max(old.last_day, new.last_day)
    warnings = _add_counts(old.meta, new.meta, "warnings")
    merged = {"rows": rows, "warnings": warnings, "channels": channels, "first_day": first, "last_day": last}
    merged["formerly"] = [*old.meta.get("formerly", []), old.fingerprint]
    for name in ("money", "not_products"):
        one, other = old.meta.get(name, {}), new.meta.get(name, {})
        merged[name] = {key: round(one.get(key, 0) + other.get(key, 0), 2) for key in {**one, **other}}
    if zone := old.timezone or new.timezone:
        merged["timezone"] = zone
    for name in ("large_lines", "formats"):
        merged[name] = [*old.meta.get(name, []), *new.meta.get(name, [])]
    return old.meta | merged


def _add_counts(one: dict[str, Any], other: dict[str, Any], name: str) -> dict[str, int]:
    """Sum of two counts by code, sorted by code."""
    return dict(sorted((Counter(one.get(name, {})) + Counter(other.get(name, {}))).items()))


def copy_other_files(out: Path, place: Path | None, draft: Path) -> None:
    """Copy the notes of the log and the quarantined rows of both deliveries; place: of the second, if there is one."""
    for note in (*out.glob("*.json"), *out.glob("*.txt")):
        shutil.copy(note, draft / note.name)
    files = [file for each in (out, place) if each is not None for file in (each / "quarantine").glob("*.parquet")]
    for k, file in enumerate(files):
        (draft / "quarantine").mkdir(exist_ok=True)
        shutil.copy(file, draft / "quarantine" / f"rows-{k:05d}.parquet")
