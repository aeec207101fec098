"""From raw tables to an event log in bounded memory: rows counted, ids encoded, events sorted by customer and day.

Rows are screened in a stream and partitioned by ranges of customer id. Each range is settled, sorted, encoded and
appended to the columns on disk. Ids, names, days and counts of all rows are collected on the way.
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
from propensity.data.event_log import COLUMNS, EventLog, check_replaceable, fingerprint
from propensity.errors import DataError
from propensity.ingest.encode import NEVER, CodeTable, EncodedEvents, encode
from propensity.ingest.erasure import drop_erased
from propensity.ingest.external_partition import ExternalPartition, partition_bounds
from propensity.ingest.privacy import mask_contact_data, pseudonymise, refuse_personal_ids, remove_contact_data
from propensity.ingest.retention import retain
from propensity.ingest.rule import rule_codes
from propensity.ingest.source import RAW, Source, Tables
from propensity.ingest.source.people import with_consent_flags
from propensity.kernel.event import KINDS, PURCHASE

ALWAYS = np.iinfo(np.int32).min
MAX_CHANNELS = 127  # a channel code is one signed byte
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
    source: Source,
    out: str | Path,
    notes: Mapping[str, str] | None = None,
    key: bytes | None = None,
    keep: int | None = None,
) -> EventLog:
    """Build the log of a source and write it in one step.

    Parameters
    ----------
    source : Source
        Raw tables.
    out : str or Path
        Folder of the log; rejected rows are written to its `quarantine/*.parquet` with a column `reason`.
    notes : mapping of str to str, optional
        Text files to write beside the log, by name.
    key : bytes, optional
        Key of the customer pseudonyms, see `protect_personal_data`.
    keep : int, optional
        Days of the log, see `propensity.ingest.retention.retain`; by default all.

    Returns
    -------
    EventLog
        The log, memory-mapped.

    Raises
    ------
    ConfigurationError
        If `out` holds something other than a log.
    DataError
        If the tables cannot be read or have no usable event.
    """
    check_replaceable(out)
    with translate_read_errors():
        tables = protect_personal_data(source.load(), out, key)
    with whole_folder(out) as draft:
        log = retain(ingest(tables, draft), keep, draft)
        log.meta["source"] = type(source).__module__.rsplit(".", 1)[-1]
        log.seal(draft, notes)
    return EventLog.open(out)


def protect_personal_data(tables: Tables, out: str | Path, key: bytes | None) -> Tables:
    """Remove erased customers and contact data, and replace customer ids by pseudonyms if there is a key.

    Parameters
    ----------
    tables : Tables
        Raw tables.
    out : str or Path
        Folder of the log; tombstones of erased customers are beside it.
    key : bytes, optional
        Key of the pseudonyms.

    Returns
    -------
    Tables
        The tables without e-mail addresses and phone numbers.

    Raises
    ------
    DataError
        If customer ids are e-mail addresses or phone numbers and there is no key.
    """
    tables = drop_erased(tables, out)
    if key is None:
        refuse_personal_ids(tables)
    else:
        tables = drop_erased(pseudonymise(tables, key), out)
    return remove_contact_data(tables)


def build_log(tables: Tables, range_rows: int = RANGE_ROWS, keep: int | None = None) -> EventLog:
    """Build the log of raw tables in memory.

    Parameters
    ----------
    tables : Tables
        Raw tables.
    range_rows : int
        Rows that are sorted at a time.
    keep : int, optional
        Days of the log, see `propensity.ingest.retention.retain`; by default all.

    Returns
    -------
    EventLog
        The log.

    Raises
    ------
    DataError
        If the tables cannot be read or have no usable event.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = retain(ingest(tables, Path(folder), range_rows), keep, Path(folder))
        columns: dict[str, Any] = {name: np.array(getattr(log, name)) for name in COLUMNS}
    log = replace(log, **columns)
    log.meta["fingerprint"] = fingerprint(log)
    return log


def ingest(tables: Tables, folder: Path, range_rows: int = RANGE_ROWS) -> EventLog:
    """Write the columns of the log of raw tables.

    Parameters
    ----------
    tables : Tables
        Raw tables.
    folder : Path
        Existing folder of the columns.
    range_rows : int
        Approximate number of rows in memory.

    Returns
    -------
    EventLog
        The log, which `EventLog.seal` completes. Codes are ranks of the sorted ids, so they do not depend on the order
        of delivery.

    Raises
    ------
    DataError
        If the tables cannot be read or have no usable event.
    """
    with translate_read_errors():
        return _ingest(tables, folder, range_rows)


