"""From raw tables to an event log in bounded memory: every row accounted for, ids coded, events by customer and day.

Rows are screened in a stream and shared out by ranges of customer id; range by range they are settled, sorted, encoded
and appended to the columns on disk. What holds for all rows (ids, names, days, counts) is gathered on the way.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.atomic import is_disk_full, whole_folder
from propensity.data.column_store import ColumnFiles, replace_codes
from propensity.data.event_log import COLUMNS, EventLog, fingerprint, refuse_other
from propensity.errors import DataError
from propensity.ingest.encode import NEVER, Coded, Names, encode
from propensity.ingest.erasure import erased
from propensity.ingest.external_partition import ExternalPartition, bounds_of
from propensity.ingest.privacy import mask, pseudonymise, refuse_personal_ids, without_contact_data
from propensity.ingest.rule import codes
from propensity.ingest.source import Source, Tables
from propensity.kernel.event import KINDS, PURCHASE

ALWAYS = np.iinfo(np.int32).min
MOST_CHANNELS = 127  # a channel is one byte
RANGE_ROWS = 2_000_000  # rows that are sorted at a time
OPTIONAL = {
    "kind": pl.lit("purchase"),
    "channel": pl.lit(None, pl.String),
    "order": pl.lit(None, pl.Int64),
    "quantity": pl.lit(1.0),
    "discount": pl.lit(0.0),
}
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def prepare(
    source: Source, out: str | Path, notes: Mapping[str, str] | None = None, key: bytes | None = None
) -> EventLog:
    """Loads `source` and leaves its log at `out`, whole or not at all, with `notes` (file name -> text) beside it.

    Rows that were refused lie beside it too, in `quarantine/*.parquet`, with a column `reason`. See `protected` for
    what is done for persons.
    """
    refuse_other(out)
    with readable():
        tables = protected(source.load(), out, key)
    with whole_folder(out) as draft:
        ingest(tables, draft).seal(draft, notes)
    return EventLog.open(out)


def protected(tables: Tables, out: str | Path, key: bytes | None) -> Tables:
    """The tables without erased customers, addresses and phone numbers, and with ids under `key` if there is one.

    Raises: DataError for ids that are addresses or phone numbers, where there is no key.
    """
    tables = erased(tables, out)
    if key is None:
        refuse_personal_ids(tables)
    else:
        tables = erased(pseudonymise(tables, key), out)
    return without_contact_data(tables)


def build_log(tables: Tables, range_rows: int = RANGE_ROWS) -> EventLog:
    """The event log of raw tables, in memory; see `ingest`."""
    with tempfile.TemporaryDirectory() as folder:
        log = ingest(tables, Path(folder), range_rows)
        columns: dict[str, Any] = {name: np.array(getattr(log, name)) for name in COLUMNS}
    log = replace(log, **columns)
    log.meta["fingerprint"] = fingerprint(log)
    return log


def ingest(tables: Tables, folder: Path, range_rows: int = RANGE_ROWS) -> EventLog:
    """Writes the columns of the log of raw tables to `folder`, which is there; returns the log, not sealed yet.

    range_rows: rows, about, that are held at a time. Codes are ranks of the sorted ids, so they do not depend on the
    order of delivery. Raises: DataError for tables without a usable event, or that a reader cannot decode.
    """
    with readable():
        return _ingest(tables, folder, range_rows)


@contextmanager
def readable() -> Iterator[None]:
    """Says in words that tables, which are only read when they are needed, cannot be read."""
    try:
        yield
    except UNREADABLE as error:
        if is_disk_full(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise DataError(f"the raw tables cannot be read ({reason}); deliver them again") from None


@dataclass
class Tally:
    """What is counted as rows go by; `first` and `last` are the days of the first and the last purchase."""

    rows: int = 0
    passed: int = 0
    nameless: int = 0
    used: int = 0
    purchases: int = 0
    first: int = NEVER
    last: int = ALWAYS
    kinds: set[str | None] = field(default_factory=set)
    dropped: Counter[str] = field(default_factory=Counter)
    merged: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)

    def passing(self, rows: pl.DataFrame) -> None:
        """Rows that were not refused by themselves."""
        self.passed += rows.height
        self.nameless += rows.select((pl.col("customer").is_null() | pl.col("day").is_null()).sum()).item()
        self.kinds |= set(rows["kind"].unique())

    def using(self, kind: np.ndarray, day: np.ndarray) -> None:
        """Events of the log."""
        sold = day[kind == PURCHASE]
        self.used += day.size
        self.purchases += sold.size
        if sold.size:
            self.first, self.last = min(self.first, int(sold.min())), max(self.last, int(sold.max()))

    def check_rows(self) -> None:
        """Whether what passed can be sorted and encoded."""
        if unknown := sorted(self.kinds - set(KINDS), key=str):
            raise DataError(f"unknown event kind {unknown[0]!r}; map it to one of {', '.join(KINDS)}")
        if self.nameless:
            raise DataError(
                f"{self.nameless} of {self.passed} events have no customer or no day; a source leaves those out"
            )


def _ingest(tables: Tables, folder: Path, range_rows: int) -> EventLog:
    tally, quarantine = Tally(), Quarantine(folder / "quarantine")
    schema = tables.events.collect_schema()
    absent = [value.alias(name) for name, value in OPTIONAL.items() if name not in schema]
    events = tables.screen(tables.events.with_columns(*absent))
    items, channels = Names(schema["item"]), Names(pl.String())
    customers: list[pl.Series] = [pl.Series(dtype=schema["customer"])]
    counts: list[np.ndarray] = [np.zeros(0, np.int64)]
    with tempfile.TemporaryDirectory(dir=folder) as place, ColumnFiles(folder, COLUMNS) as files:
        spill = _share_out(tables.events, events, Path(place), range_rows, tally, quarantine)
        for coded in _settled(spill, tables, items, channels, tally, quarantine):
            customers.append(coded.customer)
            counts.append(coded.events)
            files.append(coded.columns)
    rows = _account(tables, tally, quarantine)
    if channels.met.height > MOST_CHANNELS:
        raise DataError(
            f"the events name {channels.met.height} channels, at most {MOST_CHANNELS} fit; "
            "map channel to a coarser column"
        )
    ids = pl.concat(customers)
    about = _vocabulary(ids, tables.customers, "customer")
    stock = _items(items, tables.items)
    channel = channels.met["name"].sort()
    replace_codes(folder / "item.npy", items.ranks(stock["item"]))
    replace_codes(folder / "channel.npy", channels.ranks(channel))
    held = pl.DataFrame({"customer": ids, "count": np.concatenate(counts)})
    count = about.select("customer").join(held, on="customer", how="left", maintain_order="left")["count"].fill_null(0)
    tally.warnings.update(tables.warnings)
    meta: dict[str, Any] = {
        "rows": rows,
        "warnings": dict(sorted(tally.warnings.items())),
        "channels": channel.to_list(),
    }
    meta |= {"first_day": tally.first, "last_day": tally.last}
    columns: dict[str, Any] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    return EventLog(
        offsets=np.concatenate([[0], np.cumsum(count.to_numpy())]).astype(np.int64),
        item_known=stock["known"].to_numpy().astype(np.int32),
        customers=about,
        items=stock.drop("known"),
        meta=meta,
        **columns,
    )


def _share_out(
    raw: pl.LazyFrame, events: pl.LazyFrame, place: Path, range_rows: int, tally: Tally, quarantine: Quarantine
) -> ExternalPartition:
    """Spills the rows that pass, by customer, in one pass over the source."""
    rows = raw.select(pl.len()).collect(engine="streaming").item()
    spill = ExternalPartition(place, bounds_of(events.select("customer"), rows, range_rows), held=range_rows)
    for batch in events.collect_batches(engine="streaming"):
        tally.rows += batch.height
        if "reason" in batch.columns:
            refused = batch.filter(pl.col("reason").is_not_null())
            dropped = pl.col("reason").is_in(codes("drop"))
            tally.dropped.update(dict(refused.filter(dropped)["reason"].value_counts().iter_rows()))
            quarantine.add(refused.filter(~dropped))
            given = [name for name in batch.columns if name.startswith("given.")]
            batch = batch.filter(pl.col("reason").is_null()).drop("reason", *given)
        tally.passing(batch)
        if not tally.nameless:
            spill.add(batch)
    tally.check_rows()
    return spill


def _settled(
    spill: ExternalPartition, tables: Tables, items: Names, channels: Names, tally: Tally, quarantine: Quarantine
) -> Iterator[Coded]:
    """The log's columns range by range, the ranges ascending by customer id."""
    for rows in spill.ranges():
        settled = tables.settle(rows)
        tally.merged.update(settled.merged)
        tally.warnings.update(settled.warnings)
        quarantine.add(settled.quarantined)
        if settled.accepted.height:
            coded = encode(settled.accepted, items, channels)
            tally.using(coded.columns["kind"], coded.columns["day"])
            yield coded


