"""Columns of events that are stored in parts and gathered when they are read.

E events of N customers.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from propensity.data.column_store import CHUNK

IN_MEMORY = CHUNK  # values of a gathered column that stay in memory; more go to a file without a name


class GatheredColumns(ABC):
    """Columns that are gathered when they are read.

    Attributes
    ----------
    offsets : numpy.ndarray of shape (N + 1,), int64
        Offsets of the customers.
    types : dict of str to type
        NumPy types of the columns.
    """

    offsets: np.ndarray
    types: dict[str, Any]

    @property
    @abstractmethod
    def folder(self) -> Path | None:
        """Folder of the log."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """The fingerprint of the log of these columns."""

    @abstractmethod
    def blocks(self, name: str, out: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Gather a column some customers at a time.

        Parameters
        ----------
        name : str
            One of `types`.
        out : numpy.ndarray of shape (E,), optional
            Memory to write the column to.

        Yields
        ------
        numpy.ndarray
            The next values.
        """

    def column(self, name: str) -> np.ndarray:
        """Gather a whole column.

        Parameters
        ----------
        name : str
            One of `types`.

        Returns
        -------
        numpy.ndarray of shape (E,)
            In memory, or memory-mapped from a file that ends with the process where the column is long.
        """
        size, dtype = int(self.offsets[-1]), np.dtype(self.types[name])
        if size <= IN_MEMORY:
            return self._in_memory(name)
        with tempfile.TemporaryFile() as file:
            for block in self.blocks(name):
                file.write(block.data)
            file.flush()
            return np.memmap(file, dtype, mode="r", shape=(size,))

    def where(self, name: str, visible: np.ndarray) -> np.ndarray:
        """Gather some values of a column.

        Parameters
        ----------
        name : str
            One of `types`.
        visible : numpy.ndarray of shape (E,), bool
            Values to gather.

        Returns
        -------
        numpy.ndarray
            In memory.
        """
        if visible.all():
            return self._in_memory(name)
        out, place, start = np.empty(int(visible.sum()), self.types[name]), 0, 0
        for block in self.blocks(name):
            part = block[visible[start : start + block.size]]
            out[place : place + part.size] = part
            place, start = place + part.size, start + block.size
        return out

    def _in_memory(self, name: str) -> np.ndarray:
        """A whole column in memory."""
        out = np.empty(int(self.offsets[-1]), self.types[name])
        for _ in self.blocks(name, out):
            pass
        return out
