"""Marks of files and folders: they differ after a file was replaced or written to."""

from __future__ import annotations

import os
from pathlib import Path

Mark = tuple[object, ...]


def file_mark(path: Path | None) -> Mark:
    """Inode, time of change and size of a file; empty if it is missing.

    Parameters
    ----------
    path : Path or None
        A file, or a link to one.

    Returns
    -------
    tuple
        Another one after the file was replaced or written to.
    """
    try:
        state = os.stat(path) if path is not None else None
    except OSError:
        return ()
    return () if state is None else (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)


def folder_mark(folder: Path) -> Mark:
    """Marks of all files below a folder.

    Parameters
    ----------
    folder : Path
        A folder, or a link to one.

    Returns
    -------
    tuple
        Another one after any file was replaced or written to.
    """
    place = os.path.realpath(folder)
    files = sorted(Path(place).rglob("*"))
    return (place, *((str(each), *file_mark(each)) for each in files if each.is_file()))
