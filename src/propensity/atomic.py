"""Files and folders that appear whole or not at all: written aside, then renamed, by one writer at a time."""

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

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_WORDS = tuple(os.strerror(code) for code in FULL)
AT_FDCWD, EXCHANGE = -100, 2  # of Linux


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A draft beside `path` that takes its place on success, and leaves nothing behind on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with room(path):
            yield draft
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """A draft folder beside `folder` that takes its place on success, and leaves nothing behind on failure.

    A run that was killed leaves its draft; the next one says so on stderr and clears it away. Raises:
    ConfigurationError while another run writes to `folder`, or where no space is left.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with only_writer(folder), room(folder):
        for line in clear_away(folder):
            print(f"propensity: {line}", file=sys.stderr)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.draft.", dir=folder.parent))
        os.chmod(draft, 0o755)
        try:
            yield draft
            take_place(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def take_place(draft: Path, folder: Path) -> None:
    """Puts `draft` where `folder` is, in one step where the system has one."""
    if not folder.exists():
        os.rename(draft, folder)
    elif not exchanged(draft, folder):
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        os.rename(folder, old / "former")
        try:
            os.rename(draft, folder)
        except BaseException:
            os.rename(old / "former", folder)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def exchanged(a: Path, b: Path) -> bool:
    """Swaps two folders at once; False where the system cannot."""
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(swap(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), EXCHANGE) == 0)


def clear_away(folder: Path) -> list[str]:
    """What runs that were killed left beside `folder`: a former result goes back to its place, drafts go. In words."""
    said = []
    for old in sorted(folder.parent.glob(f".{folder.name}.old.*")):
        if not folder.exists() and (old / "former").is_dir():
            os.rename(old / "former", folder)
            said.append(f"found {folder} moved aside by a run that was cut off; it is back")
        shutil.rmtree(old, ignore_errors=True)
    for draft in sorted(folder.parent.glob(f".{folder.name}.draft.*")):
        shutil.rmtree(draft, ignore_errors=True)
        said.append(f"found the draft of a run to {folder} that was cut off; it is cleared away")
    return said


@contextmanager
def only_writer(folder: str | Path) -> Iterator[None]:
    """Holds `folder` for this process, by a lock that ends with it; ConfigurationError if another process does."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _held(lock, path):
            raise ConfigurationError(f"another run is writing to {folder}; wait for it, or give another folder as out")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _held(lock: int, path: Path) -> bool:
    """Whether the lock is ours, and its file still the one that others find."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(lock).st_ino == path.stat().st_ino
    except OSError:
        return False


@contextmanager
def room(path: Path) -> Iterator[None]:
    """Says in words that a disk is full while `path` is written."""
    try:
        yield
    except Exception as error:
        if not full(error):
            raise
        raise ConfigurationError(f"no space left to write {path}; free some, or give another place as out") from None


def full(error: BaseException) -> bool:
    """Whether an error means that a disk, a quota or a size limit is reached; libraries pass on its words only."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return any(words.lower() in str(error).lower() for words in FULL_WORDS)
