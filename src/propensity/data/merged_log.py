"""The base of a log and its segments as one log, equal to the log of all deliveries built at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.late_events import LateEvents
from propensity.data.log_column import COLUMNS, CONTACTS, KEYS, MISSING, OPTIONAL
from propensity.data.log_reader import StoredLog
from propensity.data.merged_code import (
    changed_codes,
    channel_codes,
    contact_codes,
    find_sorted,
    merged_contacts,
    places,
)
from propensity.data.merged_columns import MergedColumns
from propensity.data.merged_meta import merged_meta
from propensity.data.segment import BY_DAY, CHANGED, COUNTS, KNOWN, Segment, removed_events
from propensity.kernel.event import fixed
from propensity.kernel.ragged import offsets_of
from propensity.kernel.sort import counting_sort, orders_so_far


class MergedTable(NamedTuple):
    """A table of the base with the rows of segments.

    Parameters
    ----------
    frame : polars.DataFrame
        N rows, sorted by the first column.
    row : numpy.ndarray of shape (N,), int64
        Row in the base, -1 for one that the base does not have.
    """

    frame: pl.DataFrame
    row: np.ndarray

    @property
    def place(self) -> np.ndarray:
        """Row in `frame` of each row of the base."""
        return np.flatnonzero(self.row >= 0)


class MergedLog(NamedTuple):
    """The parts of the merged log, see `propensity.data.event_log.EventLog`."""

    frames: dict[str, Any]
    item_known: np.ndarray
    meta: dict[str, Any]
    columns: MergedColumns
    engagement: MergedColumns | None


def merged_table(base: pl.DataFrame, changes: Sequence[pl.DataFrame]) -> MergedTable:
    """Replace and add rows of a sorted table.

    Parameters
    ----------
    base : polars.DataFrame
        Rows, sorted by the first column, which is distinct.
    changes : sequence of polars.DataFrame
        Rows that replace those of the same first column, or are added; of two the later one counts. Columns that the
        base lacks are added.

    Returns
    -------
    MergedTable
        The table.

    Examples
    --------
    >>> base = pl.DataFrame({"item": ["a", "c"], "price": [1, 3]})
    >>> frame, row = merged_table(base, [pl.DataFrame({"item": ["b", "c"], "price": [2, 4]})])
    >>> frame.rows(), row
    ([('a', 1), ('b', 2), ('c', 4)], array([ 0, -1,  1]))
    """
    key, size = base.columns[0], base.height
    same = np.arange(size)
    if not changes:
        return MergedTable(base, same)
    latest = pl.concat(changes, how="diagonal_relaxed").unique(key, keep="last", maintain_order=True)
    if not latest.height:
        return MergedTable(pl.concat([base, latest], how="diagonal_relaxed"), same)
    latest = latest.sort(key)
    at, present = find_sorted(latest[key], base[key])
    source, added = np.arange(size), size + np.arange(latest.height)
    source[at[present]] = added[present]
    source = np.insert(source, at[~present], added[~present])
    both = pl.concat([base, latest], how="diagonal_relaxed", rechunk=True)
    return MergedTable(both[source], np.insert(same, at[~present], -1))


def changes_of(tables: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Changed and new rows of the tables of segments.

    Parameters
    ----------
    tables : sequence of polars.DataFrame
        `customers` or `items` of each segment, see `propensity.data.segment.Segment`.

    Returns
    -------
    list of polars.DataFrame
        One table with the rows of all, in their order, without the columns of the segments' own; empty without tables.
    """
    every = pl.concat(tables, how="diagonal_relaxed") if tables else None
    return [] if every is None else [every.lazy().filter(CHANGED).drop(CHANGED, *COUNTS, strict=False).collect()]


def merged_log(base: StoredLog, segments: Sequence[Segment]) -> MergedLog:
    """Merge the base of a log and its segments.

    Parameters
    ----------
    base : StoredLog
        The base.
    segments : sequence of Segment
        One or more segments, in their order.

    Returns
    -------
    MergedLog
        The parts of the merged log; columns of the base are read when they are used.
    """
    customers = merged_table(base.frames["customers"], changes_of([segment.customers for segment in segments]))
    known = base.frames["items"].with_columns(pl.Series(KNOWN, np.array(base.arrays["item_known"])))
    items = merged_table(known, changes_of([segment.items for segment in segments]))
    meta = reduce(merged_meta, [segment.meta for segment in segments], base.meta)
    contacts = merged_contacts([base.frames.get(CONTACTS), *(segment.contacts for segment in segments)])
    frames: dict[str, Any] = {"customers": customers.frame, "items": items.frame.drop(KNOWN)}
    frames |= {} if contacts is None else {CONTACTS: contacts}
    names = frames["items"]["item"], meta["channels"], contacts
    codes = {
        "item": np.append(items.place, -1),
        "channel": channel_codes(base.meta["channels"], meta["channels"]),
        **contact_codes(base.frames.get(CONTACTS), contacts),
    }
    changed = changed_codes(codes)
    rows = [places(segment.customers["customer"], customers.frame["customer"]) for segment in segments]
    parts = [_recoded(segment, *names) for segment in segments]
    counts = [[segment.customers[name].to_numpy().astype(np.int64) for segment in segments] for name in COUNTS]
    size = customers.frame.height
    keyed = [base.arrays, *(segment.columns for segment in segments)]
    by_day = [k for k, part in enumerate(keyed) if "order_key" in part or (k and segments[k - 1].meta.get(BY_DAY))]
    last_days = _last_days(base.meta, segments)

    def merged(name: str, stored: Mapping[str, np.ndarray]) -> MergedColumns:
        removed = [removed_events(segments, k, name == "engagement") for k in range(len(segments) + 1)]
        tail = _tail([part[name] for part in parts], rows, counts[name == "engagement"], size, removed[1:], last_days)
        late = _late(stored, customers.row, tail, removed[0], by_day)
        return MergedColumns(stored, tail.columns, customers.row, changed, late)

    columns, engagement = merged("columns", base.arrays), None
    if base.engagement or any(segment.engagement for segment in segments):
        engagement = merged("engagement", base.engagement or no_events(base.frames["customers"].height))
    known_days = items.frame[KNOWN].to_numpy().astype(np.int32)
    return MergedLog(frames, known_days, meta, columns, engagement)


