"""Compaction: a log with segments is written whole, equal byte for byte to the log of all deliveries built at once."""

from __future__ import annotations

import shutil
from pathlib import Path

from propensity.atomic import replacement, write_lock
from propensity.data.event_log import EventLog
from propensity.data.log_folder import FINGERPRINTS, META, SEGMENT_LIST, read_meta
from propensity.data.log_head import LogHead
from propensity.data.log_writer import written
from propensity.data.segment import list_segments, quarantine_files

MAX_SEGMENTS = 32  # by default a log with more is compacted


def open_whole(folder: str | Path) -> EventLog:
    """Open a log that is about to be written whole: compared with its checksums, and compacted if it has segments.

    Parameters
    ----------
    folder : str or Path
        Folder of the log.

    Returns
    -------
    EventLog
        The log without segments, memory-mapped.

    Raises
    ------
    ConfigurationError
        If there is no log, or it has segments and another process writes to it.
    DamageError
        If the log is damaged.
    """
    log = EventLog.open(folder, verify=True)  # what is copied gets new checksums
    return log if log.gathered is None else compact(folder)


def compact(folder: str | Path) -> EventLog:
    """Write a log with segments whole, in one step.

    Parameters
    ----------
    folder : str or Path
        Folder of the log. All files are compared with their checksums first.

    Returns
    -------
    EventLog
        The log without segments, memory-mapped; the same events, customers, items and fingerprint.

    Raises
    ------
    ConfigurationError
        If there is no log, or another process writes to it.
    DamageError
        If the log is damaged; it is not changed.
    """
    folder = Path(folder)
    LogHead(folder)  # before anything is written
    with write_lock(folder):
        log = EventLog.open(folder, verify=True)
        if log.gathered is None:
            return log
        with replacement(folder) as draft:
            copy_other_files(folder, None, draft)
            written(log, draft).seal(draft)
    return EventLog.open(folder)


def copy_other_files(out: Path, place: Path | None, draft: Path) -> None:
    """Copy the notes of a log, and its quarantined rows with those of a delivery.

    Parameters
    ----------
    out : Path
        Folder of the log.
    place : Path, optional
        Folder with the quarantine of the delivery.
    draft : Path
        Folder of the new log.
    """
    segments = list_segments(out, read_meta(out))
    for note in (*out.glob("*.json"), *out.glob("*.txt")):
        if note.name not in (META, SEGMENT_LIST, FINGERPRINTS):
            shutil.copy(note, draft / note.name)
    delivered = [] if place is None else quarantine_files(place)
    for k, file in enumerate([*quarantine_files(out, segments), *delivered]):
        (draft / "quarantine").mkdir(exist_ok=True)
        shutil.copy(file, draft / "quarantine" / f"rows-{k:05d}.parquet")
