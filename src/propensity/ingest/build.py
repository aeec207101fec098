"""From raw tables to an event log in bounded memory: rows counted, ids encoded, events sorted by customer and day.

Rows are screened in a stream and partitioned by ranges of customer id. Each range is settled, sorted, encoded and
appended to the columns on disk. Ids, names, days and counts of all rows are collected on the way.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.atomic import whole_folder
from propensity.data.column_store import ColumnFiles, mapped_columns, replace_codes
from propensity.data.contact import contact_table
from propensity.data.event_log import COLUMNS, ENGAGEMENT, EventLog, fingerprint
from propensity.data.log_folder import check_replaceable
from propensity.data.segment import KNOWN
from propensity.data.valid import check_totals
from propensity.disk import is_disk_full
from propensity.engine.block import Engine
from propensity.errors import DataError
from propensity.ingest.count import IngestCounts
from propensity.ingest.divide import check_shards, divide
from propensity.ingest.encode import ALWAYS, NEVER, CodeTable, EncodedEvents, key_columns, optional_columns
from propensity.ingest.external_partition import ExternalPartition, partition_bounds
from propensity.ingest.key_chain import FORMER, chained_pseudonym, key_chain, stored_meta
from propensity.ingest.privacy import (
    distinct_customers,
    key_fingerprint,
    refuse_personal_ids,
    remove_contact_data,
    with_ids,
)
from propensity.ingest.quarantine import Quarantine
from propensity.ingest.range_job import CodeTables, RangeJob, files_of, settle_rows, settled_in_blocks
from propensity.ingest.retention import retain
from propensity.ingest.rule import rule_codes
from propensity.ingest.source import RAW, Source, Tables
from propensity.ingest.source.consent import with_consent_flags
from propensity.ingest.tombstone import are_erased, drop_customers, has_tombstones, tombstone_note
from propensity.kernel.event import PURCHASE
from propensity.progress import step
from propensity.scratch import scratch_folder

MAX_CHANNELS = 127  # a channel code is one signed byte
MAX_NAMES = 50  # lines that are not products are counted under at most as many names
MIN_DOMINANT, DOMINANT = 100, 10  # events of a dominant customer, and times those of the next
MAX_UNLISTED = 0.5  # share of the customers of the events that their table may lack without a warning
MEDIAN_SALES = 1_000_000  # sales from which the median is computed
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
    shards: int | None = None,
    engine: Engine | None = None,
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
    shards : int, optional
        Shards of the log, see `propensity.data.shard`; by default it has none.
    engine : Engine, optional
        Where ranges of customers are sorted and encoded, with the same result; None for this process.

    Returns
    -------
    EventLog
        The log, memory-mapped.

    Raises
    ------
    ConfigurationError
        If `out` holds something other than a log, or a shard would have no customer.
    DataError
        If the tables cannot be read or have no usable event.
    """
    check_replaceable(out)
    replaced = stored_meta(out)
    keys = key_chain(replaced, key)
    with translate_read_errors():
        tables = protect_personal_data(source.load(), out, keys)
    with whole_folder(out) as draft:
        log = retain(with_purchases(ingest(tables, draft, engine=engine)), keep, draft)
        if shards is not None:
            check_shards(log.customers["customer"], shards)
        step("writing the log")
        log.meta["source"] = type(source).__module__.rsplit(".", 1)[-1]
        log.meta["key"] = key_fingerprint(key)
        if len(keys) > 1:
            log.meta[FORMER] = replaced[FORMER]
        log.seal(draft, {**(notes or {}), **tombstone_note(out)})
        if shards is not None:
            divide(draft, shards)
    return EventLog.open(out)


def protect_personal_data(tables: Tables, out: str | Path, keys: Sequence[bytes]) -> Tables:
    """Remove erased customers and contact data, and replace customer ids by pseudonyms if there are keys.

    Parameters
    ----------
    tables : Tables
        Raw tables.
    out : str or Path
        Folder of the log; tombstones of erased customers are beside it.
    keys : sequence of bytes
        Keys of the pseudonyms, see `propensity.ingest.key_chain`; empty to store ids as delivered.

    Returns
    -------
    Tables
        The tables without e-mail addresses and phone numbers.

    Raises
    ------
    DataError
        If customer ids are e-mail addresses or phone numbers and there is no key.
    """
    if not keys:
        refuse_personal_ids(tables)
    if not keys and not has_tombstones(out):
        return remove_contact_data(tables)
    ids = distinct_customers(tables)
    stored = pl.Series([chained_pseudonym(name, keys) for name in ids], dtype=pl.String) if keys else ids
    erased = stored.filter(are_erased(ids, out, keys))
    return remove_contact_data(drop_customers(with_ids(tables, ids, stored) if keys else tables, erased))


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
    with scratch_folder() as folder:
        log = retain(with_purchases(ingest(tables, folder, range_rows)), keep, folder)
        check_totals({name: getattr(log, name) for name in COLUMNS})
        log = _in_memory(log)
    log.meta["fingerprint"] = fingerprint(log)
    return log


