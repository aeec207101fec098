"""The event log: columns sorted by customer and day, memory-mapped and immutable, and its folder on disk.

The folder holds one `.npy` per column, `customers.parquet` and `items.parquet` (row n describes code n and holds the
original id) and `meta.json`, which is written last. The folder is replaced in one step. Columns of `OPTIONAL`,
`contacts.parquet` and the folder `engagement` exist only where a source delivers them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.atomic import remove_interrupted, whole_folder
from propensity.checksum import Damage, check_files, check_sizes, covered_files, file_records, signed
from propensity.data.column_store import CHUNK, release_pages
from propensity.data.consent import guest_flags, profiling_objectors
from propensity.data.log_folder import (
    FORMAT,
    META,
    TOMBSTONES,
    UNREADABLE,
    check_replaceable,
    first_line,
    log_damage,
    read_meta,
)
from propensity.data.valid import check_columns, check_engagement, check_optional, check_totals
from propensity.errors import ConfigurationError, DamageError
from propensity.kernel.event import PURCHASE, Events, fixed

COLUMNS = {
    "day": np.int32,
    "item": np.int32,
    "kind": np.int8,
    "channel": np.int8,
    "order": np.int32,
    "quantity": np.float32,
    "revenue": np.float32,
    "discount": np.float32,
}
ARRAYS = ("offsets", *COLUMNS, "item_known")
OPTIONAL = {"time": np.int64, "cost": np.float32, "contact": np.int32, "probability": np.float32}
NO_TIME = np.iinfo(np.int64).max  # an event without a time is the last of its day
MISSING = {"time": NO_TIME, "cost": np.nan, "contact": -1, "probability": np.nan}  # value of an event without one
ENGAGEMENT = "engagement"  # folder of the events of `propensity.kernel.event.ENGAGEMENT_KINDS`
SOMETIMES = (*OPTIONAL, *(f"{ENGAGEMENT}/{name}" for name in ("offsets", *COLUMNS, *OPTIONAL)))
EPOCH = date(1970, 1, 1)
TABLES = ("customers", "items")
CONTACTS = "contacts"
TABLE_FILES = tuple(f"{name}.parquet" for name in (*TABLES, CONTACTS))


def to_day(value: date | str) -> int:
    """Convert a date to days since 1970-01-01.

    Parameters
    ----------
    value : date or str
        A date or an ISO string.

    Returns
    -------
    int
        Days since 1970-01-01.

    Raises
    ------
    ConfigurationError
        If the value is not a date.
    """
    if isinstance(value, date):
        return (value - EPOCH).days
    try:
        return (date.fromisoformat(str(value)) - EPOCH).days
    except ValueError:
        raise ConfigurationError(f"{value!r} is not a date; write it as YYYY-MM-DD") from None


def to_date(day: int) -> date:
    """Convert days since 1970-01-01 to a date.

    Parameters
    ----------
    day : int
        Days since 1970-01-01.

    Returns
    -------
    datetime.date
        The calendar date.
    """
    return EPOCH + timedelta(days=int(day))


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
    item_known: np.ndarray  # (I,) int32, an item is known after this day: its first event, or always if delivered
    customers: pl.DataFrame  # (N) rows: customer and attributes
    items: pl.DataFrame  # (I) rows: item and attributes
    meta: dict[str, Any]  # row counts, warnings, channels, first and last day, fingerprint
    time: np.ndarray | None = None  # (E,) int64, milliseconds since 1970-01-01 UTC, `NO_TIME` for an event without one
    cost: np.ndarray | None = None  # (E,) float32, currency, of the goods of a line or of a message, NaN if not known
    contact: np.ndarray | None = None  # (E,) int32, row of `contacts`, -1 for an event without one
    probability: np.ndarray | None = None  # (E,) float32, in (0, 1], of being sent exactly this, NaN if not known
    contacts: pl.DataFrame | None = None  # distinct campaign, offer, arm, experiment of messages and responses
    engagement: EventLog | None = None  # events of `ENGAGEMENT_KINDS` of the same customers and items

    def __len__(self) -> int:
        return self.offsets.size - 1

    def __repr__(self) -> str:
        customers, items, events = f"{len(self):,}", f"{self.items.height:,}", f"{self.day.size:,}"
        days = f"{to_date(self.first_day)} to {to_date(self.last_day)}"
        return f"EventLog({customers} customers, {items} items, {events} events, purchases from {days})"

    @property
    def folder(self) -> Path | None:
        """The folder that the log is mapped from; None for a log in memory."""
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
        return max(int(day.max()) for day in self._days)

    @property
    def first_event_day(self) -> int:
        """Day of the first event of any kind."""
        return min(int(day.min()) for day in self._days)

    @property
    def _days(self) -> list[np.ndarray]:
        """Days of the events here and of those in `engagement`, without an empty column."""
        days = [self.day, *([] if self.engagement is None else [self.engagement.day])]
        return [day for day in days if day.size]

    @property
    def timezone(self) -> str | None:
        """Time zone of the shop, in which `day` is the date of `time`; None for a log without times."""
        return self.meta.get("timezone")

    @property
    def column_types(self) -> dict[str, type]:
        """NumPy types of the columns with one value per event, with those of `OPTIONAL` that the log has."""
        present: dict[str, type] = {n: kind for n, kind in OPTIONAL.items() if getattr(self, n) is not None}
        return {**COLUMNS, **present}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Every array of the log by the name of its file, without .npy."""
        names = [*ARRAYS, *(name for name in OPTIONAL if getattr(self, name) is not None)]
        own = {name: getattr(self, name) for name in names}
        if self.engagement is None:
            return own
        apart = {name: getattr(self.engagement, name) for name in ("offsets", *self.engagement.column_types)}
        return own | {f"{ENGAGEMENT}/{name}": array for name, array in apart.items()}

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
        """16 hexadecimal digits that change with any event, customer or item."""
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
        return replace(self._where(self.day < day), engagement=engagement)

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

    def _where(self, visible: np.ndarray) -> EventLog:
        """The events for which `visible` (E,) is true."""
        counts = np.add.reduceat(np.append(visible, False), self.offsets[:-1]) * (np.diff(self.offsets) > 0)
        columns: dict[str, Any] = {n: np.ascontiguousarray(getattr(self, n)[visible]) for n in self.column_types}
        return replace(self, offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), **columns)

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
    def open(cls, folder: str | Path, verify: bool = False) -> EventLog:
        """Memory-map a log. Sizes, ranges and order are always checked.

        Parameters
        ----------
        folder : str or Path
            Folder of the log.
        verify : bool
            Whether to compare all files with their checksums first.

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
        if not (folder / META).is_file():
            raise ConfigurationError(f"no event log at {folder}; make one with propensity prepare out={folder}")
        meta, damage = read_meta(folder), log_damage(folder)
        try:
            arrays, frames = _stored(folder, meta, verify, damage)
            channels, days = len(meta["channels"]), (int(meta["first_day"]), int(meta["last_day"]))
        except DamageError:
            raise
        except UNREADABLE as error:
            raise damage("", first_line(error)) from None
        keys = {name: frames[name].columns[:1] for name in TABLES}
        if frames["customers"].height != arrays["offsets"].size - 1 or keys != {
            "customers": ["customer"],
            "items": ["item"],
        }:
            raise damage("", "its tables differ in length or columns")
        apart = {name.split("/")[1]: arrays.pop(name) for name in [*arrays] if "/" in name}
        items, contacts = frames["items"].height, frames[CONTACTS].height if CONTACTS in frames else 0
        check_columns(arrays, items, channels, days, damage)
        check_optional(arrays, contacts, damage)
        log = cls(**arrays, **frames, meta=meta)
        if not apart:
            return log
        check_engagement(apart, items, channels, len(log), damage)
        check_optional(apart, contacts, damage, f"{ENGAGEMENT}/")
        return replace(log, engagement=log.sibling(apart))

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
        absent: dict[str, Any] = {**dict.fromkeys(OPTIONAL), "engagement": None}
        return replace(self, **{**absent, **columns})

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
        self.customers.write_parquet(draft / "customers.parquet")
        self.items.write_parquet(draft / "items.parquet")
        if self.contacts is not None:
            self.contacts.write_parquet(draft / f"{CONTACTS}.parquet")
        if self.engagement is not None:
            np.save(draft / ENGAGEMENT / "offsets.npy", self.engagement.offsets, allow_pickle=False)
        columns = {name: {"dtype": str(a.dtype), "shape": list(a.shape)} for name, a in self.arrays.items()}
        files = file_records(draft, [name for name in covered_files(draft) if name not in (META, TOMBSTONES)])
        meta = self.meta | {"format": FORMAT, "columns": columns, "fingerprint": fingerprint(self), "files": files}
        (draft / META).write_text(json.dumps(signed(meta), indent=1))


def _stored(
    folder: Path, meta: Mapping[str, Any], verify: bool, damage: Damage
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays, memory-mapped, by the name of their file, and tables by name; one of `UNREADABLE` if one is damaged."""
    files, columns = meta.get("files", {}), meta["columns"]
    (check_files if verify else check_sizes)(folder, files, damage)
    if not verify:
        check_files(folder, {name: files[name] for name in TABLE_FILES if name in files}, damage)
    names = [*ARRAYS, *(name for name in SOMETIMES if name in columns)]
    tables = [*TABLES, *([CONTACTS] if "contact" in {name.split("/")[-1] for name in names} else [])]
    arrays = {name: _column(folder, name, columns[name]) for name in names}
    return arrays, {name: pl.read_parquet(folder / f"{name}.parquet") for name in tables}


def _column(folder: Path, name: str, spec: dict[str, Any]) -> np.ndarray:
    """Memory-map a column; ValueError if its shape or type differs from `spec`."""
    array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    if list(array.shape) != spec["shape"] or str(array.dtype) != spec["dtype"]:
        raise ValueError(f"{name}.npy is {array.dtype}{list(array.shape)}, expected {spec['dtype']}{spec['shape']}")
    return array


def fingerprint(log: EventLog) -> str:
    """Hash a log.

    Parameters
    ----------
    log : EventLog
        The log.

    Returns
    -------
    str
        16 hexadecimal digits that change with any event, customer or item.
    """
    digest = hashlib.sha256()
    for column in log.arrays.values():
        for start in range(0, column.size, CHUNK):
            digest.update(np.ascontiguousarray(column[start : start + CHUNK]).view(np.uint8).data)
            release_pages(column)
    for frame in (log.customers, log.items, *([] if log.contacts is None else [log.contacts])):
        digest.update(np.ascontiguousarray(frame.hash_rows(seed=0).to_numpy()).view(np.uint8).data)
    return digest.hexdigest()[:16]
