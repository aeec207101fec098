"""How much memory a Parquet file unfolds to, read from its headers before any of its pages is decoded.

A page of a few bytes can stand for millions of values (run lengths, dictionaries) or for megabytes (compression). The
size that the footer states is not believed: the headers of all pages are read, which the decoder has to obey.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import polars as pl

MAGIC = b"PAR1"
WIDTH = {0: 1, 1: 4, 2: 8, 3: 8, 4: 4, 5: 8, 6: 16, 7: 16}  # bytes of a value in memory by physical type, without text
TEXT = 6  # physical type of texts, BYTE_ARRAY
DICTIONARY = 2  # type of a page
HEADER = 1 << 20  # longest header of a page
DEPTH = 16  # of containers in a header


class ParquetSize(NamedTuple):
    """What a Parquet file unfolds to, in bytes."""

    values: int  # pages without compression, and the values that they stand for
    texts: int  # upper bound of repeated texts of dictionaries


def parquet_size(file: Path) -> ParquetSize:
    """Bound what a Parquet file unfolds to.

    Parameters
    ----------
    file : Path
        Parquet file.

    Returns
    -------
    ParquetSize
        Upper bounds. Texts that share beginnings (DELTA_BYTE_ARRAY) are counted without what they share.

    Raises
    ------
    ValueError
        If the headers cannot be read.

    Notes
    -----
    Apache Parquet format, with headers in Thrift's compact protocol.
    """
    values = texts = 0
    try:
        with file.open("rb") as stream:
            for chunk in _column_chunks(stream):
                kind, words, count = int(chunk[1]), 0, 0
                for page in _pages(stream, chunk):
                    values += int(page[2])
                    if page[1] == DICTIONARY:
                        words = max(words, int(page[2]))
                    else:
                        count += int(next(page[number][1] for number in (5, 8) if number in page))
                values += count * WIDTH[kind]
                texts += count * words if kind == TEXT else 0
    except (KeyError, IndexError, TypeError, StopIteration, struct.error, RecursionError) as error:
        raise ValueError(f"damaged headers: {type(error).__name__}") from None
    return ParquetSize(values, texts)


def text_bytes(file: Path) -> int:
    """Count the bytes of all texts of a Parquet file, without building them."""
    frame = pl.scan_parquet(file, glob=False, hive_partitioning=False)
    texts = [name for name, kind in frame.collect_schema().items() if kind == pl.String]
    if not texts:
        return 0
    sizes = frame.select(pl.col(name).str.len_bytes().sum().cast(pl.Int64) for name in texts)
    return int(sizes.collect(engine="streaming").sum_horizontal().item() or 0)


def _column_chunks(stream: BinaryIO) -> Iterator[dict[int, Any]]:
    """Metadata of every column of every row group."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 8))
    length, magic = struct.unpack("<I4s", stream.read(8))
    if magic != MAGIC or length + 8 > size:
        raise ValueError("no Parquet footer")
    stream.seek(size - 8 - length)
    footer = _Thrift(stream.read(length)).struct()
    for group in footer.get(4, []):
        for column in group[1]:
            if 1 in column:
                raise ValueError("columns in other files")
            yield column[3]


def _pages(stream: BinaryIO, chunk: dict[int, Any]) -> Iterator[dict[int, Any]]:
    """Headers of the pages of a column chunk."""
    place = min(int(chunk[number]) for number in (9, 11) if chunk.get(number))
    end = place + int(chunk[7])
    while place < end:
        stream.seek(place)
        reader = _Thrift(stream.read(min(HEADER, end - place)))
        page = reader.struct()
        if int(page[2]) < 0 or int(page[3]) < 0:
            raise ValueError("a page of negative size")
        yield page
        place += reader.place + int(page[3])


class _Thrift:
    """Reader of a header in Thrift's compact protocol: structs are dicts by the number of the field."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > DEPTH:
            raise ValueError("headers that are too deep")
        fields: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._signed()
            fields[number] = self._value(kind & 15, depth)
        return fields

    def _value(self, kind: int, depth: int, in_list: bool = False) -> Any:
        if kind in (1, 2):
            return self._byte() == 1 if in_list else kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in (9, 10):
            return self._list(depth)
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("headers of an unknown kind")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size = self._unsigned() if head >> 4 == 15 else head >> 4
        if size > len(self.content) - self.place:
            raise ValueError("a list that is longer than its file")
        return [self._value(head & 15, depth, in_list=True) for _ in range(size)]

    def _bytes(self, size: int) -> bytes:
        if size > len(self.content) - self.place:
            raise ValueError("a text that is longer than its file")
        self.place += size
        return self.content[self.place - size : self.place]

    def _byte(self) -> int:
        self.place += 1
        return self.content[self.place - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a number that is too long")
        return value | byte << shift

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
