"""The event log: columns sorted by customer and day, memory-mapped and immutable, and its folder on disk.

The folder holds one `.npy` per column, `customers.parquet` and `items.parquet` (row n describes code n and holds the
original id) and `meta.json`, which is written last. The folder is replaced in one step. Deliveries that were appended
since lie in `segments`, see `propensity.data.segment`, and are gathered with the rest when a column is read. Columns of
`OPTIONAL`, `contacts.parquet` and the folder `engagement` exist only where a source delivers them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from propensity.atomic import remove_interrupted, whole_folder
from propensity.checksum import covered_files, file_records, signed
from propensity.data.consent import guest_flags, profiling_objectors
from propensity.data.day import EPOCH as EPOCH
from propensity.data.day import to_date as to_date
from propensity.data.day import to_day as to_day
from propensity.data.fingerprint import fingerprint as fingerprint
from propensity.data.gathered_columns import GatheredColumns
from propensity.data.log_column import ARRAYS, CONTACTS, ENGAGEMENT, KEYS, OPTIONAL
from propensity.data.log_column import COLUMNS as COLUMNS
from propensity.data.log_column import MISSING as MISSING
from propensity.data.log_column import NO_TIME as NO_TIME
from propensity.data.log_folder import FORMAT, META, TOMBSTONES, check_replaceable, log_mark
from propensity.data.log_reader import read_base
from propensity.data.merged_log import merged_log
from propensity.data.merged_meta import with_former
from propensity.data.segment import (
    Segment,
    SegmentList,
    known_fingerprints,
    list_segments,
    read_segment,
    remove_unlisted,
)
from propensity.data.shard import ShardColumns, is_sharded, read_shards
from propensity.data.valid import check_totals, chunks, event_days, largest_amounts
from propensity.errors import ConfigurationError, DamageError
from propensity.kernel.event import PURCHASE, Events, fixed
from propensity.kernel.ragged import offsets_of


def absent(**more: Any) -> Any:
    """A field that is None by default, without an attribute of the class that would hide one that is not read yet."""
    return field(default_factory=type(None), **more)


@dataclass(frozen=True)
class EventLog:
    """Events of N customers in CSR form.

    Customer n has the events `offsets[n]:offsets[n + 1]`, ascending in day and in delivery order within a day. A
    customer may have no events.
    """

    offsets: np.ndarray  # (N + 1,) int64
    day: np.ndarray  # (E,) int32, days since 1970-01-01
    item: np.ndarray  # (E,) int32, row of `items`, -1 for an event without an item
    kind: np.ndarray  # (E,) int8, position in `propensity.kernel.event.EVERY_KIND`
    channel: np.ndarray  # (E,) int8, position in `meta["channels"]`, -1 for none
    order: np.ndarray  # (E,) int32, number of the order within the customer by first appearance, -1 for other kinds
    quantity: np.ndarray  # (E,) float32, units
    revenue: np.ndarray  # (E,) float32, currency, total of the line
    discount: np.ndarray  # (E,) float32, currency
    item_known: np.ndarray  # (I,) int32, known after this day: the first that describes it, or always if delivered
    customers: pl.DataFrame  # (N) rows: customer and attributes
    items: pl.DataFrame  # (I) rows: item and attributes
    meta: dict[str, Any]  # row counts, warnings, channels, first and last day, fingerprint
    time: np.ndarray | None = absent()  # (E,) int64, milliseconds since 1970-01-01 UTC, `NO_TIME` without one
    cost: np.ndarray | None = absent()  # (E,) float32, currency, of goods or of a message, NaN if not known
    contact: np.ndarray | None = absent()  # (E,) int32, row of `contacts`, -1 for an event without one
    probability: np.ndarray | None = absent()  # (E,) float32, in (0, 1], of being sent exactly this, NaN if not known
    order_key: np.ndarray | None = absent(repr=False)  # (E,) int32, hash of the id of the order, 0 without one
    event_key: np.ndarray | None = absent(repr=False)  # (E,) int32, hash of the id of the line, 0 without one
    contacts: pl.DataFrame | None = absent()  # distinct campaign, offer, arm, experiment of messages and responses
    engagement: EventLog | None = absent()  # events of `ENGAGEMENT_KINDS` of the same customers and items
    gathered: GatheredColumns | None = absent(repr=False, compare=False)  # of a log with segments or of shards

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A field that is read when it is used: any of a log of `later`, a column of one with segments."""
            state = self.__dict__
            if name in EventLog.__dataclass_fields__ and "later" in state:
                folder, segments = state["later"]
                state.update(EventLog.open(folder, segments=segments).__dict__)
                del state["later"]
                return getattr(self, name)
            gathered = state.get("gathered")
            if gathered is None or name not in gathered.types:
                raise AttributeError(f"EventLog has no attribute {name!r}")
            state[name] = gathered.column(name)
            return state[name]

    @classmethod
    def later(cls, folder: Path, segments: SegmentList, meta: dict[str, Any]) -> EventLog:
        """A log that is opened when more than its metadata is used.

        Parameters
        ----------
        folder : Path
            Folder of the log.
        segments : SegmentList
            Its segments; later ones are not read.
        meta : dict
            Its metadata.

        Returns
        -------
        EventLog
            The log.
        """
        log = object.__new__(cls)
        log.__dict__.update(later=(folder, segments), meta=meta)
        return log

    def __len__(self) -> int:
        return self.offsets.size - 1

    def __repr__(self) -> str:
        customers, items, events = f"{len(self):,}", f"{self.items.height:,}", f"{self.size:,}"
        days = f"{to_date(self.first_day)} to {to_date(self.last_day)}"
        return f"EventLog({customers} customers, {items} items, {events} events, purchases from {days})"

    @property
    def size(self) -> int:
        """Number of events, without those in `engagement`."""
        return int(self.offsets[-1])

    @property
    def folder(self) -> Path | None:
        """The folder that the log is mapped from; None for a log in memory."""
        if self.gathered is not None:
            return self.gathered.folder if self.offsets is self.gathered.offsets else None
        return Path(self.day.filename).parent if isinstance(self.day, np.memmap) and self.day.filename else None

    @property
    def first_day(self) -> int:
        """Day of the first purchase; other events may be earlier."""
        return int(self.meta["first_day"])

    @property
    def last_day(self) -> int:
        """Day of the last purchase."""
        return int(self.meta["last_day"])

    @property
    def last_event_day(self) -> int:
        """Day of the last event of any kind."""
        return max(int(day.max()) for day in self.day_columns)

    @property
    def first_event_day(self) -> int:
        """Day of the first event of any kind."""
        return min(int(day.min()) for day in self.day_columns)

    @property
    def day_columns(self) -> list[np.ndarray]:
        """Days of the events here and of those in `engagement`, without an empty column."""
        days = [self.day, *([] if self.engagement is None else [self.engagement.day])]
        return [day for day in days if day.size]

    @property
    def timezone(self) -> str | None:
        """Time zone of the shop, in which `day` is the date of `time`; None for a log without times."""
        return self.meta.get("timezone")

    @property
    def column_types(self) -> dict[str, type]:
        """NumPy types of the columns with one value per event, with those of `OPTIONAL` and `KEYS` that the log has."""
        present: dict[str, type] = {name: kind for name, kind in {**OPTIONAL, **KEYS}.items() if self._has(name)}
        return {**COLUMNS, **present}

    def _has(self, name: str) -> bool:
        """Whether the log has a column of `OPTIONAL`; one that is not gathered yet stays so."""
        return (self.gathered is not None and name not in self.__dict__) or self.__dict__[name] is not None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Every array of the log by the name of its file, without .npy."""
        own = {
            name: getattr(self, name) for name in (*ARRAYS, *(name for name in (*OPTIONAL, *KEYS) if self._has(name)))
        }
        if self.engagement is None:
            return own
        apart = {name: getattr(self.engagement, name) for name in ("offsets", *self.engagement.column_types)}
        return own | {f"{ENGAGEMENT}/{name}": array for name, array in apart.items()}

    def read_by_need(self) -> None:
        """Of a log in shards, read only the events of customers that `need` names; other events look like zeros."""
        if isinstance(self.gathered, ShardColumns):
            self.gathered.read_by_need()

    def need(self, first: int, stop: int) -> None:
        """Read the events of the customers in [first, stop), if the log was told to `read_by_need`.

        Parameters
        ----------
        first, stop : int
            Rows of customers; `stop` may be past the end.
        """
        if isinstance(self.gathered, ShardColumns):
            self.gathered.need(first, min(stop, len(self)))

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """Read a column in blocks; one of a log with segments is gathered block by block.

        Parameters
        ----------
        name : str
            `offsets`, `item_known` or one of `column_types`.

        Yields
        ------
        numpy.ndarray
            The next values.
        """
        if self.gathered is not None and name not in self.__dict__:
            return self.gathered.blocks(name)
        return (part for _, part in chunks(getattr(self, name)))

    @property
    def customer_id(self) -> np.ndarray:
        """Original ids (N,)."""
        return self.customers["customer"].to_numpy()

    @property
    def events(self) -> Events:
        """The columns in the form that kernels expect."""
        return Events(*(fixed(getattr(self, name)) for name in Events._fields))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any event, customer or item; segments change them by their content."""
        if "fingerprint" not in self.meta and self.gathered is not None:
            return self.gathered.fingerprint
        return str(self.meta["fingerprint"])

    def before(self, day: int, also: np.ndarray | None = None) -> EventLog:
        """Cut the log at a day. Everything that is fitted uses such a log, so that no later event can reach it.

        Parameters
        ----------
        day : int
            Days since 1970-01-01, exclusive.
        also : numpy.ndarray of shape (N,), bool, optional
            Customers who stay without an event before `day`, such as those of
            `propensity.data.registrant.known_before`.

        Returns
        -------
        EventLog
            The events before `day`, and the customers with at least one of them.
        """
        past = self.until(day)
        active = np.diff(past.offsets) > 0
        active = active if also is None else active | also
        offsets = np.append(past.offsets[:-1][active], past.offsets[-1])
        sold = past.day[past.kind == PURCHASE]
        meta = self.meta | {"last_day": int(sold.max()) if sold.size else self.first_day}
        customers = self.customers.filter(pl.Series(active))
        engagement = past.engagement
        if engagement is not None:
            engagement = replace(engagement.of_customers(active), customers=customers, meta=meta)
        return replace(past, offsets=offsets, customers=customers, meta=meta, engagement=engagement)

    def until(self, day: int) -> EventLog:
        """Cut the log at a day without leaving out customers.

        Parameters
        ----------
        day : int
            Days since 1970-01-01, exclusive.

        Returns
        -------
        EventLog
            All customers with their events before `day`.
        """
        engagement = None if self.engagement is None else self.engagement.until(day)
        if self.gathered is not None and "day" not in self.__dict__:
            visible = np.concatenate([np.zeros(0, bool), *(part < day for part in self.blocks("day"))])
        else:
            visible = self.day < day
        return replace(self._where(visible, keys=False), engagement=engagement)

    def of_customers(self, chosen: np.ndarray) -> EventLog:
        """Leave out the events of some customers, who lose their rows.

        Parameters
        ----------
        chosen : numpy.ndarray of shape (N,), bool
            Customers that stay.

        Returns
        -------
        EventLog
            Their events; the table of customers is not changed.
        """
        log = self._where(np.repeat(chosen, np.diff(self.offsets)))
        return replace(log, offsets=np.append(log.offsets[:-1][chosen], log.offsets[-1]))

    def _where(self, visible: np.ndarray, keys: bool = True) -> EventLog:
        """The events for which `visible` (E,) is true; with their `KEYS`, which only an append reads, or without."""
        counts = np.add.reduceat(np.append(visible, False), self.offsets[:-1]) * (np.diff(self.offsets) > 0)
        columns: dict[str, Any] = {} if keys else dict.fromkeys(KEYS)
        names = [name for name in self.column_types if keys or name not in KEYS]
        columns |= {name: self._values(name, visible) for name in names}
        return replace(self, offsets=offsets_of(counts), **columns)

    def _values(self, name: str, visible: np.ndarray) -> np.ndarray:
        """The values of a column for which `visible` (E,) is true, in memory."""
        if self.gathered is not None and name not in self.__dict__:
            return self.gathered.where(name, visible)
        return np.ascontiguousarray(getattr(self, name)[visible])

    def owner(self, event: np.ndarray) -> np.ndarray:
        """Find the customers of events.

        Parameters
        ----------
        event : numpy.ndarray of shape (P,), int
            Positions of events.

        Returns
        -------
        numpy.ndarray of shape (P,), int
            Rows of their customers.
        """
        return np.searchsorted(self.offsets, event, side="right") - 1

    def purchasers(self, day: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """List the customers with at least one purchase before a day, without guests and objectors to profiling.

        Parameters
        ----------
        day : int
            Days since 1970-01-01, exclusive.
        start, stop : int
            Only rows in [start, stop) are read; `stop=None` means the end of the log.

        Returns
        -------
        numpy.ndarray of int
            Ascending rows.
        """
        buyers = self.buyers(day, start, stop)
        return buyers[~self.guest_or_objector(day, start, stop)[buyers - start]]

    def revenue_unit(self, day: int) -> float:
        """Median revenue of a purchase line before a day: the unit in which a model reads amounts.

        Parameters
        ----------
        day : int
            Days since 1970-01-01, exclusive.

        Returns
        -------
        float
            In the log's currency, over lines with a revenue above 0; 1 without any. One of the revenues, so that it
            scales exactly with the currency.
        """
        revenue = self.revenue[(self.kind == PURCHASE) & (self.day < day) & (self.revenue > 0)]
        return float(np.partition(revenue, revenue.size // 2)[revenue.size // 2]) if revenue.size else 1.0

    def id_hash(self) -> np.ndarray:
        """Hash the customer ids as text.

        Returns
        -------
        numpy.ndarray of shape (N,), uint64
            The same for the number 7 and the text "7", so that samples drawn in this order do not depend on the type
            of the ids.
        """
        return self.customers["customer"].cast(pl.String).hash(seed=0).to_numpy()

    def guests(self, day: int) -> np.ndarray:
        """List the guests and the objectors to profiling with a purchase before a day.

        They count for item statistics and are in no training example and in no score.

        Parameters
        ----------
        day : int
            Days since 1970-01-01, exclusive.

        Returns
        -------
        numpy.ndarray of int
            Ascending rows.
        """
        buyers = self.buyers(day)
        return buyers[self.guest_or_objector(day)[buyers]]

    def objectors(self, day: int) -> np.ndarray:
        """Ascending rows of the customers with a purchase before a day who object to profiling."""
        buyers = self.buyers(day)
        return buyers[profiling_objectors(self.customers, to_date(day).isoformat())[buyers]]

    def not_scored(self, day: int) -> np.ndarray:
        """Ascending rows of the guests, and of the customers who object to profiling on a day."""
        return np.flatnonzero(self.guest_or_objector(day))

    def guest_or_objector(self, day: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Whether the customers in [start, stop) are guests or object to profiling on a day: (stop - start,) bool."""
        customers = self.customers[start:stop]
        return guest_flags(customers) | profiling_objectors(customers, to_date(day).isoformat())

    def buyers(self, day: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Ascending rows in [start, stop) with a purchase before `day`, guests included."""
        offsets = self.offsets[start : min(len(self) if stop is None else stop, len(self)) + 1]
        own = slice(offsets[0], offsets[-1])
        bought = (self.kind[own] == PURCHASE) & (self.day[own] < day)
        with_events = np.flatnonzero(np.diff(offsets))
        if not with_events.size:
            return start + with_events
        return start + with_events[np.logical_or.reduceat(bought, offsets[with_events] - offsets[0])]

    @classmethod
    def open(
        cls,
        folder: str | Path,
        verify: bool = False,
        segments: SegmentList | None = None,
        further: Segment | None = None,
    ) -> EventLog:
        """Memory-map a log. Sizes, ranges and order are always checked.

        Parameters
        ----------
        folder : str or Path
            Folder of the log.
        verify : bool
            Whether to compare all files with their checksums first.
        segments : SegmentList, optional
            Segments that the log had; those after them are not read. By default all are.
        further : Segment, optional
            A segment that the log does not have yet.

        Returns
        -------
        EventLog
            The log; its columns are read when they are used.

        Raises
        ------
        ConfigurationError
            If there is no log.
        DataError
            If the log has another format.
        DamageError
            If the log is damaged.
        """
        folder = Path(folder)
        remove_interrupted(folder)
        while True:
            if not (folder / META).is_file():
                raise ConfigurationError(f"no event log at {folder}; make one with propensity prepare out={folder}")
            mark = log_mark(folder)
            try:
                return cls._open(folder, verify, segments, further)
            except DamageError:
                if log_mark(folder) == mark:
                    raise  # otherwise the log was replaced while it was read

    @classmethod
    def _open(cls, folder: Path, verify: bool, former: SegmentList | None, further: Segment | None) -> EventLog:
        """A log as its folder is at present, or with its former segments."""
        if is_sharded(folder):
            return cls._of_shards(folder, verify)
        base = read_base(folder, verify)
        segments = list_segments(folder, base.meta)
        remove_unlisted(segments)
        if former is not None and former.names == segments.names[: len(former.names)] and former.base == segments.base:
            segments = former
        if not segments.names and further is None:
            log = cls(**base.arrays, **base.frames, meta=base.meta)
            return replace(log, engagement=log.sibling(base.engagement)) if base.engagement else log
        present = [read_segment(segments, k) for k in range(len(segments.names))]
        parts = merged_log(base, present if further is None else [*present, further])
        meta = with_former(parts.meta, known_fingerprints(segments))
        log = cls._gathered(parts.columns, item_known=parts.item_known, meta=meta, **parts.frames)
        parts.columns.describe(segments, log)
        if parts.engagement is not None:
            shared = {name: getattr(log, name) for name in ("item_known", "customers", "items", "meta", "contacts")}
            object.__setattr__(log, "engagement", cls._gathered(parts.engagement, **shared))
        return log

    @classmethod
    def _of_shards(cls, folder: Path, verify: bool) -> EventLog:
        """The log of the shards in a folder."""
        parts = read_shards(folder, verify)
        log = cls._gathered(parts.columns, item_known=parts.item_known, meta=parts.meta, **parts.frames)
        if parts.engagement is not None:
            shared = {name: getattr(log, name) for name in ("item_known", "customers", "items", "meta", "contacts")}
            object.__setattr__(log, "engagement", cls._gathered(parts.engagement, **shared))
        return log

    @classmethod
    def _gathered(cls, columns: GatheredColumns, **rest: Any) -> EventLog:
        """A log whose columns are gathered when they are used."""
        nothing: dict[str, Any] = dict.fromkeys(COLUMNS)
        log = cls(offsets=columns.offsets, gathered=columns, **nothing, **rest)
        for name in columns.types:
            del log.__dict__[name]
        return log

    def sibling(self, columns: Mapping[str, Any]) -> EventLog:
        """Other events of the same customers and items.

        Parameters
        ----------
        columns : mapping of str to numpy.ndarray
            `offsets` (N + 1,), the columns of `COLUMNS` and any of `OPTIONAL`.

        Returns
        -------
        EventLog
            A log of these events.
        """
        fields: dict[str, Any] = {**dict.fromkeys((*OPTIONAL, *KEYS, "engagement", "gathered")), **columns}
        return replace(self, **fields)

    def save(self, folder: str | Path, notes: Mapping[str, str] | None = None) -> EventLog:
        """Write the log, replacing an existing log.

        Parameters
        ----------
        folder : str or Path
            Folder of the log.
        notes : mapping of str to str, optional
            Text files to write beside it, by name.

        Returns
        -------
        EventLog
            The written log, memory-mapped.

        Raises
        ------
        ConfigurationError
            If the folder holds something other than a log; it is not changed.
        """
        check_replaceable(folder)
        with whole_folder(folder) as draft:
            self.write_columns(draft)
            self.seal(draft, notes)
        return EventLog.open(folder)

    def write_columns(self, draft: Path) -> None:
        """Write the columns with one value per event.

        Parameters
        ----------
        draft : Path
            Folder of the columns.
        """
        for name in self.column_types:
            np.save(draft / f"{name}.npy", getattr(self, name), allow_pickle=False)
        if self.engagement is not None:
            (draft / ENGAGEMENT).mkdir(exist_ok=True)
            self.engagement.write_columns(draft / ENGAGEMENT)

    def seal(self, draft: Path, notes: Mapping[str, str] | None = None) -> None:
        """Write everything except the columns of events, which are in the folder already; `meta.json` is last.

        Parameters
        ----------
        draft : Path
            Folder of the columns.
        notes : mapping of str to str, optional
            Text files to write beside them, by name.
        """
        for name, text in (notes or {}).items():
            (draft / name).write_text(text)
        for name in ("offsets", "item_known"):
            np.save(draft / f"{name}.npy", getattr(self, name), allow_pickle=False)
        check_totals({name: getattr(self, name) for name in COLUMNS})
        for name, table in {"customers": self.customers, "items": self.items, CONTACTS: self.contacts}.items():
            if table is not None:
                table.rechunk().write_parquet(draft / f"{name}.parquet")
        if self.engagement is not None:
            np.save(draft / ENGAGEMENT / "offsets.npy", self.engagement.offsets, allow_pickle=False)
        columns = {name: {"dtype": str(a.dtype), "shape": list(a.shape)} for name, a in self.arrays.items()}
        files = file_records(draft, [name for name in covered_files(draft) if name not in (META, TOMBSTONES)])
        meta = {name: value for name, value in self.meta.items() if name != "shards"}
        meta |= {"format": FORMAT, "columns": columns, "fingerprint": fingerprint(self), "files": files}
        meta |= {"event_days": event_days(self.day_columns), "largest": largest_amounts(self.arrays)}
        (draft / META).write_text(json.dumps(signed(meta), indent=1))
