"""Atomic writes: a file or folder is written to a temporary path, then renamed; one process writes at a time."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from propensity.errors import ConfigurationError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_FULL_MESSAGES = tuple(os.strerror(code) for code in DISK_FULL)
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # constants of Linux's renameat2


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Write a file atomically.

    Parameters
    ----------
    path : str or Path
        Final path. Its parent folder is created.

    Yields
    ------
    Path
        Temporary path in the same folder. It replaces `path` on success and is removed on failure.

    Raises
    ------
    ConfigurationError
        If no space is left on the device.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with disk_full_message(path):
            yield draft
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """Write a folder atomically.

    Parameters
    ----------
    folder : str or Path
        Final path. Its parent folder is created.

    Yields
    ------
    Path
        Temporary folder beside `folder`. It replaces `folder` on success and is removed on failure.

    Raises
    ------
    ConfigurationError
        If another process writes to `folder`, or no space is left on the device.

    Notes
    -----
    A process that was killed leaves its temporary folder. The next call removes it and prints a line to stderr.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with only_writer(folder), disk_full_message(folder):
        for message in remove_drafts(folder):
            print(f"propensity: {message}", file=sys.stderr)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.draft.", dir=folder.parent))
        os.chmod(draft, 0o755)
        try:
            yield draft
            replace_folder(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def replace_folder(draft: Path, folder: Path) -> None:
    """Move `draft` to `folder`; atomic where the system supports an exchange of folders.

    Parameters
    ----------
    draft : Path
        Folder with the new content.
    folder : Path
        Destination. An existing folder is replaced; it is restored if the move fails.
    """
    if not folder.exists():
        os.rename(draft, folder)
    elif not exchange_folders(draft, folder):
        backup = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        os.rename(folder, backup / "former")
        try:
            os.rename(draft, folder)
        except BaseException:
            os.rename(backup / "former", folder)
            raise
        finally:
            shutil.rmtree(backup, ignore_errors=True)


def exchange_folders(a: Path, b: Path) -> bool:
    """Exchange two folders in one system call.

    Parameters
    ----------
    a, b : Path
        Existing folders on one file system.

    Returns
    -------
    bool
        False where the system cannot exchange folders; nothing has changed then.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE) == 0)


def remove_drafts(folder: Path) -> list[str]:
    """Remove what interrupted writes left beside `folder`, and restore a result that they had moved aside.

    Parameters
    ----------
    folder : Path
        Final path of the interrupted writes.

    Returns
    -------
    list of str
        One message for each draft or backup.
    """
    messages = []
    for backup in sorted(folder.parent.glob(f".{folder.name}.old.*")):
        if not folder.exists() and (backup / "former").is_dir():
            os.rename(backup / "former", folder)
            messages.append(f"an interrupted run had moved {folder} aside; it is restored")
        shutil.rmtree(backup, ignore_errors=True)
    for draft in sorted(folder.parent.glob(f".{folder.name}.draft.*")):
        shutil.rmtree(draft, ignore_errors=True)
        messages.append(f"an interrupted run left an incomplete draft of {folder}; it is removed")
    return messages


@contextmanager
def only_writer(folder: str | Path) -> Iterator[None]:
    """Hold an exclusive lock on `folder` for this process; the lock ends with the process.

    Parameters
    ----------
    folder : str or Path
        Folder that will be written. The lock file is `.<name>.lock` beside it.

    Raises
    ------
    ConfigurationError
        If another process holds the lock.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _acquire(lock, path):
            raise ConfigurationError(f"another run is writing to {folder}; wait for it, or give another folder as out")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _acquire(lock: int, path: Path) -> bool:
    """Lock the file without waiting; False if another process holds it or has replaced the file."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(lock).st_ino == path.stat().st_ino
    except OSError:
        return False


@contextmanager
def disk_full_message(path: Path) -> Iterator[None]:
    """Turn a disk-full error during a write to `path` into a ConfigurationError.

    Parameters
    ----------
    path : Path
        File or folder that is being written.

    Raises
    ------
    ConfigurationError
        If a disk, a quota or a size limit is exhausted. Other errors pass unchanged.
    """
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise ConfigurationError(f"no space left to write {path}; free some, or give another path as out") from None


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