def no_events(customers: int) -> dict[str, np.ndarray]:
    """Offsets (N + 1,) and columns (0,) of N customers without an event."""
    return {"offsets": np.zeros(customers + 1, np.int64)} | {name: np.zeros(0, kind) for name, kind in COLUMNS.items()}


def _recoded(
    segment: Segment, items: pl.Series, channels: Sequence[str], contacts: pl.DataFrame | None
) -> dict[str, dict[str, np.ndarray]]:
    """The columns of a segment and of its events that are stored apart, with merged codes."""
    codes = {
        "item": np.append(places(segment.items["item"], items), -1),
        "channel": channel_codes(segment.meta["channels"], channels),
        **contact_codes(segment.contacts, contacts),
    }
    return {
        part: {name: codes[name][each].astype(each.dtype) if name in codes else each for name, each in columns.items()}
        for part, columns in (("columns", segment.columns), ("engagement", segment.engagement))
    }


class Tail(NamedTuple):
    """The events of all segments, sorted by merged customer and segment."""

    columns: dict[str, np.ndarray]  # with `offsets` (N + 1,)
    part: np.ndarray  # (P,) segment of each event, from 1
    late: np.ndarray  # (N,) bool, customers with an event that is not later than the log was, or who lost one


def _tail(
    parts: Sequence[Mapping[str, np.ndarray]],
    rows: Sequence[np.ndarray],
    counts: Sequence[np.ndarray],
    size: int,
    removed: Sequence[np.ndarray],
    last_days: Sequence[int],
) -> Tail:
    """Sort the events of all segments.

    parts: columns of each segment, empty without any. rows, counts: (C,) merged customer and number of events of each
    of its customers. removed: events of each segment that a later one replaced. last_days: last day before each.
    """
    late, total = np.zeros(size, bool), np.zeros(size, np.int64)
    orders = np.zeros(size, np.int64)  # number of orders of each customer in the segments so far
    present: list[tuple[int, Mapping[str, np.ndarray], np.ndarray]] = []
    order = []
    for k, (part, row, count) in enumerate(zip(parts, rows, counts, strict=True)):
        if not part:
            continue
        owner = np.repeat(row, count)
        if part["day"].size and int(part["day"].min()) <= last_days[k]:
            late[owner[part["day"] <= last_days[k]]] = True
        if removed[k].size:
            late[owner[removed[k]]] = True
            owner = np.delete(owner, removed[k])
            part = {name: np.delete(column, removed[k]) for name, column in part.items()}
            count = np.bincount(owner, minlength=size)[row]
        np.add.at(total, row, count)
        order.append(_continued(part["order"], row, count, orders))
        present.append((k, part, owner))
    owner = np.concatenate([np.zeros(0, np.int64), *(owner for _, _, owner in present)])
    place = counting_sort(owner, np.arange(owner.size), 0, size)
    types = COLUMNS | {
        name: kind for name, kind in {**OPTIONAL, **KEYS}.items() if any(name in each for _, each, _ in present)
    }
    columns = {each: [_column(part, each) for _, part, _ in present] for each in types}
    columns["order"] = order
    sorted_columns = {
        each: np.concatenate([np.zeros(0, types[each]), *values])[place].astype(types[each])
        for each, values in columns.items()
    }
    numbers = [np.full(owner.size, k + 1, np.int64) for k, _, owner in present]
    part_of = np.concatenate([np.zeros(0, np.int64), *numbers])[place]
    return Tail({"offsets": offsets_of(total)} | sorted_columns, part_of, late)


def _late(
    base: Mapping[str, np.ndarray], row: np.ndarray, tail: Tail, removed: np.ndarray, by_day: Sequence[int]
) -> LateEvents | None:
    """The customers whose events have to be sorted; None without any, so that nothing of the base is read."""
    late = tail.late
    if removed.size:
        at = np.searchsorted(np.asarray(base["offsets"]), removed, side="right") - 1
        late = late | np.isin(row, at)
    customers = np.flatnonzero(late)
    if not customers.size:
        return None
    return LateEvents(base, row, tail.columns, customers, removed, tail.part, by_day)


def _last_days(meta: Mapping[str, Any], segments: Sequence[Segment]) -> list[int]:
    """Last day of the events before each segment."""
    days = [int(each["event_days"][1]) for each in (meta, *(segment.meta for segment in segments))]
    return [max(days[: k + 1]) for k in range(len(segments))]


def _continued(order: np.ndarray, row: np.ndarray, count: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Orders of a segment, numbered after those of the segments before it; adds them to `orders` (N,)."""
    continued = np.where(order >= 0, order + np.repeat(orders[row], count), -1)
    orders[row] += orders_so_far(fixed(offsets_of(count)), fixed(order), np.arange(row.size))
    return continued


def _column(part: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A column of a segment; missing values where it lacks it."""
    return part[name] if name in part else np.full(part["day"].size, MISSING[name], {**OPTIONAL, **KEYS}[name])
