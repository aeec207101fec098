"""Temporary folders of the system that do not outlive their process for long."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRATCH = "propensity-scratch."  # prefix of the folders, before the number of the process


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder of the system that is removed at the end, or by the next call if this process is killed.

    Yields
    ------
    Path
        Empty folder, which only this user can read.
    """
    remove_scratch()
    folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}."))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_scratch() -> None:
    """Remove the folders of `scratch_folder` whose processes were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        number = folder.name.split(".")[1]
        if number.isdigit() and is_alive(int(number)):
            continue
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError:
            continue  # of another user, or removed meanwhile
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass  # another process works in it
        finally:
            os.close(descriptor)


def is_alive(process: int) -> bool:
    """Whether a process of this number runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
