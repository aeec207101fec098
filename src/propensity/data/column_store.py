"""Columns of a log that are written to disk piece by piece."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from propensity.kernel.ragged import offsets_of

CHUNK = 1 << 22  # values read or rewritten at a time


class ColumnFiles:
    """Writer of one one-dimensional `.npy` file per column; the length need not be known in advance.

    Parameters
    ----------
    folder : Path
        Folder of the files.
    dtypes : mapping of str to type
        NumPy type of each column.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with ColumnFiles(folder, {"day": np.int32}) as files:
    ...     for start in (0, 3):
    ...         files.append({"day": np.arange(start, start + 3)})
    >>> np.load(folder / "day.npy")
    array([0, 1, 2, 3, 4, 5], dtype=int32)
    """

    def __init__(self, folder: Path, dtypes: Mapping[str, type]) -> None:
        self.folder, self.dtypes = folder, {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        self.files: dict[str, BinaryIO] = {}
        self.rows = 0

    def __enter__(self) -> ColumnFiles:
        for name, dtype in self.dtypes.items():
            self.files[name] = (self.folder / f"{name}.npy").open("wb")
            write_header(self.files[name], dtype, 0)
        return self

    def append(self, columns: Mapping[str, np.ndarray]) -> None:
        """Append rows to every column.

        Parameters
        ----------
        columns : mapping of str to numpy.ndarray
            Values of each column, all of one length; cast to the column's type.
        """
        for name, file in self.files.items():
            file.write(np.ascontiguousarray(columns[name], self.dtypes[name]).data)
        self.rows += columns[next(iter(self.files))].size

    def __exit__(self, *_: object) -> None:
        for name, file in self.files.items():
            file.seek(0)
            write_header(file, self.dtypes[name], self.rows)
            file.close()


def write_header(file: BinaryIO, dtype: np.dtype, rows: int) -> None:
    """Write a `.npy` header whose size does not depend on the length, so that it can be overwritten at the end.

    Parameters
    ----------
    file : binary file
        Positioned at its start.
    dtype : numpy.dtype
        Type of the column.
    rows : int
        Length of the column.
    """
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows,)}
    np.lib.format.write_array_header_1_0(file, header)


def replace_codes(file: Path, code: np.ndarray) -> None:
    """Rewrite a column of codes in place.

    Parameters
    ----------
    file : Path
        `.npy` file of integer codes.
    code : numpy.ndarray of int
        New code of each old code; -1 is kept.
    """
    column = np.load(file, mmap_mode="r+")
    code = np.append(code, -1).astype(column.dtype)
    for start in range(0, column.size, CHUNK):
        part = column[start : start + CHUNK]
        part[:] = code[part]
        release_pages(column)
    if column.size:
        column.flush()


def mapped_columns(folder: Path, count: np.ndarray, names: Iterable[str]) -> dict[str, Any]:
    """Open the columns of a folder, with the offsets of the customers.

    Parameters
    ----------
    folder : Path
        Folder of `<name>.npy`.
    count : numpy.ndarray of shape (N,)
        Number of events of each customer.
    names : iterable of str
        Names of the columns.

    Returns
    -------
    dict of str to numpy.ndarray
        `offsets` (N + 1,) int64, and each column (E,), memory-mapped.
    """
    return {"offsets": offsets_of(count)} | {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}


def release_pages(column: np.ndarray) -> None:
    """Release the memory pages of a memory-mapped column; pages that were read count as memory of the process.

    Parameters
    ----------
    column : numpy.ndarray
        Memory-mapped column; other arrays are left as they are.
    """
    if isinstance(column.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        column.base.madvise(mmap.MADV_DONTNEED)
