"""Blocks as tasks of a Ray cluster: of one that runs, or of one on this machine that is started and stopped.

A task computes one block, writes its file and returns size and checksum; no result travels through Ray. A block whose
worker was lost is computed again by another. Ray Data is not used, as it does not keep an order.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from propensity.atomic import only_writer
from propensity.checksum import is_sealed, note_written, read_checksums
from propensity.engine.block import Block, Job, Say, missing_blocks
from propensity.engine.environment import environment
from propensity.engine.ray_cluster import Head, check_form, cluster
from propensity.engine.ray_worker import DRAFT, SHARED, Outcome, run_block
from propensity.errors import ClusterError, ConfigurationError

IN_FLIGHT = 1_024  # tasks that Ray knows at the same time
POLL = 2.0  # seconds between looks at the head


@dataclass
class RayEngine:
    """Computes blocks by the workers of a Ray cluster.

    Attributes
    ----------
    address : str, optional
        `host:port` of the head, or `auto` on a machine of the cluster. None starts a cluster on this machine, and
        stops it at the end.
    workers : int, optional
        Processes of the cluster on this machine; None for the number of CPUs. A cluster with an address has its own.
    retries : int
        Times that a block is computed again after its worker was lost.

    Raises
    ------
    ConfigurationError
        If `workers` or `retries` cannot be, `address` is malformed, or both `address` and `workers` are given.
    """

    address: str | None = None
    workers: int | None = None
    retries: int = 5
    distributed = True

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigurationError(f"engine.workers={self.workers} is below 1; give 1 or more, or null")
        if self.retries < 0:
            raise ConfigurationError(f"engine.retries={self.retries} is below 0; give 0 or more")
        if self.address is not None and self.workers is not None:
            raise ConfigurationError("the cluster at engine.address has its own workers; leave out engine.workers")
        if self.address is not None:
            check_form(self.address)

    def write(self, job: Job, blocks: Sequence[Block], say: Say) -> None:
        """Write the files of all blocks; see `propensity.engine.block.Engine`.

        Parameters
        ----------
        job : Job
            What the blocks share. Its class is imported by workers from its module.
        blocks : sequence of Block
            All blocks, in the order of the result. Their folder must be one that all machines share.
        say : callable
            Receives messages about progress.

        Raises
        ------
        ClusterError
            If the cluster cannot be reached, loses its head, has workers with other versions, or lost the workers of a
            block more than `retries` times.
        PropensityError
            What a worker found wrong, such as a full disk. Blocks that are finished stay.
        """
        if not (missing := missing_blocks(blocks, say)):
            return
        absolute = [block._replace(path=block.path.absolute()) for block in missing]
        folders = sorted({block.path.parent for block in absolute})
        with ExitStack() as stack:
            for folder in folders:
                stack.enter_context(only_writer(folder))
                remove_drafts(folder)
                note_unrecorded(folder, [block.path for block in blocks if block.path.parent.absolute() == folder])
                stack.callback(remove_drafts, folder)
            head = stack.enter_context(cluster(self.address, min(self.workers or os.cpu_count() or 1, len(missing))))
            done = len(blocks) - len(missing)
            for _ in self._written(head, job, absolute):
                done += 1
                say(f"{done} of {len(blocks)} parts")

    def _written(self, head: Head, job: Job, blocks: Sequence[Block]) -> Iterator[Block]:
        """Send all blocks to workers; yields each when its file is there."""
        import ray

        token, reference = uuid4().hex, [ray.put(job)]
        task = ray.remote(run_block).options(num_cpus=1, max_retries=self.retries)
        waiting, pending = iter(blocks), dict[Any, Block]()
        while True:
            for block in islice(waiting, IN_FLIGHT - len(pending)):
                pending[task.remote(reference, token, environment(), os.getcwd(), block)] = block
            if not pending:
                return
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=POLL)
            for each in ready:
                block = pending.pop(each)
                note_block(self._outcome(each, block), block)
                yield block
            if not ready:
                head.require()

    def _outcome(self, reference: Any, block: Block) -> Outcome:
        """The outcome of a finished task."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            outcome: Outcome = ray.get(reference)
        except RayTaskError as error:
            if "No module named 'propensity" in str(error) or "failed to import on the worker" in str(error):
                raise ClusterError(
                    "a worker cannot import this version of propensity; install the versions of the command on all "
                    "machines"
                ) from None
            raise error.as_instanceof_cause() from None
        except RayError as error:
            raise ClusterError(
                f"{block.path.name} lost its worker {self.retries + 1} times ({lost_in_words(error)}); give workers "
                "more memory, smaller parts, or a larger engine.retries, and start the same command again"
            ) from None
        return outcome


def lost_in_words(error: Exception) -> str:
    """Why the last worker of a block was lost."""
    name = type(error).__name__
    reasons = {"OutOfMemoryError": "out of memory", "NodeDiedError": "its machine was lost"}
    return reasons.get(name, "its process ended")


def note_block(outcome: Outcome, block: Block) -> None:
    """Record the checksum of a block that was written, or raise what was wrong.

    Parameters
    ----------
    outcome : Outcome
        What the worker returned.
    block : Block
        The block.

    Raises
    ------
    PropensityError
        The error of the worker, with its name.
    ClusterError
        If the file of the worker is not here.
    """
    if (error := outcome.error) is not None:
        raise type(error)(f"{error}; worker {outcome.worker}, {block.path.name}")
    assert outcome.record is not None
    if not block.path.is_file() or block.path.stat().st_size != outcome.record.bytes:
        raise ClusterError(f"worker {outcome.worker} wrote {block.path}, which is not here; {SHARED}")
    note_written(block.path, outcome.record)


def note_unrecorded(folder: Path, paths: Sequence[Path]) -> None:
    """Record the checksums of files that workers wrote while their command ended.

    Parameters
    ----------
    folder : Path
        Folder of blocks, which `only_writer` has locked.
    paths : sequence of Path
        Files of blocks in it; those that exist are whole, as workers rename them.
    """
    if is_sealed(folder):
        records = read_checksums(folder)
        for path in paths:
            if path.is_file() and path.name not in records:
                note_written(path)


def remove_drafts(folder: Path) -> None:
    """Remove the temporary files of workers that were lost.

    Parameters
    ----------
    folder : Path
        Folder of blocks, which `only_writer` has locked.
    """
    for draft in folder.glob(f".*.{glob.escape(DRAFT)}-*"):
        draft.unlink(missing_ok=True)
