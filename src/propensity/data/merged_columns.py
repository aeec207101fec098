"""Columns of an old and a new log as one: of each customer first the old events, then the new.

Events of customers with late events, see `propensity.data.late_events`, are sorted by day.

E events of N customers, who are merged some at a time. Nothing is read before a column is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from propensity.data.column_store import CHUNK, release_pages
from propensity.data.fingerprint import fingerprint
from propensity.data.gathered_columns import GatheredColumns
from propensity.data.late_events import LateEvents
from propensity.data.log_column import COLUMNS, KEYS, MISSING, OPTIONAL
from propensity.data.segment import SegmentList, known_fingerprints, note_fingerprint
from propensity.kernel.event import fixed
from propensity.kernel.ragged import offsets_of
from propensity.kernel.sort import merge_events, orders_so_far

if TYPE_CHECKING:
    from propensity.data.event_log import EventLog

Columns = Mapping[str, np.ndarray]  # `offsets` (N + 1,) and columns (E,) by name


def merged_offsets(old: np.ndarray, new: np.ndarray, rows: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Offsets of the customers of both logs.

    Parameters
    ----------
    old, new : numpy.ndarray of int64
        Offsets of each log.
    rows : tuple of two numpy.ndarray of shape (N,), int
        Row of each customer in either log, -1 for none.

    Returns
    -------
    numpy.ndarray of shape (N + 1,), int64
        Offsets.
    """
    counts = [np.where(at >= 0, np.diff(each)[at], 0) for at, each in zip(rows, (old, new), strict=True)]
    return offsets_of(np.sum(counts, axis=0))


def merged_blocks(
    old: Columns,
    new: Columns,
    rows: tuple[np.ndarray, np.ndarray],
    codes: Columns,
    types: Mapping[str, Any],
    offsets: np.ndarray,
    out: Mapping[str, np.ndarray] | None = None,
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Merge the columns of two logs some customers at a time.

    Parameters
    ----------
    old, new : mapping of str to numpy.ndarray
        Columns of each log; one that a log lacks is missing for all its events.
    rows : tuple of two numpy.ndarray of shape (N,), int
        Row of each customer in either log, -1 for none; rows of `old` ascend.
    codes : mapping of str to numpy.ndarray
        Merged code of each code of `old`, with -1 appended, of the columns where they differ.
    types : mapping of str to type
        Types of the columns to merge.
    offsets : numpy.ndarray of shape (N + 1,), int64
        See `merged_offsets`.
    out : mapping of str to numpy.ndarray of shape (E,), optional
        Memory to write the columns to; new arrays by default.

    Yields
    ------
    customers : slice
        The next customers.
    columns : dict of str to numpy.ndarray
        Their events.
    """
    edges = np.searchsorted(offsets, np.arange(0, offsets[-1], CHUNK))
    new_offsets = fixed(new["offsets"])
    for first, stop in pairwise(np.unique(np.append(edges, offsets.size - 1)).tolist()):
        own = slice(offsets[first], offsets[stop])
        merged = {
            name: np.empty(own.stop - own.start, dtype) if out is None else out[name][own]
            for name, dtype in types.items()
        }
        old_rows, new_rows = (each[first:stop] for each in rows)
        present = old_rows[old_rows >= 0]  # they ascend
        ends = old["offsets"][present[0] : present[-1] + 2] if present.size else np.zeros(1, np.int64)
        old_rows = np.where(old_rows >= 0, old_rows - (present[0] if present.size else 0), -1)
        for name, column in merged.items():
            before = _values(old, name, ends[0], ends[-1])
            before = codes[name][before].astype(column.dtype) if name in codes else before
            values = fixed(before), fixed(_values(new, name, 0, new["day"].size))
            merge_events(old_rows, fixed(ends - ends[0]), new_rows, new_offsets, *values, column)
            if name in old:
                release_pages(old[name])
        yield slice(first, stop), merged


def _values(columns: Columns, name: str, start: int, stop: int) -> np.ndarray:
    """Values of a column in [start, stop); those of a log without the column are missing."""
    if name not in columns:
        return np.full(stop - start, MISSING[name], {**OPTIONAL, **KEYS}[name])
    return np.asarray(columns[name][start:stop])


class MergedColumns(GatheredColumns):
    """The events of a base and of the segments after it, as one log; a column is gathered when it is read.

    Parameters
    ----------
    base : mapping of str to numpy.ndarray
        `offsets` and the memory-mapped columns of the base.
    tail : mapping of str to numpy.ndarray
        `offsets` (N + 1,) and the columns of all segments, sorted by merged customer and segment, with merged codes.
        Orders of a customer are numbered from 0 by first appearance in the segments.
    row : numpy.ndarray of shape (N,), int64
        Row of each merged customer in the base, -1 for a customer of a segment only.
    codes : mapping of str to numpy.ndarray
        Merged code of each code of the base, with -1 appended, of the columns where they differ.
    late : LateEvents, optional
        Customers whose events of the base have to be sorted with those of the tail.
    """

    def __init__(
        self, base: Columns, tail: Columns, row: np.ndarray, codes: Columns, late: LateEvents | None = None
    ) -> None:
        self.base, self.tail, self.codes, self.late = base, dict(tail), codes, late
        self.rows = row if late is None else late.rows_elsewhere(row), np.arange(row.size)
        tail_offsets = tail["offsets"] if late is None else late.offsets
        self.offsets = merged_offsets(base["offsets"], tail_offsets, self.rows)
        optional = {name: kind for name, kind in {**OPTIONAL, **KEYS}.items() if name in base or name in tail}
        self.types: dict[str, Any] = {**COLUMNS, **optional}
        self.numbered = False  # whether orders of the tail continue those of the base
        self.segments: SegmentList | None = None
        self.log: EventLog | None = None

    def describe(self, segments: SegmentList, log: EventLog) -> None:
        """Remember the segments of the log, and the log of these columns."""
        self.segments, self.log = segments, log

    @property
    def folder(self) -> Path | None:
        """Folder of the log."""
        return None if self.segments is None else self.segments.folder

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of the log of these columns. All of it is read, unless it was computed before."""
        assert self.log is not None and self.segments is not None
        known = known_fingerprints(self.segments)[-1]
        if known is None:
            known = fingerprint(self.log)
            note_fingerprint(self.segments, known)
        return known

    def blocks(self, name: str, out: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Gather a column some customers at a time.

        Parameters
        ----------
        name : str
            One of `types`.
        out : numpy.ndarray of shape (E,), optional
            Memory to write the column to.

        Yields
        ------
        numpy.ndarray
            The next values.
        """
        if name == "order":
            self._number()
        types, memory = {name: self.types[name]}, None if out is None else {name: out}
        tail = self.tail if self.late is None else self.late.tail(name, self.base, self.tail, self.codes)
        for _, columns in merged_blocks(self.base, tail, self.rows, self.codes, types, self.offsets, memory):
            yield columns[name]

    def _number(self) -> None:
        """Number the orders of the tail after those of the base, once."""
        if self.numbered:
            return
        count = np.diff(self.tail["offsets"])
        customer = np.flatnonzero(count)
        earlier = orders_so_far(fixed(self.base["offsets"]), fixed(self.base["order"]), self.rows[0][customer])
        order = self.tail["order"]
        shifted = order + np.repeat(earlier, count[customer])
        self.tail["order"] = np.where(order >= 0, shifted, -1).astype(order.dtype)
        release_pages(self.base["order"])
        self.numbered = True
