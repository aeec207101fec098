"""Append of a delivery to a log: only the delivery is read, sorted and encoded, and becomes a segment of the log.

The result equals the log of both deliveries built at once. `docs/data.md` lists what an append cannot reproduce.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.atomic import draft_folder, linked, replacement, write_lock
from propensity.data.column_store import ColumnFiles, mapped_columns
from propensity.data.consent import consent_channel
from propensity.data.earlier_purchase import were_bought
from propensity.data.event_log import ENGAGEMENT, EventLog
from propensity.data.log_head import LogHead
from propensity.data.log_writer import written
from propensity.data.merged_code import changed_codes, channel_codes, contact_codes, merged_contacts
from propensity.data.merged_columns import merged_blocks, merged_offsets
from propensity.data.merged_log import no_events
from propensity.data.merged_meta import merged_meta
from propensity.data.segment import KNOWN, Segment, SegmentList, add_segment, write_segment
from propensity.errors import DataError
from propensity.ingest.build import ingest, protect_personal_data, translate_read_errors
from propensity.ingest.compact import MAX_SEGMENTS, compact, copy_other_files
from propensity.ingest.divide import number_of_shards, replaced_log
from propensity.ingest.key_chain import chained_pseudonym, key_chain
from propensity.ingest.late import correction
from propensity.ingest.privacy import check_key, distinct_customers, with_ids
from propensity.ingest.retention import retain
from propensity.ingest.rule.identity import PADDED
from propensity.ingest.rule.matching import as_written, rows_of
from propensity.ingest.segment import Delivered, may_overflow, segment_of, takes_segments
from propensity.ingest.source import Source, Tables
from propensity.ingest.source.consent import merged_words, with_consent_flags
from propensity.ingest.source.table import EarlierLog, Table
from propensity.ingest.vocabulary import merged_vocabulary, rows_in
from propensity.kernel.event import fixed
from propensity.kernel.sort import by_customer_and_day, orders_so_far
from propensity.progress import step


def append(
    source: Source,
    out: str | Path,
    key: bytes | None = None,
    keep: int | None = None,
    max_segments: int = MAX_SEGMENTS,
) -> EventLog:
    """Append the events of a source to a log, in one step.

    Attributes of items and customers that the delivery describes again are replaced. Personal data are protected as in
    `propensity.ingest.build.prepare`.

    Parameters
    ----------
    source : Source
        Raw tables. Their events may be of any day.
    out : str or Path
        Folder of the log.
    key : bytes, optional
        Key of the customer pseudonyms, the same as that of the log.
    keep : int, optional
        Days of the log, see `propensity.ingest.retention.retain`; by default those that the log was made with.
    max_segments : int
        Segments that the log may have; with more it is compacted, see `propensity.ingest.compact.compact`.

    Returns
    -------
    EventLog
        The extended log, which is opened when more than its metadata is used.

    Raises
    ------
    ConfigurationError
        If there is no log, or its ids are stored under another key or under none.
    DataError
        If the log has all events of the delivery already, or the tables cannot be read.
    DamageError
        If the metadata or a table of the log is damaged. Columns of events are neither read nor compared, except those
        of customers who return something, or of whom the delivery has rows of earlier days or ids of lines.

    Notes
    -----
    A log with a retention is written whole instead, because old events leave it, and one in shards too. A log of an
    earlier version is first written in the present format.
    """
    out = Path(out)
    if number_of_shards(out):
        return _append_to_shards(source, out, key, keep)
    head = LogHead(out)
    check_key(head.meta, key, out)
    keys = key_chain(head.meta, key)
    keep = head.meta.get("keep") if keep is None else keep
    with write_lock(out):
        head = LogHead(out)  # as no other process changes it from here on
        place = draft_folder(linked(out))
        try:
            with translate_read_errors():
                if isinstance(source, Table):
                    source = copy.copy(source)
                    source.earlier = earlier_log(head, keys)
                tables = source.load() if keys else with_ids_of_log(source.load(), head)
                tables = protect_personal_data(tables, out, keys)
            new = ingest(tables, place)
            check_zone(head, new)
            step("comparing the delivery with the log")
            if not takes_segments(head):
                _write_in_present_format(out)
                head = LogHead(out)
            segment = segment_of(head, _delivered(head, tables, new, keys))
            step("writing the segment")
            if keep is None and not may_overflow(head, new):
                _add(segment, place, head.segments)
            else:
                _write_whole(out, place, segment, keep)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    head = LogHead(out)
    if len(head.segments.names) > max_segments:
        step("compacting the log")
        return compact(out)
    return EventLog.later(out, head.segments, head.meta)


def _append_to_shards(source: Source, out: Path, key: bytes | None, keep: int | None) -> EventLog:
    """Replace a log in shards by one with the events of a source, in as many shards."""
    check_key(LogHead(out).meta, key, out)  # before the log is copied, and with its own folder in the sentence
    with write_lock(out), replaced_log(out) as draft:
        copy_other_files(out, None, draft)
        written(EventLog.open(out, verify=True), draft).seal(draft)
        append(source, draft, key, keep, max_segments=0)
    return EventLog.open(out)


def _delivered(head: LogHead, tables: Tables, new: EventLog, keys: Sequence[bytes]) -> Delivered:
    """A delivery and what it changes in the log."""
    by_day = tables.corrections is not None and "order" not in tables.events.collect_schema()
    return Delivered(
        new,
        {
            "item": _is_delivered(tables.items),
            "customer": _is_delivered(tables.customers) and not tables.customers_from_events,
        },
        _stored(tables.aliases, head, keys),
        correction(head, new, tables.corrections),
        by_day,
    )


def _add(segment: Segment, place: Path, segments: SegmentList) -> None:
    """Add a segment to a log, with the quarantined rows that lie in `place`."""
    draft = draft_folder(linked(segments.folder))
    try:
        if (place / "quarantine").is_dir():
            (place / "quarantine").rename(draft / "quarantine")
        write_segment(draft, segment, segments)
        add_segment(draft, segments)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_whole(out: Path, place: Path, segment: Segment, keep: int | None) -> None:
    """Replace the log by one with the events of a segment, whose quarantined rows lie in `place`."""
    old = EventLog.open(out, verify=True)  # what is copied gets new checksums
    log = EventLog.open(out, further=segment)
    log.meta["formerly"] = [*dict.fromkeys([*log.meta["formerly"], old.fingerprint])]
    with replacement(out) as draft:
        copy_other_files(out, place, draft)
        retain(written(log, draft), keep, draft).seal(draft)


def _write_in_present_format(out: Path) -> None:
    """Replace a log of an earlier version by the same log as this version writes it, once."""
    old = EventLog.open(out, verify=True)
    meta = old.meta | {"formerly": [*dict.fromkeys([*old.meta.get("formerly", []), old.fingerprint])]}
    log = replace(old, customers=with_consent_flags(old.customers.lazy()).collect(), meta=meta)
    with replacement(out) as draft:
        copy_other_files(out, None, draft)
        written(log, draft).seal(draft)


def check_zone(old: LogHead, new: EventLog) -> None:
    """Check that the times of a delivery have the zone of the log.

    Parameters
    ----------
    old : LogHead
        The log.
    new : EventLog
        The log of the delivery.

    Raises
    ------
    DataError
        If they have another one.
    """
    zone = old.meta.get("timezone")
    if zone and new.timezone and zone != new.timezone:
        raise DataError(
            f"the times of the delivery are in {new.timezone}, those of the log in {zone}; "
            f"set data.source.timezone={zone}"
        )


def _has_text_ids(log: LogHead) -> bool:
    return log.ids.dtype == pl.String


def with_ids_of_log(tables: Tables, old: LogHead) -> Tables:
    """Write the ids of known customers as the log does, such as 007 for 7.

    Parameters
    ----------
    tables : Tables
        Raw tables of a delivery.
    old : LogHead
        The log.

    Returns
    -------
    Tables
        The tables; unchanged if leading zeros tell two customers of the delivery apart, or if the log has none.
    """
    known = old.ids
    if not _has_text_ids(old) or not known.filter(known.str.starts_with("0")).str.contains(PADDED).any():
        return tables
    ids = distinct_customers(tables)
    written = as_written(ids, known)
    return tables if written.n_unique() < ids.len() else with_ids(tables, ids, written)


def earlier_log(head: LogHead, keys: Sequence[bytes]) -> EarlierLog:
    """What a source asks of the log to which its delivery is, or will be, appended.

    Parameters
    ----------
    head : LogHead
        The log.
    keys : sequence of bytes
        Keys under which it stores customers, see `propensity.ingest.key_chain.key_chain`.

    Returns
    -------
    EarlierLog
        Its customers, items and purchases.
    """
    has_consents = any(consent_channel(name) is not None for name in head.schema("customers").columns)
    bought = partial(were_bought, head)
    return EarlierLog(partial(_known, head, keys), _has_text_ids(head), bought, head.items["item"], has_consents)


def _known(old: LogHead, keys: Sequence[bytes], ids: pl.Series) -> pl.Series:
    """Those of some ids that are customers of the log, as the log writes them; under keys, as delivered."""
    customers = old.ids
    if not keys:
        row = rows_of(ids, customers)
        return customers[row[row >= 0]].cast(ids.dtype).unique()
    stored = pl.Series([chained_pseudonym(name, keys) for name in ids], dtype=pl.String)
    return ids.filter(pl.Series(rows_of(stored, customers) >= 0))


def _stored(aliases: pl.DataFrame | None, old: LogHead, keys: Sequence[bytes]) -> pl.DataFrame | None:
    """An identity map with the ids under which the log stores its customers."""
    if aliases is None:
        return None
    if not keys:
        return pl.DataFrame([as_written(ids, old.ids) for ids in aliases.iter_columns()])
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
) -> EventLog:
    """Merge two logs, some customers at a time.

    Parameters
    ----------
    old, new : EventLog
        The logs; events of `new` have no order of a purchase, as messages.
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
    customers = merged_words(
        merged_vocabulary(before, after, "customer", described["customer"]), before, after, aliases
    )
    items = merged_vocabulary(
        old.items.with_columns(pl.Series(KNOWN, np.array(old.item_known))),
        new.items.with_columns(pl.Series(KNOWN, np.array(new.item_known))),
        "item",
        described["item"],
    )
    meta = merged_meta(old.meta | {"fingerprint": old.fingerprint}, new.meta)
    channels, contacts = meta["channels"], merged_contacts([old.contacts, new.contacts])
    rows = rows_in(customers, old.customers, "customer"), rows_in(customers, new.customers, "customer")
    places = rows_in(new.customers, customers, "customer")
    earlier_orders = orders_so_far(fixed(old.offsets), fixed(old.order), rows[0][places])
    new_codes = _codes(new, items, channels, contacts)
    new = _recode(new, new_codes, earlier_orders)
    codes = changed_codes(_codes(old, items, channels, contacts))
    log = EventLog(
        item_known=items[KNOWN].to_numpy().astype(np.int32),
        customers=customers,
        items=items.drop(KNOWN),
        meta=meta,
        contacts=contacts,
        **_write_columns(old, new, rows, codes, draft),
    )
    parts = [each.engagement or each.sibling(no_events(len(each))) for each in (old, new)]
    if old.engagement is None and new.engagement is None:
        return log
    (draft / ENGAGEMENT).mkdir()
    if new.engagement is not None:
        parts[1] = _recode(new.engagement, new_codes, np.zeros(len(new), np.int32))
    return replace(log, engagement=log.sibling(_write_columns(parts[0], parts[1], rows, codes, draft / ENGAGEMENT)))


