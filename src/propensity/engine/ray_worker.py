"""What a worker of a cluster does with a block. Nothing here runs in the process of the command."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from propensity.atomic import sync
from propensity.checksum import FileRecord, file_record
from propensity.disk import storage_message
from propensity.engine.block import Block, Job, Write
from propensity.engine.environment import difference, environment
from propensity.errors import ClusterError, PropensityError

DRAFT = "block"  # in the name of a temporary file: .part-00000.parquet.block-<host>-<process>
ONE_THREAD = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")  # a worker has one CPU
SHARED = "log, model and out must be on a path that all machines share"
OPENED: dict[str, Write] = {}  # the job of this process


class Outcome(NamedTuple):
    """What became of a block.

    Attributes
    ----------
    worker : str
        Host and process.
    record : FileRecord, optional
        Size and checksum of the file that was written.
    error : PropensityError, optional
        Why there is none.
    """

    worker: str
    record: FileRecord | None = None
    error: PropensityError | None = None


def run_block(reference: list[Any], token: str, versions: Mapping[str, str], folder: str, block: Block) -> Outcome:
    """Compute a block and write its file.

    Parameters
    ----------
    reference : list of one ray.ObjectRef
        The job, which is loaded only if this process has not opened it.
    token : str
        Name of the job.
    versions : mapping of str to str
        `environment` of the command.
    folder : str
        Working folder of the command, which this process enters if it exists here.
    block : Block
        What to compute.

    Returns
    -------
    Outcome
        An error that the user can correct is returned. Any other is raised, with its traceback.
    """
    worker = f"{socket.gethostname()} (process {os.getpid()})"
    try:
        return Outcome(worker, write_file(opened(reference, token, versions, folder), block))
    except PropensityError as error:
        return Outcome(worker, error=error)


def opened(reference: list[Any], token: str, versions: Mapping[str, str], folder: str) -> Write:
    """Open the job, once in a process.

    Raises
    ------
    ClusterError
        If this process has other versions than the command. The job is not loaded then, as its class may be another.
    """
    if token not in OPENED:
        for name in ONE_THREAD:  # libraries read them when they are imported, which is later
            os.environ[name] = "1"
        if (sentence := difference(versions, environment())) is not None:
            raise ClusterError(f"a worker has {sentence}; install the versions of the command on all machines")
        if os.path.isdir(folder):
            os.chdir(folder)
        OPENED.clear()
        OPENED[token] = load_job(reference).open()
    return OPENED[token]


def load_job(reference: list[Any]) -> Job:
    """The job behind a reference."""
    import ray

    job: Job = ray.get(reference[0])
    return job


def write_file(write: Write, block: Block) -> FileRecord:
    """Write the file of a block beside its place, then rename it.

    Parameters
    ----------
    write : callable
        Computes the block; see `propensity.engine.block.Job`.
    block : Block
        What to compute.

    Returns
    -------
    FileRecord
        Size and checksum.

    Raises
    ------
    ClusterError
        If the folder of the file does not exist here.
    ConfigurationError
        If the disk is full or the file cannot be written.

    Notes
    -----
    The name of the temporary file holds host and process, so that two machines that compute the same block, because
    one was thought to be lost, do not write to the same file.
    """
    path = block.path
    if not path.parent.is_dir():
        raise ClusterError(f"there is no folder {path.parent}; {SHARED}")
    draft = draft_of(path)
    try:
        with storage_message(path):
            write(block, draft)
            sync(draft)
            record = file_record(draft)
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return record


def draft_of(path: Path) -> Path:
    """Where this process writes a file before it is renamed."""
    return path.with_name(f".{path.name}.{DRAFT}-{socket.gethostname()}-{os.getpid()}")
