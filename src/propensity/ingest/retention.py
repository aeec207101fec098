"""Retention: events older than a number of days leave the log, and are counted.

The days are counted from the last purchase of the log, so that the same tables always give the same log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.column_store import CHUNK, ColumnFiles, mapped_columns, release_pages
from propensity.data.consent import NO, consent_channel, consent_record
from propensity.data.event_log import ENGAGEMENT, EventLog, to_date
from propensity.errors import ConfigurationError
from propensity.ingest.account import money_of_events, without_events, without_quarantined
from propensity.ingest.money import sale_amount
from propensity.kernel.event import PURCHASE

EXPIRED, QUARANTINE_EXPIRED = "event_expired", "quarantine_expired"  # codes of the rules


def check_keep(keep: int | None) -> None:
    """Refuse a retention of less than a day; ConfigurationError."""
    if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 1):
        raise ConfigurationError(f"data.keep={keep} keeps nothing; give 1 day or more, or null to keep everything")


def check_kept(log: EventLog, keep: int | None, folder: str | Path) -> None:
    """Refuse a log that holds events older than its retention.

    Parameters
    ----------
    log : EventLog
        A log that is opened as it is.
    keep : int or None
        Days up to the last purchase, that day included; None accepts every log.
    folder : str or Path
        Its folder, for the message.

    Raises
    ------
    ConfigurationError
        If an event is older.
    """
    if keep is not None and log.first_event_day < log.last_day - keep + 1:
        raise ConfigurationError(
            f"data.keep={keep} allows events from {to_date(log.last_day - keep + 1)} on, but {folder} has events from "
            f"{to_date(log.first_event_day)} on; prepare the log again with data.keep={keep}, or leave data.keep out"
        )


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
        consent, his id and his consents stay, so that the refusal holds. Removed events and quarantined rows count as
        dropped; large lines of an older day are not listed.
    """
    if keep is None:
        return log
    first = log.last_day - keep + 1
    meta = log.meta | {"keep": keep}
    if lines := meta.get("large_lines"):
        meta["large_lines"] = [line for line in lines if line["day"] >= to_date(first).isoformat()]
    old, sales = _drop_quarantined(folder / "quarantine", first)
    log = replace(log, meta=without_quarantined(meta, old, QUARANTINE_EXPIRED, sales))
    parts = [(log, folder)] if log.engagement is None else [(log, folder), (log.engagement, folder / ENGAGEMENT)]
    if not any((np.asarray(part.day) < first).any() for part, _ in parts):
        return log
    size = [_rewrite(part, first, place) for part, place in parts]
    before = np.sum([np.diff(part.offsets) for part, _ in parts], axis=0)
    gone = (np.sum(size, axis=0) == 0) & (before > 0)
    stays = ~gone | _refused(log.customers)
    rest = replace(
        log,
        customers=_without_attributes(log.customers, gone).filter(pl.Series(stays)),
        meta=_account(log, first, int(before.sum() - np.sum(size))),
        **mapped_columns(folder, size[0][stays], log.column_types),
    )
    if log.engagement is None:
        return rest
    return replace(rest, engagement=rest.sibling(mapped_columns(folder / ENGAGEMENT, size[1][stays], log.column_types)))


def _rewrite(log: EventLog, first: int, folder: Path) -> np.ndarray:
    """Rewrite the columns in a folder without the events before `first`; returns the events of each customer (N,)."""
    size, place = np.zeros(len(log), np.int64), folder / "kept"
    place.mkdir()
    with ColumnFiles(place, log.column_types) as files:
        for part, columns, counts in _kept(log, first):
            size[part] = counts
            files.append(columns)
    for name in log.column_types:
        (place / f"{name}.npy").replace(folder / f"{name}.npy")
    place.rmdir()
    return size


def _kept(log: EventLog, first: int) -> Iterator[tuple[slice, dict[str, np.ndarray], np.ndarray]]:
    """Some customers at a time: their events from `first` on, and the number of them (n,) int64."""
    edges = np.searchsorted(log.offsets, np.arange(0, log.offsets[-1], CHUNK))
    for start, stop in pairwise(np.unique(np.append(edges, len(log)))):
        offsets = np.asarray(log.offsets[start : stop + 1])
        own = slice(offsets[0], offsets[-1])
        stays = np.asarray(log.day[own]) >= first
        columns = {name: np.asarray(getattr(log, name)[own])[stays] for name in log.column_types}
        owner = np.repeat(np.arange(stop - start), np.diff(offsets))[stays]
        columns["order"] = _numbered(columns["order"], owner, stop - start)
        yield slice(start, stop), columns, np.bincount(owner, minlength=stop - start)
        for name in log.column_types:
            release_pages(getattr(log, name))


def _numbered(order: np.ndarray, owner: np.ndarray, size: int) -> np.ndarray:
    """Numbers of orders (E,) from 0 for each customer: the removed ones were the lowest; -1 stays."""
    lowest = np.full(size, np.iinfo(np.int32).max, np.int32)
    np.minimum.at(lowest, owner[order >= 0], order[order >= 0])
    return np.where(order >= 0, order - lowest[owner], order).astype(np.int32)


def _account(log: EventLog, first: int, expired: int) -> dict[str, Any]:
    """The metadata after events before `first` left."""
    day = np.asarray(log.day)
    meta = without_events(log.meta, expired, EXPIRED, money_of_events(log, day < first))
    return meta | {"first_day": int(day[(np.asarray(log.kind) == PURCHASE) & (day >= first)].min())}


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


def _drop_quarantined(folder: Path, first: int) -> tuple[Counter[str], float]:
    """Remove quarantined rows of an older day; returns their number by reason, and their sales."""
    expired, sales = Counter[str](), 0.0
    for file in folder.glob("*.parquet"):
        rows = pl.read_parquet(file)
        if rows.schema.get("day") != pl.Date:
            continue
        is_old = (pl.col("day") < to_date(first)).fill_null(False)
        old, recent = rows.filter(is_old), rows.filter(~is_old)
        if old.is_empty():
            continue
        expired.update(dict(old["reason"].value_counts().iter_rows()))
        sales += old.select(sale_amount().sum()).item()
        if recent.is_empty():
            file.unlink()
        else:
            recent.write_parquet(file)
    return expired, sales