@contextmanager
def translate_read_errors() -> Iterator[None]:
    """Turn errors of Polars and the file system into a DataError; tables are read only when they are used.

    Raises
    ------
    DataError
        If a table cannot be read.
    """
    try:
        yield
    except UNREADABLE as error:
        if is_disk_full(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise DataError(f"the raw tables cannot be read ({reason}); deliver them again") from None


@dataclass
class IngestCounts:
    """Counts of the rows of an ingestion."""

    rows: int = 0
    passed: int = 0  # rows that the screen accepted
    without_key: int = 0  # passed rows without a customer or day
    used: int = 0  # events of the log
    purchases: int = 0
    first_day: int = NEVER  # of purchases
    last_day: int = ALWAYS
    kinds: set[str | None] = field(default_factory=set)
    dropped: Counter[str] = field(default_factory=Counter)
    merged: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)

    def add_passed(self, rows: pl.DataFrame) -> None:
        """Count rows that the screen accepted.

        Parameters
        ----------
        rows : polars.DataFrame
            Accepted rows.
        """
        self.passed += rows.height
        self.without_key += rows.select((pl.col("customer").is_null() | pl.col("day").is_null()).sum()).item()
        self.kinds |= set(rows["kind"].unique())

    def add_used(self, kind: np.ndarray, day: np.ndarray) -> None:
        """Count events of the log.

        Parameters
        ----------
        kind, day : numpy.ndarray of shape (E,)
            Kind and day of each event.
        """
        purchase_day = day[kind == PURCHASE]
        self.used += day.size
        self.purchases += purchase_day.size
        if purchase_day.size:
            self.first_day = min(self.first_day, int(purchase_day.min()))
            self.last_day = max(self.last_day, int(purchase_day.max()))

    def check_passed(self) -> None:
        """Check that the accepted rows can be sorted and encoded.

        Raises
        ------
        DataError
            If a row has an unknown kind, no customer or no day.
        """
        if unknown := sorted(self.kinds - set(KINDS), key=str):
            raise DataError(f"unknown event kind {unknown[0]!r}; map it to one of {', '.join(KINDS)}")
        if self.without_key:
            raise DataError(
                f"{self.without_key} of {self.passed} accepted events have no customer or no day; "
                "the source must reject them"
            )


def _ingest(tables: Tables, folder: Path, range_rows: int) -> EventLog:
    """Implementation of `ingest`."""
    counts, quarantine = IngestCounts(), Quarantine(folder / "quarantine")
    schema = tables.events.collect_schema()
    defaults = [value.alias(name) for name, value in OPTIONAL.items() if name not in schema]
    events = tables.screen(tables.events.with_columns(*defaults))
    items, channels = CodeTable(schema["item"]), CodeTable(pl.String())
    ids: list[pl.Series] = [pl.Series(dtype=schema["customer"])]
    sizes: list[np.ndarray] = [np.zeros(0, np.int64)]
    with tempfile.TemporaryDirectory(dir=folder) as place, ColumnFiles(folder, COLUMNS) as files:
        partition = _partition(tables.events, events, Path(place), range_rows, counts, quarantine)
        for encoded in _settle(partition, tables, items, channels, counts, quarantine):
            ids.append(encoded.customer)
            sizes.append(encoded.events)
            files.append(encoded.columns)
    rows = _row_counts(tables, counts, quarantine)
    if channels.table.height > MAX_CHANNELS:
        raise DataError(
            f"the events have {channels.table.height} channels, more than the maximum of {MAX_CHANNELS}; "
            "map channel to a coarser column"
        )
    customer = pl.concat(ids)
    described = None if tables.customers is None else with_consent_flags(tables.customers)
    customer_table = _vocabulary(customer, described, "customer")
    item_table = _items(items, tables.items)
    channel = channels.table["name"].sort()
    replace_codes(folder / "item.npy", items.ranks(item_table["item"]))
    replace_codes(folder / "channel.npy", channels.ranks(channel))
    size = pl.DataFrame({"customer": customer, "count": np.concatenate(sizes)})
    size = customer_table.select("customer").join(size, on="customer", how="left", maintain_order="left")
    counts.warnings.update(tables.warnings)
    meta: dict[str, Any] = {
        "rows": rows,
        "warnings": dict(sorted(counts.warnings.items())),
        "channels": channel.to_list(),
    }
    meta |= {"first_day": counts.first_day, "last_day": counts.last_day, "currency": tables.currency}
    columns: dict[str, Any] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    return EventLog(
        offsets=np.concatenate([[0], np.cumsum(size["count"].fill_null(0).to_numpy())]).astype(np.int64),
        item_known=item_table["known"].to_numpy().astype(np.int32),
        customers=customer_table,
        items=item_table.drop("known"),
        meta=meta,
        **columns,
    )


