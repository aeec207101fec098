"""Errors of the disk as one sentence: full, read-only, or not permitted."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from propensity.errors import ConfigurationError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_FULL_MESSAGES = tuple(os.strerror(code) for code in DISK_FULL)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
REFUSED_MESSAGES = tuple(os.strerror(code) for code in REFUSED[:2])
BROKEN = (errno.EIO, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE, errno.ESTALE)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Parameters
    ----------
    folder : Path
        The folder; it may exist.

    Raises
    ------
    ConfigurationError
        If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be made ({reason_of(error)}); give another path as out") from None


def check_writable(out: str) -> None:
    """Check that a result can be written, before anything is read.

    Parameters
    ----------
    out : str
        File or folder of the result, which need not exist.

    Raises
    ------
    ConfigurationError
        If its folder cannot be written to.
    """
    place = Path(out).expanduser()
    try:
        folder = next(each for each in (place, *place.absolute().parents) if each.exists())
        folder = folder if folder.is_dir() or folder != place else folder.parent
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".propensity-"):
            pass
    except OSError as error:
        reason = reason_of(error).lower()
        raise ConfigurationError(f"out={out} cannot be written ({reason}); give another path") from None


@contextmanager
def storage_message(path: Path) -> Iterator[None]:
    """Turn an error of the disk during a write to `path` into a ConfigurationError.

    Parameters
    ----------
    path : Path
        File or folder that is being written.

    Raises
    ------
    ConfigurationError
        If the disk is full, read-only or does not permit the write. Other errors pass unchanged.
    """
    try:
        yield
    except Exception as error:
        if (message := storage_problem(error, path)) is None:
            raise
        raise ConfigurationError(message) from None


def storage_problem(error: BaseException, path: str | Path | None = None) -> str | None:
    """One sentence for an error of the disk.

    Parameters
    ----------
    error : BaseException
        Any error.
    path : str or Path, optional
        What was being written; else the error's own file is named.

    Returns
    -------
    str or None
        None for an error that is not one of the disk.

    Examples
    --------
    >>> storage_problem(OSError(errno.EROFS, "Read-only file system", "/mnt/a"))
    '/mnt/a cannot be written or read (Read-only file system); give another path, or change its permissions'
    """
    name = path or getattr(error, "filename", None) or "a file of this command"
    if is_disk_full(error):
        return f"no space left to write {name}; free some, or give another path as out"
    if isinstance(error, OSError) and error.errno in (*REFUSED, *BROKEN):
        place, reason = error.filename or name, os.strerror(error.errno)
        return f"{place} cannot be written or read ({reason}); give another path, or change its permissions"
    if reason := next((each for each in REFUSED_MESSAGES if f"{each} (os error" in str(error)), ""):
        return f"{name} cannot be written or read ({reason}); give another path, or change its permissions"
    return None


def reason_of(error: OSError) -> str:
    """The system's words for an error, without the path."""
    return os.strerror(error.errno) if error.errno else str(error)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that a disk, a quota or a size limit is exhausted.

    Parameters
    ----------
    error : BaseException
        Any error. Some libraries drop the error number, so the system's message is searched for as well.

    Returns
    -------
    bool
        True for ENOSPC, EDQUOT and EFBIG.

    Examples
    --------
    >>> is_disk_full(OSError(errno.ENOSPC, "write failed"))
    True
    >>> is_disk_full(ValueError("bad row"))
    False
    """
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return True
    return any(message.lower() in str(error).lower() for message in DISK_FULL_MESSAGES)
