"""One nightly run of a state folder at a time; the lock ends with its process, also one that was killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from propensity.disk import make_folder, storage_message
from propensity.errors import ConfigurationError

FILE = ".nightly.lock"


@contextmanager
def only_night(state: Path) -> Iterator[None]:
    """Hold the lock of a state folder.

    Parameters
    ----------
    state : Path
        Folder of the nightly run; it is made if it is missing.

    Raises
    ------
    ConfigurationError
        If another process holds the lock.

    Notes
    -----
    The lock is `flock` on an open file, which the system releases when the process ends, however it ends. The file
    stays: if it were removed, a process that waits and one that starts could each lock a file of its own.
    """
    make_folder(state)
    with storage_message(state):
        lock = os.open(state / FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            process = os.pread(lock, 32, 0).decode(errors="replace").strip()
            holder = f" (process {process})" if process.isdigit() else ""
            raise ConfigurationError(
                f"another nightly run or registry command works on {state}{holder}; wait until it has ended"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(lock, 0)
    finally:
        os.close(lock)