def _partition(
    raw: pl.LazyFrame, events: pl.LazyFrame, place: Path, range_rows: int, counts: IngestCounts, quarantine: Quarantine
) -> ExternalPartition:
    """Partition the accepted rows by customer in one pass over the source; count and quarantine the others."""
    rows = raw.select(pl.len()).collect(engine="streaming").item()
    bounds = partition_bounds(events.select("customer"), rows, range_rows)
    partition = ExternalPartition(place, bounds, memory_rows=range_rows)
    for batch in events.collect_batches(engine="streaming"):
        counts.rows += batch.height
        if "reason" in batch.columns:
            rejected = batch.filter(pl.col("reason").is_not_null())
            dropped = pl.col("reason").is_in(rule_codes("drop"))
            counts.dropped.update(dict(rejected.filter(dropped)["reason"].value_counts().iter_rows()))
            quarantine.add(rejected.filter(~dropped))
            raw_columns = [name for name in batch.columns if name.startswith(RAW)]
            batch = batch.filter(pl.col("reason").is_null()).drop("reason", *raw_columns)
        counts.add_passed(batch)
        if not counts.without_key:
            partition.add(batch)
    counts.check_passed()
    return partition


def _settle(
    partition: ExternalPartition,
    tables: Tables,
    items: CodeTable,
    channels: CodeTable,
    counts: IngestCounts,
    quarantine: Quarantine,
) -> Iterator[EncodedEvents]:
    """Encoded events range by range, ascending by customer id."""
    for rows in partition.ranges():
        settled = tables.settle(rows)
        counts.merged.update(settled.merged)
        counts.warnings.update(settled.warnings)
        quarantine.add(settled.quarantined)
        if settled.accepted.height:
            encoded = encode(settled.accepted, items, channels)
            counts.add_used(encoded.columns["kind"], encoded.columns["day"])
            yield encoded


def _row_counts(tables: Tables, counts: IngestCounts, quarantine: Quarantine) -> dict[str, Any]:
    """Row counts by outcome; DataError unless every row has one outcome and some rows are purchases."""
    counts.dropped.update(tables.dropped)
    counts.merged.update(tables.merged)
    dropped, merged, quarantined = dict(counts.dropped), dict(counts.merged), dict(quarantine.reasons)
    not_scanned = sum(tables.dropped.values()) + sum(tables.merged.values())
    read = counts.rows + not_scanned if tables.read is None else tables.read
    total = counts.used + sum(sum(each.values()) for each in (merged, quarantined, dropped))
    if counts.used == 0:
        raise DataError(f"no usable event among {read} rows (rejected: {dropped | quarantined}); check the columns")
    if counts.purchases == 0:
        raise DataError(f"none of {counts.used} events is a purchase; map data.source.columns.kind or leave it out")
    if read != total:
        raise DataError(
            f"{read} rows were read but {total} are accounted for; correct the source, which loses or repeats rows"
        )
    outcomes = {"merged": merged, "quarantined": quarantined, "dropped": dropped}
    return {"in": read, "used": counts.used} | {name: dict(sorted(each.items())) for name, each in outcomes.items()}


class Quarantine:
    """Writer of rejected rows to Parquet, with the number of rows by reason.

    Parameters
    ----------
    folder : Path
        Folder of the files; created with the first row.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reasons: Counter[str] = Counter()
        self.files = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Write rows to a new file; contact data in their raw columns are masked.

        Parameters
        ----------
        rows : polars.DataFrame
            Rows with a column `reason`; may be empty.
        """
        if rows.height:
            self.folder.mkdir(exist_ok=True)
            texts = [name for name, kind in rows.schema.items() if name.startswith(RAW) and kind == pl.String]
            masked = rows.with_columns(mask_contact_data(name) for name in texts)
            masked.write_parquet(self.folder / f"rows-{self.files:05d}.parquet")
            self.files += 1
            self.reasons.update(dict(rows["reason"].value_counts().iter_rows()))


def _vocabulary(ids: pl.Series, table: pl.LazyFrame | None, key: str) -> pl.DataFrame:
    """Sorted distinct ids of the events and the table, with the table's attributes: row n is code n."""
    event_ids = ids.alias(key).to_frame()
    if table is None:
        return event_ids.sort(key)
    attributes = (
        table.drop_nulls(key)
        .unique(key, keep="last", maintain_order=True)
        .collect()
        .with_columns(pl.col(key).cast(ids.dtype))
    )
    all_ids = pl.concat([event_ids, attributes.select(key)]).unique().sort(key)
    return all_ids.join(attributes, on=key, how="left", maintain_order="left")


def _items(codes: CodeTable, table: pl.LazyFrame | None) -> pl.DataFrame:
    """Item vocabulary with `known`, the day after which an item is known: its first event, or always."""
    items = _vocabulary(codes.table["name"], table, "item")
    event_days = codes.table.select("first", item="name")
    first = items.select("item").join(event_days, on="item", how="left", maintain_order="left")["first"]
    known = first.fill_null(NEVER).to_numpy()
    if table is not None and "known" not in items.columns:
        delivered = table.select(pl.col("item").cast(items.schema["item"])).collect()["item"]
        known = np.where(items["item"].is_in(delivered.implode()).to_numpy(), ALWAYS, known)
    return items.with_columns(known=pl.Series(known, dtype=pl.Int32))
