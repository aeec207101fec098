"""Bounds on what a compressed file or a spreadsheet unfolds to, before anything reads it whole."""

from __future__ import annotations

import gzip
import lzma
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
import polars as pl

from propensity.data.parquet_size import parquet_size, text_bytes
from propensity.errors import DataError
from propensity.ingest.source.file_search import PARQUET

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
        Delivered file; one that is neither .gz, .zip, .zst, .parquet nor a spreadsheet is accepted.

    Raises
    ------
    DataError
        If it unfolds to more, or cannot be read.

    Notes
    -----
    The bytes are counted, not taken from the archive's own statement; counting stops at the limit. A .zst file is
    measured by its block headers, without unfolding (RFC 8878), and a Parquet file by the headers of its pages; its
    texts are counted only if its dictionaries could repeat them beyond the limit.
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
        elif name.endswith(PARQUET):
            size = parquet_size(file)
            if size.values > limit or (size.values + size.texts > limit and size.values + text_bytes(file) > limit):
                raise _too_large(file, limit)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"{file} cannot be read ({_first_line(error)}); deliver it again") from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error, ValueError) as error:
        raise DataError(f"{file} cannot be read ({_first_line(error)}); deliver it again") from None
    except (NotImplementedError, RuntimeError) as error:  # an unknown method, or a password
        raise DataError(f"{file} cannot be unpacked ({error}); deliver it as plain text") from None


def _first_line(error: BaseException) -> str:
    """First line of an error's message, or its class."""
    return (str(error).splitlines() or [type(error).__name__])[0]


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


def check_arrays(file: Path) -> None:
    """Refuse an .npz file that unfolds to more than `RATIO` times its size, above `FREE_BYTES`.

    Parameters
    ----------
    file : Path
        Archive of arrays. An archive is never unpacked beyond the sizes that it states, so these are summed.

    Raises
    ------
    ValueError
        If it unfolds to more, or an array states another size than its part of the archive has.
    zipfile.BadZipFile, OSError
        If it is no archive.
    """
    limit = max(FREE_BYTES, RATIO * file.stat().st_size)
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > limit:
            raise ValueError(f"it unfolds to more than {limit >> 20} MiB")
        for part in parts:
            with archive.open(part) as stream:
                version = np.lib.format.read_magic(stream)
                headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                if version not in headers:
                    raise ValueError(f"{part.filename} has a header of version {version}")
                shape, _, dtype = headers[version](stream)
                if dtype.hasobject or math.prod(shape) * dtype.itemsize != part.file_size - stream.tell():
                    raise ValueError(f"{part.filename} states another size than it has")
