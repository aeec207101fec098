"""The unit of work of a command: a block, whose result is a file of its own.

A command that is computed in blocks describes what they share as a `Job`, and names the file of each block. An
`Engine` computes the blocks that have no file yet. Since a file appears whole or not at all, an interrupted command
continues, and since a block depends on nothing but its job and its number, the files do not depend on where or in which
order the blocks were computed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from propensity.checksum import is_intact, is_sealed, seal_folder
from propensity.disk import make_folder
from propensity.engine.environment import environment
from propensity.errors import ConfigurationError

BLOCKS = ".blocks"  # folder of files that are removed when the result is complete
Say = Callable[[str], None]


class Block(NamedTuple):
    """A part of a result.

    Attributes
    ----------
    number : int
        Place in the order of the result.
    path : Path
        File that holds it; no other block has the same.
    """

    number: int
    path: Path


Write = Callable[[Block, Path], None]  # computes a block and writes it to a temporary path


class Job(Protocol):
    """What all blocks of a command share. An engine may send it to other processes by pickle."""

    def open(self) -> Write:
        """Load what the blocks need, once in a process.

        Returns
        -------
        callable
            From a block and a temporary path to nothing; it writes the file of the block there.
        """


class Engine(Protocol):
    """Computes the blocks of a job.

    Attributes
    ----------
    distributed : bool
        Whether blocks are computed by other processes, at the same time.
    """

    distributed: bool

    def write(self, job: Job, blocks: Sequence[Block], say: Say) -> None:
        """Write the files of all blocks. Files that exist and are intact stay.

        Parameters
        ----------
        job : Job
            What the blocks share.
        blocks : sequence of Block
            All blocks, in the order of the result.
        say : callable
            Receives messages about progress.
        """


def require_local(engine: Engine, what: str) -> None:
    """Refuse an engine of several processes for what is computed as a whole.

    Parameters
    ----------
    engine : Engine
        The configured engine.
    what : str
        What the user wants, in the plural.

    Raises
    ------
    ConfigurationError
        If the engine is distributed.
    """
    if engine.distributed:
        raise ConfigurationError(f"{what} are computed in one process; leave out engine=ray")


def missing_blocks(blocks: Sequence[Block], say: Say) -> list[Block]:
    """List the blocks whose file does not exist or is damaged.

    Parameters
    ----------
    blocks : sequence of Block
        Blocks of a job.
    say : callable
        Receives a message about each damaged file.

    Returns
    -------
    list of Block
        In the given order.
    """
    missing = [block for block in blocks if not is_intact(block.path)]
    for block in missing:
        if block.path.is_file():
            say(f"{block.path} is damaged; it is written again")
    return missing


def block_folder(place: Path, request: Mapping[str, Any]) -> Path:
    """Make the folder of files that are needed until a result is complete.

    Parameters
    ----------
    place : Path
        Folder of all such files of a result; its name begins with a dot.
    request : mapping
        Everything that determines the content of the blocks, as plain values.

    Returns
    -------
    Path
        A folder in `place` whose name is a hash of the request and of the code: the same request finds its files again,
        and another one never does. The folder has checksums.
    """
    text = json.dumps({**request, "versions": environment()}, sort_keys=True)
    folder = place / hashlib.sha256(text.encode()).hexdigest()[:16]
    make_folder(folder)
    if not is_sealed(folder):
        seal_folder(folder)
    return folder


def remove_blocks(place: Path) -> None:
    """Remove the folders of `block_folder`, once the result is complete.

    Parameters
    ----------
    place : Path
        Their folder.
    """
    shutil.rmtree(place, ignore_errors=True)
