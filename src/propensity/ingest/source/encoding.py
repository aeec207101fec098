"""Encoding of a text file, from its marks and its bytes."""

from __future__ import annotations

import codecs
import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import polars as pl

from propensity.errors import DataError
from propensity.ingest.source.code_page import code_page, words_beyond_ascii

LINE = {"line": pl.String}  # schema of a text file that is read line by line
HEAD_LINES = 1_000  # of a zst file
HEAD = 1 << 16  # bytes from which the layout of a text file is detected
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
CHUNK = 1 << 22


def read_head(file: Path, encoding: str) -> str:
    """Read the first characters of a text file, up to its last whole line.

    Parameters
    ----------
    file : Path
        The file, possibly compressed.
    encoding : str
        Encoding of the file.

    Returns
    -------
    str
        Text of the first 64 KiB, of a zst file the first 1,000 lines.
    """
    if file.name.lower().endswith(".zst"):
        lines = pl.scan_csv(file, has_header=False, separator="\x1f", quote_char=None, schema=LINE, glob=False,
                            truncate_ragged_lines=True).head(HEAD_LINES).collect()["line"]  # fmt: skip
        return "\n".join(line or "" for line in lines) + "\n"
    data = next(byte_chunks(file), b"")[:HEAD]
    text = codecs.getincrementaldecoder(encoding)("replace").decode(data)
    return text if len(data) < HEAD else text[: text.rfind("\n") + 1] or text


def detect_encoding(file: Path, otherwise: str | None = None) -> str:
    """Detect the encoding of a text file.

    Parameters
    ----------
    file : Path
        Text file.
    otherwise : str, optional
        Encoding of a file that is neither UTF-8 nor UTF-16; by default the code page of `code_page`.

    Returns
    -------
    str
        "utf-16" with a byte order mark, "utf-8" if all of the file is, otherwise its code page.

    Raises
    ------
    DataError
        If a file without the mark has a zero byte, or its code page is unclear.
    """
    decoder, line, encoding = codecs.getincrementaldecoder("utf-8")(), 1, "utf-8"
    for k, chunk in enumerate(byte_chunks(file)):
        if k == 0 and chunk[:2] in MARKS:
            return MARKS[chunk[:2]]
        if (at := chunk.find(b"\0")) >= 0:
            line += chunk[:at].count(b"\n")
            raise DataError(f"{file} cannot be read (line {line} has a zero byte, so it is not text); deliver it again")
        if encoding == "utf-8":
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                encoding = ""
        line += chunk.count(b"\n")
    return encoding or otherwise or _code_page(file)


def _code_page(file: Path) -> str:
    """Code page of a text file; DataError if two readings are about as likely, or none is."""
    found = code_page(words_beyond_ascii(byte_chunks(file)))
    if not found.known:
        raise DataError(
            f"{file} is neither UTF-8 nor in a code page whose letters are known: as {found.page} it has "
            f"{found.words[0]!r}; set data.source.encoding, such as gbk, shift_jis or cp1255"
        )
    if found.other is not None:
        raise DataError(
            f"{file} is not UTF-8 and may have {found.words[0]!r} in {found.page} or {found.words[1]!r} in "
            f"{found.other}; set data.source.encoding to one of them"
        )
    return found.page if _decodes(file, found.page) else "latin-1"


def _decodes(file: Path, encoding: str) -> bool:
    """Whether a file can be decoded."""
    try:
        for chunk in byte_chunks(file):
            chunk.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def byte_chunks(file: Path) -> Iterator[bytes]:
    """Read the bytes of a text file, 4 MiB at a time.

    Parameters
    ----------
    file : Path
        The file, possibly compressed.

    Yields
    ------
    bytes
        Decompressed bytes; nothing for a zst file, which Polars decompresses.

    Raises
    ------
    DataError
        If an archive holds several files.
    """
    name = file.name.lower()
    if name.endswith(".zst"):
        return
    with open_binary(file) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def open_binary(file: Path) -> IO[bytes]:
    """Open a text file for reading its bytes.

    Parameters
    ----------
    file : Path
        The file, possibly compressed by gzip or within a zip archive.

    Returns
    -------
    IO of bytes
        Stream of the decompressed bytes.

    Raises
    ------
    DataError
        If an archive holds several files.
    """
    name = file.name.lower()
    if name.endswith(".gz"):
        return cast(IO[bytes], gzip.open(file, "rb"))
    if not name.endswith(".zip"):
        return open(file, "rb")
    with zipfile.ZipFile(file) as archive:
        members = [member for member in archive.namelist() if not member.endswith("/")]
        if len(members) != 1:
            raise DataError(f"{file} holds {len(members)} files; deliver an archive of one")
        return archive.open(members[0])
