"""The event log: columns sorted by customer and day, memory-mapped, immutable; and its folder on disk.

A log is a folder with one `.npy` per column, `customers.parquet` and `items.parquet` (row n describes code n, with the
original id), and `meta.json`, written last. A folder appears whole or not at all.
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
from propensity.data.column_store import CHUNK, forget
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
    """Days since 1970-01-01 of a date or an ISO string; a sentence for anything else."""
    if isinstance(value, date):
        return (value - EPOCH).days
    try:
        return (date.fromisoformat(str(value)) - EPOCH).days
    except ValueError:
        raise ConfigurationError(f"{value!r} is not a date; write it as YYYY-MM-DD") from None


def to_date(day: int) -> date:
    """The calendar date of a day number."""
    return EPOCH + timedelta(days=int(day))


@dataclass(frozen=True)
class EventLog:
    """Columnar CSR history: customer n owns events `offsets[n]:offsets[n + 1]`, ascending in day, file order in a day.

    offsets (N+1,) int64; the columns of `COLUMNS`, each (E,): item -1 for an event without one, order the number of the
    order within the customer by first appearance (-1 where it is no purchase). item_known (I,) int32: the day after
    which an item is known (its first event, or always for items from a table of their own).
    """

    offsets: np.ndarray
    day: np.ndarray
    item: np.ndarray
    kind: np.ndarray
    channel: np.ndarray
    order: np.ndarray
    quantity: np.ndarray
    revenue: np.ndarray
    discount: np.ndarray
    item_known: np.ndarray
    customers: pl.DataFrame
    items: pl.DataFrame
    meta: dict[str, Any]

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
        """Day of the first purchase; contacts may be older."""
        return int(self.meta["first_day"])

    @property
    def last_day(self) -> int:
        """Day of the last purchase."""
        return int(self.meta["last_day"])

    @property
    def customer_id(self) -> np.ndarray:
        return self.customers["customer"].to_numpy()

    @property
    def events(self) -> Events:
        """The columns, as kernels take them."""
        return Events(*(fixed(getattr(self, name)) for name in Events._fields))

    @property
    def fingerprint(self) -> str:
        return str(self.meta["fingerprint"])

    def before(self, day: int) -> EventLog:
        """What was known on the morning of `day`: events dated before it, and the customers seen by then.

        Everything that is fitted works on such a log, so nothing later can reach it.
        """
        seen = self.day < day
        counts = np.add.reduceat(np.append(seen, False), self.offsets[:-1]) * (np.diff(self.offsets) > 0)
        kept = counts > 0
        offsets = np.concatenate([[0], np.cumsum(counts[kept])]).astype(np.int64)
        columns: dict[str, Any] = {name: np.ascontiguousarray(getattr(self, name)[seen]) for name in COLUMNS}
        sold = columns["day"][columns["kind"] == PURCHASE]
        meta = self.meta | {"last_day": int(sold.max()) if sold.size else self.first_day}
        return replace(self, offsets=offsets, customers=self.customers.filter(pl.Series(kept)), meta=meta, **columns)

    def purchasers(self, day: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows of the customers with at least one purchase before `day`, ascending; guests are nobody's customers.

        start, stop: of the rows in [start, stop) (None: to the end), looking at their events alone.
        """
        return np.setdiff1d(self._buyers(day, start, stop), self._guests, assume_unique=True)

    def guests(self, day: int) -> np.ndarray:
        """Rows of the guests with a purchase before `day`: they count for what items sell, and get no message."""
        return np.intersect1d(self._buyers(day), self._guests, assume_unique=True)

    @property
    def _guests(self) -> np.ndarray:
        if "guest" not in self.customers.columns:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self.customers["guest"].fill_null(False).to_numpy())

    def _buyers(self, day: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        offsets = self.offsets[start : min(len(self) if stop is None else stop, len(self)) + 1]
        own = slice(offsets[0], offsets[-1])
        bought = (self.kind[own] == PURCHASE) & (self.day[own] < day)
        total = np.concatenate([[0], np.cumsum(bought)])
        return start + np.flatnonzero(np.diff(total[offsets - offsets[0]]))

    @classmethod
    def open(cls, folder: str | Path) -> EventLog:
        """Memory-maps a log; ConfigurationError if there is none, DataError if it is damaged."""
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
            raise DataError(f"the event log at {folder} is damaged (its tables disagree in length); prepare it again")
        return cls(**arrays, **frames, meta=meta)

    @staticmethod
    def _column(folder: Path, name: str, spec: dict[str, Any]) -> np.ndarray:
        array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        if list(array.shape) != spec["shape"] or str(array.dtype) != spec["dtype"]:
            raise ValueError(f"{name}.npy is {array.dtype}{list(array.shape)}, expected {spec['dtype']}{spec['shape']}")
        return array

    def save(self, folder: str | Path, notes: Mapping[str, str] | None = None) -> EventLog:
        """Writes the log to `folder`, replacing the log that is there; returns it memory-mapped.

        ConfigurationError if the folder holds something else, which is then left alone.
        """
        refuse_other(folder)
        with whole_folder(folder) as draft:
            for name in COLUMNS:
                np.save(draft / f"{name}.npy", getattr(self, name), allow_pickle=False)
            self.seal(draft, notes)
        return EventLog.open(folder)

    def seal(self, draft: Path, notes: Mapping[str, str] | None = None) -> None:
        """Writes all but the columns of `COLUMNS`, which lie in the folder already, `meta.json` last."""
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


def refuse_other(folder: str | Path) -> None:
    """ConfigurationError if an event log may not take the place of what is at `folder`."""
    if other := _no_log(Path(folder)):
        raise ConfigurationError(f"{folder} {other}; give another folder for the event log")


def _no_log(folder: Path) -> str | None:
    """Why an event log may not take the place of what is at `folder`."""
    if folder.exists() and not folder.is_dir():
        return "is a file"
    found = {path.name for path in folder.iterdir()} if folder.exists() else set()
    return "holds something else than an event log" if found and not found & {"meta.json", "offsets.npy"} else None


def fingerprint(log: EventLog) -> str:
    """16 hex digits that change with any event, customer or item of the log."""
    digest = hashlib.sha256()
    for name in ARRAYS:
        column = getattr(log, name)
        for start in range(0, column.size, CHUNK):
            digest.update(np.ascontiguousarray(column[start : start + CHUNK]).view(np.uint8).data)
            forget(column)
    for frame in (log.customers, log.items):
        digest.update(np.ascontiguousarray(frame.hash_rows(seed=0).to_numpy()).view(np.uint8).data)
    return digest.hexdigest()[:16]
