"""Whether a log is the one that a bundle was trained on, or values were computed from, or a continuation of it.

A continued log has another fingerprint. What stays is the past: the number of events before the end of training in
each group of customers. Some groups may change, because customers were erased or events corrected.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError

GROUPS = 256  # of customers, at most
CUSTOMERS = 8  # in a group, at least on average: the bundle tells nothing of a single one
NEAR = 0.005  # relative difference of a group's number of events
SHARE = 0.5  # of the groups that must be near
BLOCK = 65_536  # customers whose events are counted at a time


def log_record(log: EventLog, end: str) -> dict[str, Any]:
    """What a bundle or a folder of values keeps of its log.

    Parameters
    ----------
    log : EventLog
        The log.
    end : str
        End of training, or cutoff of the values, YYYY-MM-DD.

    Returns
    -------
    dict
        `before` is `end`; `events` holds the number of earlier events by group of customers.
    """
    groups = max(min(GROUPS, len(log) // CUSTOMERS), 1)
    return {"before": end, "events": events_by_group(log, to_day(end), groups).tolist()}


def events_by_group(log: EventLog, day: int, groups: int) -> np.ndarray:
    """Count events before a day by group of customers.

    Parameters
    ----------
    log : EventLog
        The log.
    day : int
        Days since 1970-01-01, exclusive.
    groups : int
        Number of groups; a customer's is a hash of the id as text.

    Returns
    -------
    numpy.ndarray of shape (groups,), int64
        Counts.
    """
    ids = log.customers["customer"].cast(pl.String).to_list()
    group = np.array([zlib.crc32(str(each).encode()) % groups for each in ids], np.int64)
    total = np.zeros(groups, np.int64)
    for start in range(0, len(log), BLOCK):
        offsets = log.offsets[start : start + BLOCK + 1]
        earlier = np.concatenate([[0], np.cumsum(log.day[offsets[0] : offsets[-1]] < day)])
        np.add.at(total, group[start : start + BLOCK], np.diff(earlier[offsets - offsets[0]]))
    return total


def require_own_log(
    manifest: Mapping[str, Any],
    log: EventLog,
    name: str | Path,
    what: str = "the bundle was trained on",
    otherwise: str = "export a run that was trained on this one",
) -> None:
    """Refuse a log of another market.

    Parameters
    ----------
    manifest : mapping
        Manifest of a bundle or summary of values; an older one has no record of its log, and every log passes.
    log : EventLog
        The log.
    name : str or Path
        Its folder, for the message.
    what, otherwise : str
        What the log was used for, and what to do with another log, for the message.

    Raises
    ------
    ConfigurationError
        If most groups of customers have another number of events before the end of training.
    """
    record = manifest.get("own_log")
    if record is None or log.fingerprint == manifest["data"]:
        return
    expected = np.array(record["events"], np.int64)
    actual = events_by_group(log, to_day(record["before"]), expected.size)
    near = np.abs(actual - expected) <= NEAR * expected
    if near.mean() < SHARE or not actual.any():
        raise ConfigurationError(
            f"{name} is not the event log that {what}: {(~near).sum()} of {near.size} groups of "
            f"customers have other events before {record['before']} (its own end on {to_date(log.last_day)}); give the "
            f"log of that market, or {otherwise}"
        )
