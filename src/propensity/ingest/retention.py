"""Retention: events older than a number of days leave the log, and are counted.

The days are counted from the last purchase of the log, so that the same tables always give the same log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.column_store import CHUNK, ColumnFiles, release_pages
from propensity.data.consent import NO, consent_channel, consent_record
from propensity.data.event_log import COLUMNS, EventLog, to_date
from propensity.errors import ConfigurationError
from propensity.kernel.event import PURCHASE

EXPIRED = "event_expired"  # code of the rule


def check_keep(keep: int | None) -> None:
    """Refuse a retention of less than a day; ConfigurationError."""
    if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 1):
        raise ConfigurationError(f"data.keep={keep} keeps nothing; give 1 day or more, or null to keep everything")


def retain(log: EventLog, keep: int | None, folder: Path) -> EventLog:
    """Remove the events that are older than the last `keep` days of purchases.

    Parameters
    ----------
    log : EventLog
        A log whose columns lie in `folder`.
    keep : int or None
        Days up to the last purchase, that day included; None keeps everything.
    folder : Path
        Folder of the columns, which are rewritten, and of quarantined rows, of which those with an older day are
        removed too.

    Returns
    -------
    EventLog
        The log, which `EventLog.seal` completes. A customer all of whose events are gone is removed; if he refused a
        consent, his id and his consents stay, so that the refusal holds. Removed events are counted as dropped.
    """
    if keep is None:
        return log
    first = log.last_day - keep + 1
    meta = log.meta | {"keep": keep}
    _drop_quarantined(folder / "quarantine", first)
    if not (np.asarray(log.day) < first).any():
        return replace(log, meta=meta)
    size, first_purchase = np.zeros(len(log), np.int64), log.last_day
    place = folder / "kept"
    place.mkdir()
    with ColumnFiles(place, COLUMNS) as files:
        for part, columns, counts in _kept(log, first):
            size[part] = counts
            bought = columns["day"][columns["kind"] == PURCHASE]
            first_purchase = min(first_purchase, int(bought.min(initial=first_purchase)))
            files.append(columns)
    for name in COLUMNS:
        (place / f"{name}.npy").replace(folder / f"{name}.npy")
    place.rmdir()
    customers = log.customers
    gone = (size == 0) & (np.diff(log.offsets) > 0)
    stays = ~gone | _refused(customers)
    used = int(size.sum())
    rows: dict[str, Any] = dict(log.meta["rows"])
    expired = rows["used"] - used
    rows |= {"used": used, "dropped": dict(sorted({**rows["dropped"], EXPIRED: expired}.items()))}
    rows["dropped"][EXPIRED] += log.meta["rows"]["dropped"].get(EXPIRED, 0)
    arrays: dict[str, Any] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    return replace(
        log,
        offsets=np.concatenate([[0], np.cumsum(size[stays])]).astype(np.int64),
        customers=_without_attributes(customers, gone).filter(pl.Series(stays)),
        meta=meta | {"rows": rows, "first_day": first_purchase},
        **arrays,
    )


def _kept(log: EventLog, first: int) -> Iterator[tuple[slice, dict[str, np.ndarray], np.ndarray]]:
    """Some customers at a time: their events from `first` on, and the number of them (n,) int64."""
    edges = np.searchsorted(log.offsets, np.arange(0, log.offsets[-1], CHUNK))
    for start, stop in pairwise(np.unique(np.append(edges, len(log)))):
        offsets = np.asarray(log.offsets[start : stop + 1])
        own = slice(offsets[0], offsets[-1])
        stays = np.asarray(log.day[own]) >= first
        columns = {name: np.asarray(getattr(log, name)[own])[stays] for name in COLUMNS}
        owner = np.repeat(np.arange(stop - start), np.diff(offsets))[stays]
        columns["order"] = _numbered(columns["order"], owner, stop - start)
        yield slice(start, stop), columns, np.bincount(owner, minlength=stop - start)
        for name in COLUMNS:
            release_pages(getattr(log, name))


def _numbered(order: np.ndarray, owner: np.ndarray, size: int) -> np.ndarray:
    """Numbers of orders (E,) from 0 for each customer: the removed ones were the lowest; -1 stays."""
    lowest = np.full(size, np.iinfo(np.int32).max, np.int32)
    np.minimum.at(lowest, owner[order >= 0], order[order >= 0])
    return np.where(order >= 0, order - lowest[owner], order).astype(np.int32)


def _refused(customers: pl.DataFrame) -> np.ndarray:
    """Customers (N,) who refused any consent."""
    words = consent_record(customers, to_date(0).isoformat(), from_log=True).words.values()
    return np.logical_or.reduce([np.zeros(customers.height, bool), *(word == NO for word in words)])


def _without_attributes(customers: pl.DataFrame, gone: np.ndarray) -> pl.DataFrame:
    """The customers, those in `gone` with their id and consents only."""
    days = ("consented", "withdrawn")
    attributes = [
        name
        for name in customers.columns
        if name != "customer" and consent_channel(name) is None and name.split("_")[0] not in days
    ]
    mask = pl.lit(pl.Series(gone))
    return customers.with_columns(pl.when(~mask).then(name).alias(name) for name in attributes)


def _drop_quarantined(folder: Path, first: int) -> None:
    """Remove quarantined rows of an older day; their counts stay."""
    for file in folder.glob("*.parquet"):
        rows = pl.read_parquet(file)
        if rows.schema.get("day") == pl.Date:
            recent = rows.filter((pl.col("day") >= to_date(first)).fill_null(True))
            if recent.is_empty():
                file.unlink()
            elif recent.height < rows.height:
                recent.write_parquet(file)
