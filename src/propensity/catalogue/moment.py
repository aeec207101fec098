"""Logs whose days end at a time of day, so that a cutoff with a time reads nothing at or after it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import NO_TIME, EventLog
from propensity.kernel.event import PURCHASE

HOUR, DAY = 3_600_000, 86_400_000  # milliseconds


def moments(day: np.ndarray, clock: np.ndarray | int, zone: str | None) -> np.ndarray:
    """Moments at which the clocks of a zone show a time of day.

    Parameters
    ----------
    day : (R,) int64
        Days since 1970-01-01.
    clock : (R,) int64 or int
        Milliseconds since midnight.
    zone : str, optional
        Time zone; UTC without one.

    Returns
    -------
    numpy.ndarray of shape (R,), int64
        Milliseconds since 1970-01-01 UTC. Of a time that occurs twice, when clocks are put back, the earlier; a time
        that clocks skip is counted on from the hour before.

    Examples
    --------
    >>> moments(np.array([0, 1]), HOUR, "UTC").tolist()
    [3600000, 90000000]
    """
    local = pl.Series(np.asarray(day, np.int64) * DAY + clock).cast(pl.Datetime("ms"))
    there = local.dt.replace_time_zone(zone or "UTC", ambiguous="earliest", non_existent="null").dt.epoch("ms")
    if there.null_count():
        earlier = local.dt.offset_by("-1h")
        before = earlier.dt.replace_time_zone(zone or "UTC", ambiguous="earliest", non_existent="null").dt.epoch("ms")
        there = there.fill_null(before + HOUR)
    return there.to_numpy().astype(np.int64)


def cutoffs_of(day: np.ndarray, clock: np.ndarray | None) -> pl.Series:
    """Cutoffs as they stand in tables.

    Parameters
    ----------
    day : (K,) int
        Days since 1970-01-01.
    clock : (K,) int64, optional
        Milliseconds since midnight.

    Returns
    -------
    polars.Series of length K
        Dates, or moments in the zone of the log where cutoffs have a time of day.
    """
    if clock is None:
        return pl.Series(day.astype(np.int32)).cast(pl.Date)
    return pl.Series(day.astype(np.int64) * DAY + clock).cast(pl.Datetime("ms"))


def end_of_day_times(log: EventLog) -> np.ndarray:
    """Moments (E,) of the events of a log; an event without a time counts at the end of its day."""
    time = np.full(log.day.size, NO_TIME) if log.time is None else np.array(log.time, np.int64)
    untimed = np.flatnonzero(time == NO_TIME)
    time[untimed] = moments(np.asarray(log.day, np.int64)[untimed] + 1, 0, log.timezone) - 1
    return time


def ending_at(log: EventLog, clock: int) -> EventLog:
    """Move the ends of the days of a log to a time of day.

    Parameters
    ----------
    log : EventLog
        A log with times, unless `clock` is 0.
    clock : int
        Milliseconds since midnight in the log's zone.

    Returns
    -------
    EventLog
        Events from `clock` of a day on until `clock` of the next belong to that day, so that `day < d` holds for the
        events strictly before day d at `clock`, and for no others. An event without a time keeps its day. `clock` 0
        returns the log itself.
    """
    if clock == 0:
        return log
    moved = _moved(log, clock)
    engagement = None if log.engagement is None else _moved(log.engagement, clock)
    known = np.array(log.item_known)
    for part in (moved, *([] if engagement is None else [engagement])):
        own = part.item >= 0
        np.minimum.at(known, part.item[own], part.day[own])
    sold = moved.day[moved.kind == PURCHASE]
    meta = log.meta | ({"first_day": int(sold.min()), "last_day": int(sold.max())} if sold.size else {})
    return replace(moved, item_known=known, meta=meta, engagement=engagement)


def _moved(log: EventLog, clock: int) -> EventLog:
    """The events with their days ending at `clock`, ascending in customer and day."""
    if log.time is None or not log.time.size:
        return log
    timed = log.time != NO_TIME
    day = np.array(log.day, np.int32)
    if timed.any():
        first = int(day.min()) - 1
        ends = moments(np.arange(first, int(day.max()) + 2), clock, log.timezone)
        day[timed] = first - 1 + np.searchsorted(ends, log.time[timed], side="right")
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    order = np.lexsort((day, owner))
    columns: dict[str, Any] = {name: np.asarray(getattr(log, name))[order] for name in log.column_types}
    return replace(log, **(columns | {"day": day[order]}))