def with_purchases(log: EventLog) -> EventLog:
    """A log of `ingest` that has a purchase; that of a delivery, whose log has others, may be without.

    Raises
    ------
    DataError
        If it has none.
    """
    if log.first_day == NEVER:
        used = log.meta["rows"]["used"]
        raise DataError(f"none of {used} events is a purchase; map data.source.columns.kind or leave it out")
    return log


def _in_memory(log: EventLog) -> EventLog:
    """A log whose columns are copied from their files."""
    columns: dict[str, Any] = {name: np.array(getattr(log, name)) for name in log.column_types}
    return replace(log, engagement=None if log.engagement is None else _in_memory(log.engagement), **columns)


def ingest(tables: Tables, folder: Path, range_rows: int | None = None, engine: Engine | None = None) -> EventLog:
    """Write the columns of the log of raw tables.

    Parameters
    ----------
    tables : Tables
        Raw tables.
    folder : Path
        Existing folder of the columns.
    range_rows : int, optional
        Approximate number of rows in memory; `RANGE_ROWS` by default.
    engine : Engine, optional
        Where ranges of customers are sorted and encoded; None for this process.

    Returns
    -------
    EventLog
        The log, which `EventLog.seal` completes. Codes are ranks of the sorted ids, so they do not depend on the order
        of delivery. Without a purchase `first_day` is after all days and `last_day` before them.

    Raises
    ------
    DataError
        If the tables cannot be read or have no usable event.
    """
    with translate_read_errors():
        return _ingest(tables, folder, RANGE_ROWS if range_rows is None else range_rows, engine)


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


def _ingest(tables: Tables, folder: Path, range_rows: int, engine: Engine | None) -> EventLog:
    """Implementation of `ingest`."""
    step("reading and checking the rows")
    counts, quarantine = IngestCounts(), Quarantine(folder / "quarantine")
    schema = tables.events.collect_schema()
    defaults = [value.alias(name) for name, value in OPTIONAL.items() if name not in schema]
    events = tables.screen(tables.events.with_columns(*defaults))
    codes = CodeTables.empty(schema["item"])
    items, channels, contacts = codes
    keys = key_columns(schema, tables.corrections)
    types = COLUMNS | optional_columns(schema) | keys
    ids: list[pl.Series] = [pl.Series(dtype=schema["customer"])]
    sizes: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
    with tempfile.TemporaryDirectory(dir=folder) as place, ExitStack() as stack:
        files = {"": stack.enter_context(ColumnFiles(folder, types))}
        partition = _partition(tables.events, events, Path(place), range_rows, counts, quarantine)
        step("sorting and encoding the events")
        for encoded in _settle(partition, tables, codes, keys, counts, quarantine, engine):
            ids.append(encoded.customer)
            sizes.append(np.stack([encoded.events, encoded.engagement_events], axis=1))
            files[""].append(encoded.columns)
            if encoded.engagement and ENGAGEMENT not in files:
                (folder / ENGAGEMENT).mkdir()
                files[ENGAGEMENT] = stack.enter_context(ColumnFiles(folder / ENGAGEMENT, types))
            if encoded.engagement:
                files[ENGAGEMENT].append(encoded.engagement)
    rows = counts.by_outcome(tables, quarantine.reasons)
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
    contact_keys = contacts.table["name"].sort()
    ranks = {"item": items.ranks(item_table["item"]), "channel": channels.ranks(channel)}
    ranks |= {"contact": contacts.ranks(contact_keys)} if "contact" in types else {}
    for part in files:
        for name, code in ranks.items():
            replace_codes(folder / part / f"{name}.npy", code)
    every_size = np.concatenate(sizes)
    size = pl.DataFrame({"customer": customer, "count": every_size[:, 0], "engagement": every_size[:, 1]})
    size = customer_table.select("customer").join(size, on="customer", how="left", maintain_order="left")
    event_count, engagement_count = (size[name].fill_null(0).to_numpy() for name in ("count", "engagement"))
    counts.warnings.update(tables.warnings)
    if unlisted := _unlisted(customer, described):
        counts.warnings["customer_unlisted"] = unlisted
    if dominant := _dominant_events(size):
        counts.warnings["customer_dominant"] = dominant
    large, large_lines = counts.large.warnings(_median_sale(folder))
    counts.warnings.update(large)
    meta: dict[str, Any] = {
        "rows": rows,
        "warnings": dict(sorted(counts.warnings.items())),
        "channels": channel.to_list(),
    }
    meta |= {"first_day": counts.first_day, "last_day": counts.last_day, "currency": tables.currency}
    meta |= {
        "money": counts.money.account(sum(counts.merged.values()) - sum(tables.merged.values())),
        "not_products": dict(counts.not_products.most_common(MAX_NAMES)),
        "large_lines": large_lines,
        "formats": tables.formats,
    }
    if "time" in types:
        meta["timezone"] = tables.timezone or "UTC"
    log = EventLog(
        item_known=item_table[KNOWN].to_numpy().astype(np.int32),
        customers=customer_table,
        items=item_table.drop(KNOWN),
        meta=meta,
        contacts=contact_table(contact_keys) if "contact" in types else None,
        **mapped_columns(folder, event_count, types),
    )
    if ENGAGEMENT not in files:
        return log
    return replace(log, engagement=log.sibling(mapped_columns(folder / ENGAGEMENT, engagement_count, types)))


