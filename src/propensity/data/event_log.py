"""The event log: columns sorted by customer and day, memory-mapped and immutable, and its folder on disk.

The folder holds one `.npy` per column, `customers.parquet` and `items.parquet` (row n describes code n and holds the
original id) and `meta.json`, which is written last. The folder is replaced in one step.
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

from propensity.atomic import whole_folder
from propensity.data.column_store import CHUNK, release_pages
from propensity.data.consent import guest_flags, profiling_objectors
from propensity.errors import ConfigurationError, DataError
from propensity.kernel.event import PURCHASE, Events, fixed

FORMAT = 2
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
EPOCH = date(1970, 1, 1)
UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)


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
    kind: np.ndarray  # (E,) int8, position in `propensity.kernel.event.KINDS`
    channel: np.ndarray  # (E,) int8, position in `meta["channels"]`, -1 for none
    order: np.ndarray  # (E,) int32, number of the order within the customer by first appearance, -1 for other kinds
    quantity: np.ndarray  # (E,) float32, units
    revenue: np.ndarray  # (E,) float32, currency, total of the line
    discount: np.ndarray  # (E,) float32, currency
    item_known: np.ndarray  # (I,) int32, an item is known after this day: its first event, or always if delivered
    customers: pl.DataFrame  # (N) rows: customer and attributes
    items: pl.DataFrame  # (I) rows: item and attributes
    meta: dict[str, Any]  # row counts, warnings, channels, first and last day, fingerprint

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

    def before(self, day: int) -> EventLog:
        """Cut the log at a day. Everything that is fitted uses such a log, so that no later event can reach it.

        Parameters
        ----------
        day : int
            Days since 1970-01-01, exclusive.

        Returns
        -------
        EventLog
            The events before `day`, and the customers with at least one of them.
        """
        visible = self.day < day
        counts = np.add.reduceat(np.append(visible, False), self.offsets[:-1]) * (np.diff(self.offsets) > 0)
        active = counts > 0
        offsets = np.concatenate([[0], np.cumsum(counts[active])]).astype(np.int64)
        columns: dict[str, Any] = {name: np.ascontiguousarray(getattr(self, name)[visible]) for name in COLUMNS}
        sold = columns["day"][columns["kind"] == PURCHASE]
        meta = self.meta | {"last_day": int(sold.max()) if sold.size else self.first_day}
        return replace(self, offsets=offsets, customers=self.customers.filter(pl.Series(active)), meta=meta, **columns)

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
        buyers = self._buyers(day, start, stop)
        return buyers[~self._not_scored(day, start, stop)[buyers - start]]

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
        buyers = self._buyers(day)
        return buyers[self._not_scored(day)[buyers]]

    def objectors(self, day: int) -> np.ndarray:
        """Ascending rows of the customers with a purchase before a day who object to profiling."""
        buyers = self._buyers(day)
        return buyers[profiling_objectors(self.customers, to_date(day).isoformat())[buyers]]

    def _not_scored(self, day: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Whether the customers in [start, stop) are guests or object to profiling."""
        customers = self.customers[start:stop]
        return guest_flags(customers) | profiling_objectors(customers, to_date(day).isoformat())

    def _buyers(self, day: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows in [start, stop) with a purchase before `day`, guests included."""
        offsets = self.offsets[start : min(len(self) if stop is None else stop, len(self)) + 1]
        own = slice(offsets[0], offsets[-1])
        bought = (self.kind[own] == PURCHASE) & (self.day[own] < day)
        total = np.concatenate([[0], np.cumsum(bought)])
        return start + np.flatnonzero(np.diff(total[offsets - offsets[0]]))

    @classmethod
    def open(cls, folder: str | Path) -> EventLog:
        """Memory-map a log.

        Parameters
        ----------
        folder : str or Path
            Folder of the log.

        Returns
        -------
        EventLog
            The log; its columns are read when they are used.

        Raises
        ------
        ConfigurationError
            If there is no log.
        DataError
            If the log is damaged or has another format.
        """
        folder = Path(folder)
        if not (folder / "meta.json").is_file():
            raise ConfigurationError(f"no event log at {folder}; make one with propensity prepare out={folder}")
        try:
            meta = json.loads((folder / "meta.json").read_text())
            if meta["format"] != FORMAT:
                raise DataError(
                    f"the event log at {folder} has format {meta['format']}, not {FORMAT}; prepare it again"
                )
            arrays: dict[str, Any] = {name: cls._column(folder, name, meta["columns"][name]) for name in ARRAYS}
            frames: dict[str, Any] = {n: pl.read_parquet(folder / f"{n}.parquet") for n in ("customers", "items")}
        except UNREADABLE as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"the event log at {folder} is damaged ({reason}); prepare it again") from None
        if frames["customers"].height != arrays["offsets"].size - 1 or arrays["offsets"][-1] != arrays["day"].size:
            raise DataError(f"the event log at {folder} is damaged (its tables differ in length); prepare it again")
        return cls(**arrays, **frames, meta=meta)

    @staticmethod
    def _column(folder: Path, name: str, spec: dict[str, Any]) -> np.ndarray:
        """Memory-map a column; ValueError if its shape or type differs from `spec`."""
        array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        if list(array.shape) != spec["shape"] or str(array.dtype) != spec["dtype"]:
            raise ValueError(f"{name}.npy is {array.dtype}{list(array.shape)}, expected {spec['dtype']}{spec['shape']}")
        return array

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
            for name in COLUMNS:
                np.save(draft / f"{name}.npy", getattr(self, name), allow_pickle=False)
            self.seal(draft, notes)
        return EventLog.open(folder)

    def seal(self, draft: Path, notes: Mapping[str, str] | None = None) -> None:
        """Write everything except the columns of `COLUMNS`, which are in the folder already; `meta.json` is last.

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
        self.customers.write_parquet(draft / "customers.parquet")
        self.items.write_parquet(draft / "items.parquet")
        arrays = {name: getattr(self, name) for name in ARRAYS}
        columns = {name: {"dtype": str(a.dtype), "shape": list(a.shape)} for name, a in arrays.items()}
        meta = self.meta | {"format": FORMAT, "columns": columns, "fingerprint": fingerprint(self)}
        (draft / "meta.json").write_text(json.dumps(meta, indent=1))


def check_replaceable(folder: str | Path) -> None:
    """Check that an event log may be written to a folder.

    Parameters
    ----------
    folder : str or Path
        A new or empty folder, or an existing log.

    Raises
    ------
    ConfigurationError
        If the folder is a file or holds something other than a log.
    """
    if reason := _not_replaceable(Path(folder)):
        raise ConfigurationError(f"{folder} {reason}; choose another folder for the event log")


def _not_replaceable(folder: Path) -> str | None:
    """Reason why an event log may not replace the contents of `folder`, None if it may."""
    if folder.exists() and not folder.is_dir():
        return "is a file"
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    return "holds something other than an event log" if names and not names & {"meta.json", "offsets.npy"} else None


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
    for name in ARRAYS:
        column = getattr(log, name)
        for start in range(0, column.size, CHUNK):
            digest.update(np.ascontiguousarray(column[start : start + CHUNK]).view(np.uint8).data)
            release_pages(column)
    for frame in (log.customers, log.items):
        digest.update(np.ascontiguousarray(frame.hash_rows(seed=0).to_numpy()).view(np.uint8).data)
    return digest.hexdigest()[:16]
