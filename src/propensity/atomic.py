"""Atomic writes: a file or folder is written to a temporary path, then renamed; one process writes at a time."""

from __future__ import annotations

import ctypes
import fcntl
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from propensity.checksum import note_written
from propensity.disk import make_folder, reason_of, storage_message
from propensity.errors import ConfigurationError
from propensity.scratch import is_alive, remove_scratch

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
        Temporary path in the same folder. It is written to the disk and replaces `path` on success, and is removed on
        failure. A link stays a link: the file that it leads to is replaced.

    Raises
    ------
    ConfigurationError
        If no space is left on the device, or it cannot be written to.
    """
    named = Path(path)
    path = linked(named)
    make_folder(path.parent)
    with storage_message(named):
        _remove_left_drafts(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with storage_message(named):
            yield draft
            sync(draft)
            os.replace(draft, path)
            note_written(named)
    finally:
        draft.unlink(missing_ok=True)


def linked(path: Path) -> Path:
    """Where a path leads to.

    Parameters
    ----------
    path : Path
        Any path.

    Returns
    -------
    Path
        The target of a symbolic link, also one that does not exist yet; any other path as it is.
    """
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def sync(path: Path) -> None:
    """Wait until a file is on the disk, so that a renamed file is whole after a power failure.

    Parameters
    ----------
    path : Path
        A file; nothing is done without one.
    """
    if path.is_file():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_left_drafts(path: Path) -> None:
    """Remove the temporary files that killed processes left of a file."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*"):
        _remove_if_left(draft)


def _remove_if_left(draft: Path) -> None:
    """Remove a temporary file of a process that has ended; its number is the suffix."""
    number = draft.suffix[1:]
    if number.isdigit() and draft.is_file() and not is_alive(int(number)):
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
        Temporary folder beside `folder`. It replaces `folder` on success and is removed on failure. A link stays a
        link: the folder that it leads to is replaced.

    Raises
    ------
    ConfigurationError
        If another process writes to `folder`, or no space is left on the device.

    Notes
    -----
    A process that was killed leaves its temporary folder. The next call removes it and prints a line to stderr.
    """
    with write_lock(folder), replacement(folder) as draft:
        yield draft


@contextmanager
def write_lock(folder: str | Path) -> Iterator[None]:
    """Hold the lock on a folder, and remove what killed writes left beside it.

    Parameters
    ----------
    folder : str or Path
        Folder to write or to change. Its parent folder is created.

    Raises
    ------
    ConfigurationError
        If another process writes to `folder`, or no space is left on the device.
    """
    named = Path(folder)
    folder = linked(named)
    make_folder(folder.parent)
    with storage_message(named), only_writer(folder):
        for message in remove_drafts(folder):
            print(f"propensity: {message}", file=sys.stderr)
        yield


@contextmanager
def replacement(folder: str | Path) -> Iterator[Path]:
    """Write a folder that replaces another one; the caller holds `write_lock`.

    Parameters
    ----------
    folder : str or Path
        Final path.

    Yields
    ------
    Path
        Temporary folder beside `folder`. It replaces `folder` on success and is removed on failure.
    """
    named = Path(folder)
    folder = linked(named)
    draft = draft_folder(folder)
    try:
        yield draft
        for path in draft.rglob("*"):
            sync(path)
        replace_folder(draft, folder)
        note_written(named)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def holds_other(folder: Path, marker: str) -> bool:
    """Whether a path has something that a result must not replace.

    Parameters
    ----------
    folder : Path
        Where a result is to be written.
    marker : str
        Name of the file by which an earlier result is recognised.

    Returns
    -------
    bool
        True for a file, and for a folder with content but without the marker.
    """
    return folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / marker).is_file())


def draft_folder(folder: Path) -> Path:
    """Make a temporary folder that `remove_drafts` removes if this process is killed.

    Parameters
    ----------
    folder : Path
        Final path, which `only_writer` has locked.

    Returns
    -------
    Path
        New folder beside it.
    """
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.draft.", dir=folder.parent))
    os.chmod(draft, 0o755)
    return draft


def remove_interrupted(folder: str | Path) -> None:
    """Remove what killed writes left beside a folder, unless another process is writing to it.

    Parameters
    ----------
    folder : str or Path
        Final path of the writes.
    """
    folder = linked(Path(folder))
    pattern = f".{glob.escape(folder.name)}"
    lock = folder.with_name(f".{folder.name}.lock")
    if not lock.exists() and not any(any(folder.parent.glob(f"{pattern}.{kind}.*")) for kind in ("draft", "old")):
        return
    try:
        with only_writer(folder):
            for message in remove_drafts(folder):
                print(f"propensity: {message}", file=sys.stderr)
    except (ConfigurationError, OSError):
        return  # another process is writing, or the disk is read-only


def remove_left_overs(folder: str | Path) -> None:
    """Remove the temporary files and folders of killed processes anywhere below a folder, and in the system's own.

    Parameters
    ----------
    folder : str or Path
        Folder to search; it may be absent.
    """
    remove_scratch()
    for path in sorted(Path(folder).rglob(".*")) if Path(folder).is_dir() else []:
        name, _, kind = path.name[1:].rpartition(".")
        if path.is_dir() and (kind := Path(name).suffix[1:]) in ("draft", "old"):
            remove_interrupted(path.with_name(Path(name).stem))
        elif kind.isdigit():
            _remove_if_left(path)


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
    name = glob.escape(folder.name)
    for backup in sorted(folder.parent.glob(f".{name}.old.*")):
        if not folder.exists() and (backup / "former").is_dir():
            os.rename(backup / "former", folder)
            messages.append(f"an interrupted run had moved {folder} aside; it is restored")
        shutil.rmtree(backup, ignore_errors=True)
    for draft in sorted(folder.parent.glob(f".{name}.draft.*")):
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
    folder = linked(Path(folder))
    path = folder.with_name(f".{folder.name}.lock")
    make_folder(folder.parent)
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written ({reason_of(error)}); give another path as out") from None
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