def _account(tables: Tables, tally: Tally, quarantine: Quarantine) -> dict[str, Any]:
    """Where every row went; DataError unless each went somewhere, and some are events."""
    tally.dropped.update(tables.dropped)
    tally.merged.update(tables.merged)
    dropped, merged, aside = dict(tally.dropped), dict(tally.merged), dict(quarantine.reasons)
    left = sum(tables.dropped.values()) + sum(tables.merged.values())
    read = tally.rows + left if tables.read is None else tables.read
    found = tally.used + sum(sum(counts.values()) for counts in (merged, aside, dropped))
    if tally.used == 0:
        raise DataError(f"no usable event among {read} rows (left out: {dropped | aside}); check the columns")
    if tally.purchases == 0:
        raise DataError(f"none of {tally.used} events is a purchase; map data.source.columns.kind or leave it out")
    if read != found:
        raise DataError(f"{read} rows were read and {found} accounted for; a rule of the source loses or repeats rows")
    counts = {"merged": merged, "quarantined": aside, "dropped": dropped}
    return {"in": read, "used": tally.used} | {name: dict(sorted(each.items())) for name, each in counts.items()}


class Quarantine:
    """Refused rows as Parquet, a file for each delivery of them, and how many were refused for which `reasons`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reasons: Counter[str] = Counter()
        self.files = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Takes rows with a column `reason`; none is fine."""
        if rows.height:
            self.folder.mkdir(exist_ok=True)
            told = [name for name, kind in rows.schema.items() if name.startswith("given.") and kind == pl.String]
            rows.with_columns(mask(name) for name in told).write_parquet(self.folder / f"rows-{self.files:05d}.parquet")
            self.files += 1
            self.reasons.update(dict(rows["reason"].value_counts().iter_rows()))


