"""Append of a delivery to a log: only the delivery is read, sorted and encoded; the old events are copied.

The result equals the log of both deliveries built at once if all lines of an order are in one delivery. A log is
sorted by customer, so the old events move. They are copied some customers at a time, in memory that does not grow with
the log.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.atomic import whole_folder
from propensity.data.column_store import CHUNK, ColumnFiles, release_pages
from propensity.data.event_log import COLUMNS, EventLog, to_date
from propensity.errors import DataError
from propensity.ingest.build import ingest, protect_personal_data, translate_read_errors
from propensity.ingest.privacy import pseudonym
from propensity.ingest.retention import retain
from propensity.ingest.rule.matching import rows_of
from propensity.ingest.source import Source
from propensity.ingest.source.people import merged_words, with_consent_flags
from propensity.ingest.source.table import Table
from propensity.kernel.event import fixed
from propensity.kernel.sort import merge_events, orders_so_far


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
        If there is no log.
    DataError
        If an event is not later than the log, or the tables cannot be read.
    """
    out = Path(out)
    old = EventLog.open(out)
    with tempfile.TemporaryDirectory(dir=out.parent) as place, whole_folder(out) as draft:
        aliases = None
        with translate_read_errors():
            if isinstance(source, Table):
                source = copy.copy(source)
                source.earlier = partial(_known, old, key)
                aliases = _stored(source.aliases(), old, key)
            tables = protect_personal_data(source.load(), out, key)
        new = ingest(tables, Path(place))
        check_later(old, new)
        described = {"item": _is_delivered(tables.items), "customer": _is_delivered(tables.customers)}
        _copy_other_files(out, Path(place), draft)
        merged = merge_logs(old, new, described, draft, aliases)
        retain(merged, old.meta.get("keep") if keep is None else keep, draft).seal(draft)
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
        If an event of `new` is not later than all events of `old`.
    """
    last, first = int(old.day.max()), int(new.day.min())
    if first <= last:
        raise DataError(
            f"the delivery begins on {to_date(first)}, but the log ends on {to_date(last)}; prepare both together"
        )


def _known(old: EventLog, key: bytes | None, ids: pl.Series) -> pl.Series:
    """Those of some ids, as delivered, that are customers of the log."""
    stored = ids if key is None else pl.Series([pseudonym(name, key) for name in ids], dtype=pl.String)
    return ids.filter(pl.Series(rows_of(stored, old.customers["customer"]) >= 0))


def _stored(aliases: pl.DataFrame | None, old: EventLog, key: bytes | None) -> pl.DataFrame | None:
    """An identity map with the ids under which the log stores its customers."""
    if aliases is None:
        return None
    dtype = old.customers.schema["customer"]
    columns = [aliases["alias"], aliases["customer"]]
    if key is not None:
        columns = [pl.Series(ids.name, [pseudonym(name, key) for name in ids], pl.String) for ids in columns]
    return pl.DataFrame(columns).with_columns(pl.all().cast(dtype))


def merge_logs(
    old: EventLog, new: EventLog, described: Mapping[str, bool], draft: Path, aliases: pl.DataFrame | None = None
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
    old_rows, new_rows = (_rows(customers, log.customers, "customer") for log in (old, new))
    earlier_orders = orders_so_far(fixed(old.offsets), fixed(old.order), old_rows[_places(customers, new)])
    new = _recode(new, items, channels, earlier_orders)
    codes = {"item": _code(old.items["item"], items["item"]), "channel": _channel_code(old, channels)}
    codes = {name: code for name, code in codes.items() if (code[:-1] != np.arange(code.size - 1)).any()}
    count = sum(np.where(rows >= 0, np.diff(log.offsets)[rows], 0) for rows, log in ((old_rows, old), (new_rows, new)))
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    _write_columns(old, new, (old_rows, new_rows), offsets, codes, draft)
    arrays: dict[str, Any] = {name: np.load(draft / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    return EventLog(
        offsets=offsets,
        item_known=items["known"].to_numpy().astype(np.int32),
        customers=customers,
        items=items.drop("known"),
        meta=_meta(old, new, channels),
        **arrays,
    )


def _write_columns(
    old: EventLog,
    new: EventLog,
    rows: tuple[np.ndarray, np.ndarray],
    offsets: np.ndarray,
    codes: Mapping[str, np.ndarray],
    draft: Path,
) -> None:
    """Write the merged columns some customers at a time; rows: row (N,) of each customer in either log, or -1."""
    edges = np.searchsorted(offsets, np.arange(0, offsets[-1], CHUNK))
    new_offsets = fixed(new.offsets)
    with ColumnFiles(draft, COLUMNS) as files:
        for first, stop in pairwise(np.unique(np.append(edges, offsets.size - 1))):
            merged = {name: np.empty(offsets[stop] - offsets[first], dtype) for name, dtype in COLUMNS.items()}
            old_rows, new_rows = (each[first:stop] for each in rows)
            present = old_rows[old_rows >= 0]  # consecutive rows of the old log
            ends = old.offsets[present[0] : present[-1] + 2] if present.size else np.zeros(1, np.int64)
            old_rows = np.where(old_rows >= 0, np.cumsum(old_rows >= 0) - 1, -1)
            for name, out in merged.items():
                before = getattr(old, name)[ends[0] : ends[-1]]
                before = codes[name][before].astype(out.dtype) if name in codes else before
                columns = fixed(before), fixed(getattr(new, name))
                merge_events(old_rows, fixed(ends - ends[0]), new_rows, new_offsets, *columns, out)
                release_pages(getattr(old, name))
            files.append(merged)


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


def _recode(new: EventLog, items: pl.DataFrame, channels: list[str], earlier_orders: np.ndarray) -> EventLog:
    """The new log with merged codes; earlier_orders (N,): number of its customers' orders in the old log."""
    shift = np.repeat(earlier_orders, np.diff(new.offsets))
    return replace(
        new,
        item=_code(new.items["item"], items["item"])[new.item].astype(np.int32),
        channel=_channel_code(new, channels)[new.channel].astype(np.int8),
        order=np.where(new.order >= 0, new.order + shift, -1).astype(np.int32),
    )


def _meta(old: EventLog, new: EventLog, channels: list[str]) -> dict[str, Any]:
    """Metadata of the merged log."""
    one, other = old.meta["rows"], new.meta["rows"]
    rows: dict[str, Any] = {name: one[name] + other[name] for name in ("in", "used")}
    rows |= {name: _add_counts(one, other, name) for name in ("merged", "quarantined", "dropped")}
    first, last = min(old.first_day, new.first_day), max(old.last_day, new.last_day)
    warnings = _add_counts(old.meta, new.meta, "warnings")
    return old.meta | {"rows": rows, "warnings": warnings, "channels": channels, "first_day": first, "last_day": last}


def _add_counts(one: dict[str, Any], other: dict[str, Any], name: str) -> dict[str, int]:
    """Sum of two counts by code, sorted by code."""
    return dict(sorted((Counter(one.get(name, {})) + Counter(other.get(name, {}))).items()))


def _copy_other_files(out: Path, place: Path, draft: Path) -> None:
    """Copy the notes of the log and the quarantined rows of both deliveries."""
    for note in (*out.glob("*.json"), *out.glob("*.txt")):
        shutil.copy(note, draft / note.name)
    files = [*(out / "quarantine").glob("*.parquet"), *(place / "quarantine").glob("*.parquet")]
    for k, file in enumerate(files):
        (draft / "quarantine").mkdir(exist_ok=True)
        shutil.copy(file, draft / "quarantine" / f"rows-{k:05d}.parquet")
