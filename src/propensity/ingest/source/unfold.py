"""Bounds on what a compressed file or a spreadsheet unfolds to, before anything reads it whole."""

from __future__ import annotations

import gzip
import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, cast

from propensity.errors import DataError

RATIO = 200  # a text of sales packs to a tenth, one of equal lines to a hundredth
FREE_BYTES = 256 << 20  # that any file may unfold to
MAX_PARTS = 10_000  # files in an archive
STEP = 1 << 20
ZIPPED = (".zip", ".xlsx", ".xlsm", ".xlsb", ".ods")
ZSTD_MAGIC, SKIPPABLE = 0xFD2FB528, 0x184D2A50
ZSTD_BLOCK = 128 << 10  # most that a block unfolds to


def check_unfolded(file: Path) -> None:
    """Refuse a file that unfolds to more than `RATIO` times its size, above `FREE_BYTES`.

    Parameters
    ----------
    file : Path
        Delivered file; one that is neither .gz, .zip, .zst nor a spreadsheet is accepted.

    Raises
    ------
    DataError
        If it unfolds to more, or cannot be read.

    Notes
    -----
    The bytes are counted, not taken from the archive's own statement; counting stops at the limit. A .zst file is
    measured by its block headers, without unfolding (RFC 8878).
    """
    name = file.name.lower()
    limit = max(FREE_BYTES, RATIO * file.stat().st_size)
    try:
        if name.endswith(".gz"):
            with gzip.open(file) as stream:
                _count(cast(IO[bytes], stream), limit, file)
        elif name.endswith(ZIPPED):
            _check_archive(file, limit)
        elif name.endswith(".zst") and _zstd_bound(file, limit) > limit:
            raise _too_large(file, limit)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file} cannot be read ({reason}); deliver it again") from None
    except (NotImplementedError, RuntimeError) as error:  # an unknown method, or a password
        raise DataError(f"{file} cannot be unpacked ({error}); deliver it as plain text") from None


def _check_archive(file: Path, limit: int) -> None:
    """Count the bytes of all files of a zip archive."""
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if len(parts) > MAX_PARTS:
            raise DataError(f"{file} holds {len(parts)} files, more than {MAX_PARTS}; deliver it as plain text")
        if sum(part.file_size for part in parts) > limit:
            raise _too_large(file, limit)
        left = limit
        for part in parts:
            with archive.open(part) as stream:
                left -= _count(stream, left, file)


def _count(stream: IO[bytes], limit: int, file: Path) -> int:
    """Bytes of a stream; DataError as soon as there are more than `limit`."""
    size = 0
    while chunk := stream.read(STEP):
        size += len(chunk)
        if size > limit:
            raise _too_large(file, limit)
    return size


def _zstd_bound(file: Path, limit: int) -> int:
    """Upper bound of what a .zst file unfolds to; the walk stops above `limit`."""
    bound = 0
    with open(file, "rb") as stream:
        while len(word := stream.read(4)) == 4:
            magic = int.from_bytes(word, "little")
            if magic & 0xFFFFFFF0 == SKIPPABLE:
                stream.seek(int.from_bytes(stream.read(4), "little"), 1)
                continue
            if magic != ZSTD_MAGIC:
                raise ValueError("no zstd frame")
            checksum = _skip_zstd_header(stream)
            last = False
            while not last and bound <= limit:
                (header,) = struct.unpack("<I", stream.read(3) + b"\0")
                last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
                bound += ZSTD_BLOCK if kind == 2 else size
                stream.seek(1 if kind == 1 else size, 1)
            if bound > limit:
                break
            stream.seek(4 if checksum else 0, 1)
    return bound


def _skip_zstd_header(stream: IO[bytes]) -> bool:
    """Read the header of a frame; returns whether a checksum ends it."""
    flags = stream.read(1)[0]
    single = bool(flags & 0x20)
    content = (1 if single else 0, 2, 4, 8)[flags >> 6]
    stream.seek((0 if single else 1) + (0, 1, 2, 4)[flags & 3] + content, 1)
    return bool(flags & 4)


def _too_large(file: Path, limit: int) -> DataError:
    return DataError(
        f"{file} unfolds to more than {limit >> 20} MiB from {file.stat().st_size:,} bytes; deliver it unpacked"
    )
