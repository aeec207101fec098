"""Jobs of the tests, which workers import."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from propensity.engine.block import Block, Job, Say, Write
from propensity.engine.local import LocalEngine


@dataclass(frozen=True)
class Squares:
    """Writes the square of each index, and fails or dies as it is told.

    Attributes
    ----------
    full : int, optional
        Block whose disk is full.
    marks : str, optional
        Folder in which a block leaves a mark, before it kills its worker at the first attempt.
    deadly : int, optional
        Block that always kills its worker.
    seconds : float
        Time of a block.
    """

    full: int | None = None
    marks: str | None = None
    deadly: int | None = None
    seconds: float = 0.0

    def open(self) -> Write:
        return self.write

    def write(self, block: Block, draft: Path) -> None:
        time.sleep(self.seconds)
        draft.write_text("half")
        if block.number == self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if block.number == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.marks is not None and not (mark := Path(self.marks) / str(block.number)).exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        draft.write_text(str(block.number**2))


@dataclass(frozen=True)
class Unopened:
    """A job that no process may open."""

    def open(self) -> Write:
        raise AssertionError("the job was opened")


class Elsewhere(LocalEngine):
    """Computes the blocks by a copy of the job, the last one first, as a cluster may."""

    distributed = True

    def write(self, job: Job, blocks: Sequence[Block], say: Say) -> None:
        super().write(pickle.loads(pickle.dumps(job)), blocks[::-1], say)


def blocks_in(folder: Path, count: int) -> list[Block]:
    return [Block(index, folder / f"square-{index}.txt") for index in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, also hidden ones."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