def _vocabulary(ids: pl.Series, table: pl.LazyFrame | None, key: str) -> pl.DataFrame:
    """Distinct ids of both, sorted, with the table's attributes: row n is code n."""
    found = ids.alias(key).to_frame()
    if table is None:
        return found.sort(key)
    attributes = (
        table.drop_nulls(key)
        .unique(key, keep="last", maintain_order=True)
        .collect()
        .with_columns(pl.col(key).cast(ids.dtype))
    )
    every = pl.concat([found, attributes.select(key)]).unique().sort(key)
    return every.join(attributes, on=key, how="left", maintain_order="left")


def _items(met: Names, table: pl.LazyFrame | None) -> pl.DataFrame:
    """The item vocabulary with `known`, the day after which an item may be spoken of: its first event, or always."""
    items = _vocabulary(met.met["name"], table, "item")
    seen = met.met.select("first", item="name")
    first = items.select("item").join(seen, on="item", how="left", maintain_order="left")["first"]
    known = first.fill_null(NEVER).to_numpy()
    if table is not None and "known" not in items.columns:
        delivered = table.select(pl.col("item").cast(items.schema["item"])).collect()["item"]
        known = np.where(items["item"].is_in(delivered.implode()).to_numpy(), ALWAYS, known)
    return items.with_columns(known=pl.Series(known, dtype=pl.Int32))