def _write_columns(
    old: EventLog,
    new: EventLog,
    rows: tuple[np.ndarray, np.ndarray],
    codes: Mapping[str, np.ndarray],
    draft: Path,
) -> dict[str, Any]:
    """Write the merged columns some customers at a time; rows: row (N,) of each customer in either log, or -1.

    Returns the columns, memory-mapped, and their offsets.
    """
    types = old.column_types | new.column_types
    offsets = merged_offsets(old.offsets, new.offsets, rows)
    parts = [{name: getattr(log, name) for name in ("offsets", *log.column_types)} for log in (old, new)]
    with ColumnFiles(draft, types) as files:
        for customers, merged in merged_blocks(parts[0], parts[1], rows, codes, types, offsets):
            size = customers.stop - customers.start
            owner = np.repeat(np.arange(size), np.diff(offsets[customers.start : customers.stop + 1]))
            by_day = by_customer_and_day(owner, merged["day"].astype(np.int64), size)
            files.append({name: column[by_day] for name, column in merged.items()})
    return mapped_columns(draft, np.diff(offsets), types)


def _is_delivered(table: pl.LazyFrame | None) -> bool:
    """Whether a table was delivered, rather than derived from the events."""
    return table is not None and KNOWN not in table.collect_schema()


def _codes(
    log: EventLog, items: pl.DataFrame, channels: list[str], contacts: pl.DataFrame | None
) -> dict[str, np.ndarray]:
    """Merged code of each code of a log, by column, with -1 appended."""
    place = rows_in(log.items, items.cast({"item": log.items.schema["item"]}), "item")
    codes = {"item": np.append(place, -1), "channel": channel_codes(log.meta["channels"], channels)}
    return codes | contact_codes(log.contacts, contacts)


def _recode(new: EventLog, codes: Mapping[str, np.ndarray], earlier_orders: np.ndarray) -> EventLog:
    """The new log with merged codes; earlier_orders (N,): number of its customers' orders in the old log."""
    shift = np.repeat(earlier_orders, np.diff(new.offsets))
    present = {name: code for name, code in codes.items() if getattr(new, name) is not None}
    recoded = {name: code[getattr(new, name)].astype(new.column_types[name]) for name, code in present.items()}
    return replace(new, **recoded, order=np.where(new.order >= 0, new.order + shift, -1).astype(np.int32))
