"""Registrants: customers without a purchase before a day whom the log knows by then, and why others have no score.

A registrant is known by the date of registration (`acquired_day` of the customers) or by an event of any kind. Guests
and customers who object to profiling are no registrants. Nothing here reads an event, or a date of registration, of the
day or later.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from propensity.data.consent import guest_flags, profiling_objectors

if TYPE_CHECKING:
    from propensity.data.event_log import EventLog

REGISTERED, SOURCE = "acquired_day", "acquired_channel"
GUEST, OBJECTS = "guest", "objects to profiling"
LATER = "registered on the cutoff or later"
UNKNOWN = "neither a date of registration nor an event before the cutoff"
NOT_TRAINED = "no purchase before the cutoff, and the run was trained on purchasers only (data.registrants)"


def registration_days(customers: pl.DataFrame) -> np.ndarray:
    """Days of registration.

    Parameters
    ----------
    customers : polars.DataFrame
        N rows of the table of customers of a log.

    Returns
    -------
    numpy.ndarray of shape (N,), float64
        Days since 1970-01-01; NaN where none is known.
    """
    if REGISTERED not in customers.columns or not customers.schema[REGISTERED].is_temporal():
        return np.full(customers.height, np.nan)
    days = customers[REGISTERED].cast(pl.Date, strict=False).to_physical()
    return days.cast(pl.Float64).fill_null(np.nan).to_numpy()


def known_before(log: EventLog, day: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Customers who registered, or have an event of any kind, before a day.

    Parameters
    ----------
    log : EventLog
        The log.
    day : int
        Days since 1970-01-01, exclusive.
    start, stop : int
        Only customers in [start, stop) are looked at; `stop=None` means the end of the log.

    Returns
    -------
    numpy.ndarray of shape (stop - start,), bool
        Guests and objectors included.
    """
    known = registration_days(log.customers[start:stop]) < day
    for events in (log, log.engagement):
        if events is not None and events.day.size:
            first, end = events.offsets[:-1][start:stop], events.offsets[1:][start:stop]
            known |= (end > first) & (events.day[np.minimum(first, events.day.size - 1)] < day)
    return known


def registrants(log: EventLog, day: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """List the registrants as of a day.

    Parameters
    ----------
    log : EventLog
        The log.
    day : int
        Days since 1970-01-01, exclusive.
    start, stop : int
        Only rows in [start, stop) are read; `stop=None` means the end of the log.

    Returns
    -------
    numpy.ndarray of int
        Ascending rows.
    """
    stop = len(log) if stop is None else min(stop, len(log))
    chosen = known_before(log, day, start, stop)
    chosen[log.buyers(day, start, stop) - start] = False
    return start + np.flatnonzero(chosen & ~log.guest_or_objector(day, start, stop))


def with_registration(log: EventLog, day: int) -> bool:
    """Whether a registrant as of a day has a date of registration before it."""
    if REGISTERED not in log.customers.columns:
        return False
    return bool((registration_days(log.customers)[registrants(log, day)] < day).any())


def not_scored(log: EventLog, day: int, trained_on: bool) -> pl.DataFrame:
    """Why customers of a log have no score at a cutoff.

    Parameters
    ----------
    log : EventLog
        The log.
    day : int
        Cutoff, in days since 1970-01-01.
    trained_on : bool
        Whether the model scores registrants.

    Returns
    -------
    polars.DataFrame
        `customer_id` and `reason`, one row for each customer without a score, in the order of the log.
    """
    from propensity.data.event_log import to_date  # the log imports this module

    bought = np.zeros(len(log), bool)
    bought[log.buyers(day)] = True
    known, registered = known_before(log, day), registration_days(log.customers)
    conditions = {
        GUEST: guest_flags(log.customers),
        OBJECTS: profiling_objectors(log.customers, to_date(day).isoformat()),
        LATER: ~bought & ~known & (registered >= day),
        UNKNOWN: ~bought & ~known,
        NOT_TRAINED: ~bought & (not trained_on),
    }
    reason = np.select(list(conditions.values()), np.arange(len(conditions)).tolist(), -1)
    rows = np.flatnonzero(reason >= 0)
    words = pl.Series(list(conditions), dtype=pl.String).gather(reason[rows])
    return pl.DataFrame({"customer_id": log.customers["customer"].gather(rows), "reason": words})


def counted_reasons(table: pl.DataFrame) -> str:
    """The table of `not_scored` in a sentence; empty where every customer has a score.

    Examples
    --------
    >>> counted_reasons(pl.DataFrame({"customer_id": [1, 2, 3], "reason": ["guest", "guest", "objects to profiling"]}))
    '3 customers have no score: 2 guest, 1 objects to profiling'
    """
    if not table.height:
        return ""
    counts = table.group_by("reason").len().sort("len", "reason", descending=[True, False])
    parts = ", ".join(f"{count:,} {reason}" for reason, count in counts.iter_rows())
    return f"{table.height:,} customer{'s have' if table.height > 1 else ' has'} no score: {parts}"


def not_scored_path(out: Path) -> Path:
    """The file beside a table or a folder of scores.

    Examples
    --------
    >>> not_scored_path(Path("out/scores.parquet")).as_posix(), not_scored_path(Path("out/scores")).as_posix()
    ('out/scores.not_scored.parquet', 'out/scores.not_scored.parquet')
    """
    return out.with_name(f"{out.stem if out.suffix == '.parquet' else out.name}.not_scored.parquet")
