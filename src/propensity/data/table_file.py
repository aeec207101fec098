"""Parquet files with a checksum of their content in their metadata, so that a table can be moved and still be checked.

The checksum covers names, types, values and the other metadata. It is computed from the values, not from the bytes of
the file, because Parquet has no place for a checksum of itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from propensity.checksum import check_folder, hexadecimal
from propensity.errors import DamageError

CHECKSUM, SCHEMA = "propensity.checksum", "propensity.schema"
RUN = "propensity.run"  # metadata of scores: folder of the run that gave them
LOG = "propensity.log"  # metadata of scores: folder of the event log whose customers were scored
VERSION = "1"
ROWS = 1 << 18  # rows whose text is joined at a time


def write_table(frame: pl.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a table with its checksum.

    Parameters
    ----------
    frame : polars.DataFrame
        The table.
    path : Path
        File to write.
    metadata : mapping of str to str, optional
        Further metadata; the checksum covers it.
    """
    own = {**(metadata or {}), SCHEMA: VERSION}
    frame.write_parquet(path, compression="zstd", metadata={**own, CHECKSUM: table_checksum(frame, own)})


def rewrite_table(frame: pl.DataFrame, source: Path, path: Path) -> None:
    """Write a changed table with the metadata of the old one, and with a checksum if that has one.

    Parameters
    ----------
    frame : polars.DataFrame
        The changed table.
    source : Path
        Old file.
    path : Path
        File to write.
    """
    metadata = own_metadata(source)
    if CHECKSUM not in metadata:
        return frame.write_parquet(path, compression="zstd", metadata=metadata or None)
    write_table(frame, path, {name: text for name, text in metadata.items() if name not in (CHECKSUM, SCHEMA)})


def own_metadata(path: Path) -> dict[str, str]:
    """Metadata of a Parquet file without that of Arrow.

    Parameters
    ----------
    path : Path
        Parquet file.

    Returns
    -------
    dict of str to str
        Texts by name.
    """
    return {name: text for name, text in pl.read_parquet_metadata(path).items() if not name.startswith("ARROW:")}


def read_table(path: Path, way_out: str = "write it again") -> pl.DataFrame:
    """Read a table, after a check of its file and before anyone uses its content.

    Parameters
    ----------
    path : Path
        Parquet file. One without a checksum, such as a table of another program, is read as it is.
    way_out : str
        End of the message.

    Returns
    -------
    polars.DataFrame
        All columns and rows.

    Raises
    ------
    DamageError
        If the file differs from the checksum of its folder, or the content from its own.
    polars.exceptions.PolarsError, OSError, MemoryError
        If it is no Parquet file.
    """
    check_folder(path.parent, lambda name: name == path.name, way_out)
    try:
        frame, metadata = pl.read_parquet(path), own_metadata(path)
    except pl.exceptions.PanicException as error:  # a kind of its own, which no handler of errors expects
        raise OSError(str(error).splitlines()[0]) from None
    expected = metadata.pop(CHECKSUM, None)
    if expected is None and SCHEMA in metadata:
        raise DamageError(f"{path} is damaged (its checksum is missing); {way_out}")
    if expected is not None and expected != (actual := table_checksum(frame, metadata)):
        raise DamageError(f"{path} is damaged (its checksum is {actual}, not {expected}); {way_out}")
    return frame


def table_checksum(frame: pl.DataFrame, metadata: Mapping[str, str]) -> str:
    """Checksum of a table.

    Parameters
    ----------
    frame : polars.DataFrame
        The table.
    metadata : mapping of str to str
        Texts by name.

    Returns
    -------
    str
        CRC-32 in hexadecimal digits; it depends on the order of rows and columns, not on the layout in memory.

    Examples
    --------
    >>> frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    >>> table_checksum(frame, {}) == table_checksum(frame.rechunk(), {}) != table_checksum(frame[::-1], {})
    True
    """
    value = zlib.crc32(repr(sorted(metadata.items())).encode())
    for series in frame.iter_columns():
        value = zlib.crc32(f"{series.name}:{series.dtype}:{series.len()}".encode(), value)
        for start in range(0, series.len(), ROWS):
            value = _series_checksum(series.slice(start, ROWS), value)
    return hexadecimal(value)


def _series_checksum(series: pl.Series, value: int) -> int:
    """CRC-32 of a column's values, continued from `value`."""
    if series.null_count():
        value = zlib.crc32(np.packbits(series.is_null().to_numpy()).data, value)
    kind = series.dtype
    if isinstance(kind, pl.Struct):
        for field in series.struct.fields:
            value = _series_checksum(series.struct.field(field), value)
        return value
    if isinstance(kind, pl.List):
        value = _series_checksum(series.list.len(), value)
        inner = series.drop_nulls().explode(empty_as_null=False)
        return _series_checksum(inner, value)
    physical = series.to_physical() if kind.is_temporal() else series
    if physical.dtype.is_numeric() and not physical.dtype.is_decimal():
        return zlib.crc32(np.ascontiguousarray(physical.fill_null(0).to_numpy()).view(np.uint8).data, value)
    if physical.dtype == pl.Boolean:
        return zlib.crc32(np.packbits(physical.fill_null(False).to_numpy()).data, value)
    text = physical.cast(pl.String).fill_null("")
    value = zlib.crc32(text.str.len_bytes().to_numpy().data, value)
    return zlib.crc32((text.str.join("") if text.len() else pl.Series([""])).item().encode(), value)