def _unlisted(ids: pl.Series, table: pl.LazyFrame | None) -> int:
    """Number of customers of the events that their table lacks, if it lacks most: it may write ids otherwise."""
    if table is None or not {*table.collect_schema()} - {"customer", "guest"}:
        return 0
    listed = table.select(pl.col("customer").cast(ids.dtype, strict=False)).collect()["customer"]
    missing = int(ids.is_in(listed.implode()).not_().sum())
    return missing if missing > MAX_UNLISTED * len(ids) else 0


def _dominant_events(size: pl.DataFrame) -> int:
    """Number of events of the customer with ten times those of any other; 0 without one."""
    largest = size["count"].drop_nulls().top_k(2).to_list()
    return largest[0] if len(largest) == 2 and largest[0] >= max(MIN_DOMINANT, DOMINANT * largest[1]) else 0


def _median_sale(folder: Path) -> float:
    """Median revenue of purchases in the columns of `folder`, from a sample of a large log; 0 without any."""
    kind, revenue = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("kind", "revenue"))
    step = max(1, kind.size // MEDIAN_SALES)
    sales = np.asarray(revenue[::step])[np.asarray(kind[::step]) == PURCHASE]
    return float(np.median(sales)) if sales.size else 0.0


def _partition(
    raw: pl.LazyFrame, events: pl.LazyFrame, place: Path, range_rows: int, counts: IngestCounts, quarantine: Quarantine
) -> ExternalPartition:
    """Partition the accepted rows by customer in one pass over the source; count and quarantine the others."""
    rows = raw.select(pl.len()).collect(engine="streaming").item()
    bounds = partition_bounds(events.select("customer"), rows, range_rows)
    partition = ExternalPartition(place, bounds, memory_rows=range_rows)
    for batch in events.collect_batches(engine="streaming"):
        counts.rows += batch.height
        counts.money.add("gross", batch)
        if "reason" in batch.columns:
            rejected = batch.filter(pl.col("reason").is_not_null())
            dropped = pl.col("reason").is_in(rule_codes("drop"))
            counts.add_rejected(rejected.filter(dropped), rejected.filter(~dropped))
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
    codes: CodeTables,
    keys: Mapping[str, type],
    counts: IngestCounts,
    quarantine: Quarantine,
    engine: Engine | None,
) -> Iterator[EncodedEvents]:
    """Encoded events range by range, ascending by customer id."""
    if engine is not None and engine.distributed:
        job = RangeJob(tables.settle, codes.items.table.schema["name"], dict(keys), files_of(partition))
        yield from settled_in_blocks(partition, job, engine, partition.folder, codes, counts, quarantine)
        return
    for rows in partition.ranges():
        encoded = settle_rows(rows, tables.settle, codes, keys, counts, quarantine)
        if encoded is not None:
            yield encoded


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
    """Item vocabulary with `?known`, the day after which an item is known: the first that describes it, or always."""
    items = _vocabulary(codes.table["name"], table, "item")
    event_days = codes.table.select("first", item="name")
    first = items.select("item").join(event_days, on="item", how="left", maintain_order="left")["first"]
    known = first.fill_null(NEVER).to_numpy()
    if KNOWN in items.columns:
        known = np.maximum(known, items[KNOWN].cast(pl.Date).cast(pl.Int32).fill_null(ALWAYS).to_numpy())
    elif table is not None:
        delivered = table.select(pl.col("item").cast(items.schema["item"])).collect()["item"]
        known = np.where(items["item"].is_in(delivered.implode()).to_numpy(), ALWAYS, known)
    return items.with_columns(pl.Series(KNOWN, known, dtype=pl.Int32))
