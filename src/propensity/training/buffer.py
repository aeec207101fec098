"""Reused memory for the arrays of batches: new memory costs a page fault for every 4 KB, on one lock of the process."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

SMALLEST = 65_536  # bytes of an array that is kept in a buffer; smaller ones come from the allocator


class Block:
    """Memory of a size, and the copy to a GPU that may still read it."""

    def __init__(self, size: int, pinned: bool) -> None:
        self.memory = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
        self.copied: torch.cuda.Event | None = None

    def wait(self) -> None:
        """Waits until copies to a GPU that were started before the block was given back have ended."""
        if self.copied is not None:
            self.copied.synchronize()
            self.copied = None


class Loan:
    """A block while an array, a view of it or a tensor over it exists; these hold the loan as their base."""

    def __init__(self, buffers: Buffers, block: Block, shape: Sequence[int], dtype: np.dtype) -> None:
        self.buffers, self.block = buffers, block
        self.__array_interface__ = {
            "shape": tuple(shape),
            "typestr": dtype.str,
            "data": (block.memory.data_ptr(), False),
            "version": 3,
        }

    def __del__(self) -> None:
        self.buffers.take_back(self.block)


class Buffers:
    """Memory for arrays that is used again once nothing reads it any more.

    Parameters
    ----------
    pinned : bool
        Whether the memory is page-locked, so that copies to a GPU need not wait; needs a GPU.

    Notes
    -----
    An array goes back when the last view of it, or tensor over it, is gone. So no batch is overwritten, however long it
    is kept, and memory grows with the number of batches that exist at once. Threads may share the buffers.

    Examples
    --------
    >>> buffers = Buffers()
    >>> rows = buffers.empty((256, 256), np.float32)[:10]
    >>> buffers.free, buffers.size
    (0, 262144)
    >>> del rows
    >>> buffers.free == buffers.size
    True
    """

    def __init__(self, pinned: bool = False) -> None:
        self.pinned = pinned
        self.blocks: defaultdict[int, list[Block]] = defaultdict(list)  # free ones by their size
        self.size = 0  # bytes of all blocks

    @property
    def free(self) -> int:
        """Bytes of the blocks that no array uses."""
        return sum(size * len(blocks) for size, blocks in self.blocks.items())

    def empty(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """An array with any values, as `np.empty`."""
        kind = np.dtype(dtype)
        count = math.prod(shape) * kind.itemsize
        if count < SMALLEST:
            return np.empty(shape, kind)
        return np.asarray(Loan(self, self._block(rounded(count)), shape, kind))

    def _block(self, size: int) -> Block:
        try:
            block = self.blocks[size].pop()  # in one step, also between threads
        except IndexError:
            self.size += size
            return Block(size, self.pinned)
        block.wait()
        return block

    def take_back(self, block: Block) -> None:
        """Keeps a block for another array."""
        if self.pinned:
            block.copied = torch.cuda.current_stream().record_event()
        self.blocks[block.memory.numel()].append(block)


def rounded(size: int) -> int:
    """A size of at least so many bytes, by less than an eighth larger, so that similar arrays share blocks.

    >>> rounded(65_536), rounded(65_537), rounded(1_000_000)
    (65536, 73728, 1048576)
    """
    step = 1 << max(size.bit_length() - 4, 6)
    return -(-size // step) * step
