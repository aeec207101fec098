"""A day of events added to a log: only the day is read, sorted and encoded; what was there is copied.

The result is the log of both deliveries built at once, as long as the lines of an order come in one delivery. A log is
sorted by customer, so that the old events move; they are copied some customers at a time, in memory that does not grow
with the log, while reading and sorting cost what the new ones are worth.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
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
from propensity.ingest.source import Source
from propensity.kernel.event import fixed
from propensity.kernel.sort import merge_events, orders_so_far


def append(source: Source, out: str | Path, key: bytes | None = None) -> EventLog:
    """Adds the events of `source`, all later than those of the log at `out`, whole or not at all.

    Attributes of items and customers that the delivery describes again are replaced. Persons are protected as in
    `prepare`: erased customers stay away, and ids are stored under `key`. Raises: ConfigurationError without a log,
    DataError for an event that is not later.
    """
    out = Path(out)
    old = EventLog.open(out)
    with tempfile.TemporaryDirectory(dir=out.parent) as place, whole_folder(out) as draft:
        with translate_read_errors():
            tables = protect_personal_data(source.load(), out, key)
        new = ingest(tables, Path(place))
        check_later(old, new)
        described = {"item": _delivered(tables.items), "customer": _delivered(tables.customers)}
        _keep_others(out, Path(place), draft)
        merge_logs(old, new, described, draft).seal(draft)
    return EventLog.open(out)


def check_later(old: EventLog, new: EventLog) -> None:
    """DataError where an event of the new log is not later than all of the old."""
    last, first = int(old.day.max()), int(new.day.min())
    if first <= last:
        raise DataError(
            f"the delivery begins on {to_date(first)}, the log already holds {to_date(last)}; prepare both together"
        )


def merge_logs(old: EventLog, new: EventLog, described: Mapping[str, bool], draft: Path) -> EventLog:
    """The log of both, its columns written to `draft`; described: whether the delivery had tables of its own."""
    customers = _vocabulary(old.customers, new.customers, "customer", described["customer"])
    items = _vocabulary(
        old.items.with_columns(known=pl.Series(old.item_known)),
        new.items.with_columns(known=pl.Series(new.item_known)),
        "item",
        described["item"],
    )
    channels = sorted({*old.meta["channels"], *new.meta["channels"]})
    old_at, new_at = (_rows(customers, log.customers, "customer") for log in (old, new))
    begun = orders_so_far(fixed(old.offsets), fixed(old.order), old_at[_at(customers, new)])
    new = _recoded(new, items, channels, begun)
    codes = {"item": _code(old.items["item"], items["item"]), "channel": _channel_code(old, channels)}
    codes = {name: code for name, code in codes.items() if (code[:-1] != np.arange(code.size - 1)).any()}
    count = sum(np.where(at >= 0, np.diff(log.offsets)[at], 0) for at, log in ((old_at, old), (new_at, new)))
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    _write(old, new, (old_at, new_at), offsets, codes, draft)
    arrays: dict[str, Any] = {name: np.load(draft / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    return EventLog(
        offsets=offsets,
        item_known=items["known"].to_numpy().astype(np.int32),
        customers=customers,
        items=items.drop("known"),
        meta=_meta(old, new, channels),
        **arrays,
    )


def _write(
    old: EventLog,
    new: EventLog,
    at: tuple[np.ndarray, np.ndarray],
    offsets: np.ndarray,
    codes: Mapping[str, np.ndarray],
    draft: Path,
) -> None:
    """The columns of both, some customers at a time; at: rows (N,) of all customers in either log."""
    edges = np.searchsorted(offsets, np.arange(0, offsets[-1], CHUNK))
    new_offsets = fixed(new.offsets)
    with ColumnFiles(draft, COLUMNS) as files:
        for first, stop in pairwise(np.unique(np.append(edges, offsets.size - 1))):
            made = {name: np.empty(offsets[stop] - offsets[first], dtype) for name, dtype in COLUMNS.items()}
            old_at, new_at = (rows[first:stop] for rows in at)
            met = old_at[old_at >= 0]  # rows of the old log that follow one another
            ends = old.offsets[met[0] : met[-1] + 2] if met.size else np.zeros(1, np.int64)
            old_at = np.where(old_at >= 0, np.cumsum(old_at >= 0) - 1, -1)
            for name, out in made.items():
                before = getattr(old, name)[ends[0] : ends[-1]]
                before = codes[name][before].astype(out.dtype) if name in codes else before
                columns = fixed(before), fixed(getattr(new, name))
                merge_events(old_at, fixed(ends - ends[0]), new_at, new_offsets, *columns, out)
                release_pages(getattr(old, name))
            files.append(made)


def _vocabulary(old: pl.DataFrame, new: pl.DataFrame, key: str, described: bool) -> pl.DataFrame:
    """Rows of both, sorted; of one in both the new attributes where they were delivered, and the earlier `known`.

    Otherwise what was said first stays, as where a log is built from all events at once.
    """
    both = pl.concat([old, new.cast({key: old.schema[key]})], how="diagonal_relaxed")
    names = [name for name in both.columns if name not in (key, "known")]
    pick = [pl.col(name).drop_nulls().last() if described else pl.col(name).first() for name in names]
    known = [pl.col("known").min()] if "known" in both.columns else []
    return both.group_by(key).agg(*pick, *known).sort(key).select(both.columns)


def _delivered(table: pl.LazyFrame | None) -> bool:
    """Whether a table stands for itself, rather than for what the events say of items."""
    return table is not None and "known" not in table.collect_schema()


def _rows(every: pl.DataFrame, own: pl.DataFrame, key: str) -> np.ndarray:
    """Row of each of `every` in a log's own table, -1 without one."""
    place = own.select(key).with_row_index("row")
    found = every.select(key).join(place, on=key, how="left", maintain_order="left")["row"]
    return found.cast(pl.Int64).fill_null(-1).to_numpy()


