"""The folder of an event log: its `meta.json`, whether it may be replaced, and errors that name what is damaged."""

from __future__ import annotations

import json
import struct
import sys
import tokenize
from pathlib import Path
from typing import Any

import polars as pl

from propensity.checksum import Damage, is_signed
from propensity.errors import ConfigurationError, DamageError, DataError

FORMAT = 3
META = "meta.json"
SEGMENT_LIST = "segments.json"  # the segments after the base, see `propensity.data.segment`
FINGERPRINTS = "segment_fingerprints.json"  # those that were computed of the log with its segments
TOMBSTONES = "tombstones.json"  # changes without the log, and holds a checksum of its own
WITHOUT_CHECKSUMS = 2  # the format before, which is still read
SHARDED = 4  # the format of the manifest of a log in shards, see `propensity.data.shard`
UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, SyntaxError, ArithmeticError),
    *(MemoryError, RecursionError, struct.error, tokenize.TokenError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)

_told: set[str] = set()  # logs without checksums of which the user knows


def read_meta(folder: Path) -> dict[str, Any]:
    """Read `meta.json` of a log.

    Parameters
    ----------
    folder : Path
        Folder of the log.

    Returns
    -------
    dict
        Its content. A log of the format before has no `files` with checksums; that is printed to stderr once.

    Raises
    ------
    DataError
        If the log has another format.
    DamageError
        If the file is damaged.
    """
    path = folder / META
    try:
        meta: dict[str, Any] = json.loads(path.read_text())
        known, sealed = meta["format"], "checksum" in meta or "files" in meta
    except UNREADABLE as error:
        raise log_damage(folder)(META, first_line(error)) from None
    if (sealed or known in (FORMAT, SHARDED)) and not is_signed(meta):
        raise log_damage(folder)(META, "its content has another checksum")
    if known not in (FORMAT, WITHOUT_CHECKSUMS, SHARDED):
        raise DataError(f"the event log at {folder} has format {known}, not {FORMAT}; prepare it again")
    if not sealed and str(folder.resolve()) not in _told:
        _told.add(str(folder.resolve()))
        print(
            f"propensity: the event log at {folder} was written without checksums, so that damage may not be found; "
            "prepare it again to add them",
            file=sys.stderr,
        )
    return meta


def log_mark(folder: Path) -> tuple[object, ...]:
    """Inode, time of change and size of the files that are replaced when a log changes.

    Parameters
    ----------
    folder : Path
        Folder of the log.

    Returns
    -------
    tuple
        Another one after an append, a compaction or another write.
    """
    marks: list[object] = []
    for name in (META, SEGMENT_LIST):
        try:
            state = (folder / name).stat()
            marks.append((state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size))
        except OSError:
            marks.append(())
    return tuple(marks)


def first_line(error: BaseException) -> str:
    """First line of an error's message, or its class."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def log_damage(folder: Path) -> Damage:
    """Errors that name a damaged file of a log.

    Parameters
    ----------
    folder : Path
        Folder of the log.

    Returns
    -------
    callable
        From the name of a file, which may be empty, and a reason to the error.
    """

    def damage(name: str, reason: str) -> DamageError:
        place = f"{name}: {reason}" if name else reason
        return DamageError(f"the event log at {folder} is damaged ({place}); prepare it again")

    return damage


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
    return "holds something other than an event log" if names and not names & {META, "offsets.npy"} else None
