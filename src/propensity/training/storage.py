"""Files of checkpoints: written aside, synced and renamed, with a checksum of the whole file at its end.

A checkpoint of torch is a zip archive. The checksum stands in the archive's comment, where torch does not read; torch
itself compares no checksum.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH

from propensity.atomic import whole_file
from propensity.errors import DamageError

MARK = b"propensity:1:crc32:"  # 1: the schema number
DIGITS = 8
ENDING = len(MARK) + DIGITS


def save_checkpoint(content: Any, path: Path) -> None:
    """Write a checkpoint atomically.

    Parameters
    ----------
    content : object
        Plain containers and tensors.
    path : Path
        File to write or replace.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)  # in memory: torch's own writer ends the process on a full disk
    with whole_file(path) as draft, draft.open("wb") as file:
        file.write(with_checksum(buffer.getvalue()))


def with_checksum(archive: bytes) -> bytes:
    """Append a checksum to a zip archive without a comment.

    Parameters
    ----------
    archive : bytes
        The archive; its last two bytes are the length of its comment, 0.

    Returns
    -------
    bytes
        The archive with a comment of `ENDING` bytes.
    """
    return with_ending(archive[:-2] + struct.pack("<H", ENDING) + MARK)


def with_ending(body: bytes) -> bytes:
    """Append the checksum of all bytes before it."""
    return body + f"{zlib.crc32(body):0{DIGITS}x}".encode()


def check_checkpoint(path: Path, way_out: str = "train again") -> None:
    """Compare a checkpoint with its checksum, or with those of the archive's parts if it has none.

    Parameters
    ----------
    path : Path
        File of `save_checkpoint`, of torch or of Lightning.
    way_out : str
        End of the message.

    Raises
    ------
    DamageError
        If it is truncated or was changed.
    """
    content = path.read_bytes()
    if MARK in content[-2 * ENDING :]:
        if content != with_ending(content[: content.rindex(MARK) + len(MARK)]):
            raise DamageError(f"{path} is damaged (it has another checksum); {way_out}")
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise DamageError(f"{path} cannot be read ({error or type(error).__name__}); {way_out}") from None
    if part is not None:
        raise DamageError(f"{path} is damaged ({part} has another checksum); {way_out}")


class CheckedCheckpointIO(TorchCheckpointIO):
    """Lightning's reader and writer of checkpoints, with `save_checkpoint` and `check_checkpoint`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Write a checkpoint atomically."""
        save_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: _PATH, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint that is what was written."""
        check_checkpoint(Path(path))
        return super().load_checkpoint(path, *args, **kwargs)