def _at(customers: pl.DataFrame, log: EventLog) -> np.ndarray:
    """Place of each customer of a log among all."""
    return _rows(log.customers, customers, "customer")


def _code(own: pl.Series, every: pl.Series) -> np.ndarray:
    """Code of each name among all, and -1 at the end."""
    names = pl.DataFrame({"name": every.cast(own.dtype)})
    return np.append(_rows(pl.DataFrame({"name": own}), names, "name"), -1)


def _channel_code(log: EventLog, channels: list[str]) -> np.ndarray:
    return np.array([channels.index(name) for name in log.meta["channels"]] + [-1], np.int64)


def _recoded(new: EventLog, items: pl.DataFrame, channels: list[str], begun: np.ndarray) -> EventLog:
    """The new log under the names of both; begun (N,): orders that each of its customers had before."""
    more = np.repeat(begun, np.diff(new.offsets))
    return replace(
        new,
        item=_code(new.items["item"], items["item"])[new.item].astype(np.int32),
        channel=_channel_code(new, channels)[new.channel].astype(np.int8),
        order=np.where(new.order >= 0, new.order + more, -1).astype(np.int32),
    )


def _meta(old: EventLog, new: EventLog, channels: list[str]) -> dict[str, Any]:
    one, other = old.meta["rows"], new.meta["rows"]
    rows: dict[str, Any] = {name: one[name] + other[name] for name in ("in", "used")}
    rows |= {name: _summed(one, other, name) for name in ("merged", "quarantined", "dropped")}
    first, last = min(old.first_day, new.first_day), max(old.last_day, new.last_day)
    warnings = _summed(old.meta, new.meta, "warnings")
    return old.meta | {"rows": rows, "warnings": warnings, "channels": channels, "first_day": first, "last_day": last}


def _summed(one: dict[str, Any], other: dict[str, Any], name: str) -> dict[str, int]:
    """Counts by code of both, in the order of their codes."""
    return dict(sorted((Counter(one.get(name, {})) + Counter(other.get(name, {}))).items()))


def _keep_others(out: Path, place: Path, draft: Path) -> None:
    """Takes notes along, and the refused rows of both deliveries."""
    for note in (*out.glob("*.json"), *out.glob("*.txt")):
        shutil.copy(note, draft / note.name)
    files = [*(out / "quarantine").glob("*.parquet"), *(place / "quarantine").glob("*.parquet")]
    for k, file in enumerate(files):
        (draft / "quarantine").mkdir(exist_ok=True)
        shutil.copy(file, draft / "quarantine" / f"rows-{k:05d}.parquet")
