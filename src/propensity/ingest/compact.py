"""Compaction: a log with segments is written whole, equal byte for byte to the log of all deliveries built at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from propensity.atomic import linked, replacement, write_lock
from propensity.data.event_log import EventLog
from propensity.data.log_folder import FINGERPRINTS, META, SEGMENT_LIST, read_meta
from propensity.data.log_head import LogHead
from propensity.data.log_writer import written
from propensity.data.segment import list_segments, quarantine_files
from propensity.errors import ConfigurationError
from propensity.ingest.divide import number_of_shards, replaced_log

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
        The log without segments, memory-mapped; one with shards keeps them.

    Raises
    ------
    ConfigurationError
        If there is no log, or it has segments and another process writes to it.
    DamageError
        If the log is damaged.
    """
    log = EventLog.open(folder, verify=True)  # what is copied gets new checksums
    return log if log.gathered is None or number_of_shards(folder) else compact(folder)


@contextmanager
def rewriting(folder: str | Path, log: EventLog) -> Iterator[Path]:
    """Replace a log by another that was made from it.

    Parameters
    ----------
    folder : str or Path
        Folder of the log.
    log : EventLog
        The log as `open_whole` opened it.

    Yields
    ------
    Path
        Folder for the new log, see `propensity.atomic.whole_folder`; it gets as many shards as the log has.

    Raises
    ------
    ConfigurationError
        If another process writes to the log, or has changed it since it was opened, so that its change would be lost.
    """
    with write_lock(folder):
        meta = read_meta(linked(Path(folder)))
        same = all(meta.get(name) == log.meta.get(name) for name in ("checksum", "fingerprint"))
        if not same or list_segments(Path(folder), meta).names:
            raise ConfigurationError(
                f"another process has changed the event log at {folder} meanwhile, such as by an append; "
                "give the command again"
            )
        with replaced_log(folder) as draft:
            yield draft


def compact(folder: str | Path) -> EventLog:
    """Write a log with segments or shards whole, in one step.

    Parameters
    ----------
    folder : str or Path
        Folder of the log. All files are compared with their checksums first.

    Returns
    -------
    EventLog
        The log without segments and shards, memory-mapped; the same events, customers, items and fingerprint.

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
