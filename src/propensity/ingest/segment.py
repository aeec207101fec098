"""A delivery as a segment of a log: its events, and the rows of the tables that it adds or changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.earlier_event import first_days
from propensity.data.event_log import EventLog
from propensity.data.log_head import LogHead
from propensity.data.merged_code import find_sorted
from propensity.data.segment import BY_DAY, CHANGED, COUNTS, KNOWN, Segment
from propensity.data.valid import LARGEST_TOTAL, event_days, largest_amounts
from propensity.errors import DataError
from propensity.ingest.build import MAX_CHANNELS, translate_read_errors
from propensity.ingest.late import Correction, corrected_meta
from propensity.ingest.source.consent import merged_words, with_consent_flags
from propensity.ingest.vocabulary import merged_vocabulary


class Delivered(NamedTuple):
    """A delivery.

    Parameters
    ----------
    log : EventLog
        Its events as a log.
    described : mapping of str to bool
        Whether it has a table of its own for "item" and "customer".
    aliases : polars.DataFrame, optional
        Its identity map, with ids as the log stores them.
    change : Correction
        What it changes in the log beside its own events.
    orders_by_day : bool
        Whether its source has no ids of orders, so that all purchases of a day are one order.
    """

    log: EventLog
    described: Mapping[str, bool]
    aliases: pl.DataFrame | None
    change: Correction
    orders_by_day: bool

    def is_late(self, head: LogHead) -> bool:
        """Whether some of its events are not later than the log."""
        return self.log.first_event_day <= head.last_event_day


def segment_of(head: LogHead, delivery: Delivered) -> Segment:
    """Make a segment of a delivery.

    Parameters
    ----------
    head : LogHead
        The log.
    delivery : Delivered
        The delivery.

    Returns
    -------
    Segment
        Its events, and the rows of the tables that it adds or changes.

    Raises
    ------
    DataError
        If both have too many channels together.
    """
    new = delivery.log
    channels = {*head.meta["channels"], *new.meta["channels"]}
    if len(channels) > MAX_CHANNELS:
        raise DataError(
            f"log and delivery have {len(channels)} channels, more than the maximum of {MAX_CHANNELS}; "
            "map channel to a coarser column"
        )
    with translate_read_errors():
        customers = _customers(head, delivery)
    place: dict[str, Any] = {BY_DAY: True} if delivery.orders_by_day else {}
    place |= {
        "events": new.size,
        "event_days": event_days(new.day_columns),
        "largest": largest_amounts(_columns(new)),
    }
    if new.first_day > new.last_day:  # without a purchase it leaves the days of the log as they are
        place |= {name: head.meta[name] for name in ("first_day", "last_day")}
    engagement = {} if new.engagement is None else _columns(new.engagement)
    meta = corrected_meta(new.meta, delivery.change) | place
    removed = delivery.change.removed if delivery.change.removed.height else None
    return Segment(meta, customers, _items(head, delivery), _columns(new), engagement, new.contacts, removed)


def _columns(log: EventLog) -> dict[str, np.ndarray]:
    """The columns of the events of a log."""
    return {name: np.asarray(getattr(log, name)) for name in log.column_types}


def takes_segments(head: LogHead) -> bool:
    """Whether a log can get segments: not one of an earlier version, or whose consents are still words."""
    schema = head.schema("customers")
    return head.takes_segments and with_consent_flags(schema.lazy()).collect().schema == schema.schema


def may_overflow(head: LogHead, new: EventLog) -> bool:
    """Whether an upper bound of the amounts of log and delivery is too large to be sure of their sums."""
    largest, totals = largest_amounts(_columns(new)), head.largest_totals
    return any(not totals[name] + each * new.size <= LARGEST_TOTAL for name, each in largest.items())


def _customers(head: LogHead, delivery: Delivered) -> pl.DataFrame:
    """Customers of the delivery, and of the log whose row it changes."""
    new, aliases = delivery.log, delivery.aliases
    schema = head.schema("customers")
    after = with_consent_flags(new.customers.lazy()).collect().cast({"customer": schema.schema["customer"]})
    counts = [np.diff(new.offsets), np.zeros(len(new)) if new.engagement is None else np.diff(new.engagement.offsets)]
    sizes = [pl.Series(name, count.astype(np.int64)) for name, count in zip(COUNTS, counts, strict=True)]
    ids = after.select("customer").with_columns(*sizes)
    if after.width == 1 and aliases is None:  # nothing is said of a customer whom the log has
        _, present = find_sorted(after["customer"], head.ids)
        changed = pl.concat([schema, after.filter(pl.Series(~present))], how="diagonal_relaxed")
    else:
        named = after["customer"] if aliases is None else pl.concat([after["customer"], *_of(aliases, after)])
        before = head.customers.filter(pl.col("customer").is_in(named.unique().implode()))
        described = delivery.described["customer"]
        if delivery.is_late(head) and not described:  # the first day counts, which may be one of the delivery
            known = [pl.Series(KNOWN, first_days(head, before["customer"])), pl.Series(KNOWN, _first_days(new))]
            both = [each.with_columns(day) for each, day in zip((before, after), known, strict=True)]
            merged = merged_vocabulary(both[0], both[1], "customer", described).drop(KNOWN)
        else:
            merged = merged_vocabulary(before, after, "customer", described)
        changed = _changed(merged_words(merged, before, after, aliases), before)
        others = changed.join(ids, on="customer", how="anti").select("customer")
        ids = pl.concat([ids, others.with_columns(pl.lit(0, pl.Int64).alias(name) for name in COUNTS)])
    return _with_changes(ids, changed)


def _first_days(log: EventLog) -> np.ndarray:
    """Day of the first event of each customer (N,) int32, the largest one without an event."""
    first = np.full(len(log), np.iinfo(np.int32).max, np.int32)
    with_events = np.flatnonzero(np.diff(log.offsets))
    first[with_events] = np.asarray(log.day)[log.offsets[with_events]]
    return first


def _of(aliases: pl.DataFrame, after: pl.DataFrame) -> list[pl.Series]:
    """The ids of an identity map, of the type of the customers."""
    return [ids.cast(after.schema["customer"], strict=False).alias("customer") for ids in aliases.iter_columns()]


def _items(head: LogHead, delivery: Delivered) -> pl.DataFrame:
    """Items of the delivery, with the attributes of those that are new or changed."""
    new = delivery.log
    after = new.items.with_columns(pl.Series(KNOWN, np.array(new.item_known)))
    after = after.cast({"item": head.items.schema["item"]})
    before = head.items.filter(pl.col("item").is_in(after["item"].implode()))
    changed = _changed(merged_vocabulary(before, after, "item", delivery.described["item"]), before)
    table = _with_changes(after.select("item"), changed)
    return table.with_columns(pl.col(KNOWN).fill_null(0))


def _changed(merged: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The rows of the merged table that are not in the table before."""
    former = pl.concat([merged.head(0), before], how="diagonal_relaxed").select(merged.columns)
    return merged.cast(former.schema).join(former, on=merged.columns, how="anti", nulls_equal=True)


def _with_changes(ids: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """The ids, in their order, with the attributes of the changed ones."""
    key = ids.columns[0]
    table = ids.join(changed.with_columns(pl.lit(True).alias(CHANGED)), on=key, how="left", maintain_order="left")
    return table.with_columns(pl.col(CHANGED).fill_null(False))
