"""Blocks in this process, one after another."""

from __future__ import annotations

from collections.abc import Sequence

from propensity.atomic import whole_file
from propensity.engine.block import Block, Job, Say, missing_blocks


class LocalEngine:
    """Computes one block after another in this process."""

    distributed = False

    def write(self, job: Job, blocks: Sequence[Block], say: Say) -> None:
        """Write the files of all blocks; see `Engine`.

        Parameters
        ----------
        job : Job
            What the blocks share.
        blocks : sequence of Block
            All blocks, in the order of the result.
        say : callable
            Receives messages about progress.
        """
        if not (missing := missing_blocks(blocks, say)):
            return
        write = job.open()
        for block in missing:
            with whole_file(block.path) as draft:
                write(block, draft)
            say(f"part {block.number + 1} of {len(blocks)}")
