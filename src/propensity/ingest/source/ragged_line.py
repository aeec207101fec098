"""Lines of a text file with more or fewer fields than the header."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import IO, Any

import polars as pl

from propensity.ingest.source.encoding import LINE, open_binary
from propensity.ingest.source.layout import Layout
from propensity.ingest.source.quoting import Repaired, repaired


def repaired_text(file: Path, form: Layout, fields: int, encoding: str) -> Repaired | None:
    """Repair the records of a file that has quotation marks within fields.

    Parameters
    ----------
    file : Path
        The file, possibly compressed.
    form : Layout
        Separator, quotation mark and header of the file.
    fields : int
        Number of fields of the header.
    encoding : str
        Encoding of the file.

    Returns
    -------
    Repaired or None
        The repaired text; None if no field has such a mark.
    """
    with _text(file, encoding) as stream:
        for _ in range(form.skip):
            stream.readline()
        return repaired(stream, form.separator, form.quote, fields, form.header)


def has_suspect_line(source: Any, form: Layout, fields: int) -> bool:
    """Whether a line may have more or fewer fields than the header, or a quotation mark that encloses none.

    A streaming scan counts separators outside quotes. Only a file with such a line is read record by record.

    Parameters
    ----------
    source : Any
        What `polars.scan_csv` reads: a path or bytes.
    form : Layout
        Separator, quotation mark and header of the file.
    fields : int
        Number of fields of the header.

    Returns
    -------
    bool
        Whether the file has to be read record by record.
    """
    lines = pl.scan_csv(
        source,
        has_header=False,
        skip_lines=form.skip,
        separator="\x1f",
        quote_char=None,
        schema=LINE,
        glob=False,
        truncate_ragged_lines=True,
    )
    bare = pl.col("line").str.strip_chars("\r")
    if mark := form.quote:
        bare = bare.str.replace_all(f"{mark}[^{mark}]*{mark}", "")
    odd = bare.str.count_matches(form.separator, literal=True) != fields - 1
    odd = odd & (pl.col("line").str.strip_chars("\r") != "")
    suspect = odd | bare.str.contains(mark, literal=True) if mark else odd
    return bool(lines.select(suspect.any()).collect(engine="streaming").item())


def ragged_records(file: Path, form: Layout, fields: int, encoding: str) -> list[int]:
    """Find the records with more or fewer fields than the header.

    Parameters
    ----------
    file : Path
        Text file.
    form : Layout
        Layout of the file.
    fields : int
        Number of fields of the header.
    encoding : str
        Encoding of the file.

    Returns
    -------
    list of int
        Numbers of the records, counted from 1.
    """
    csv.field_size_limit(1 << 24)
    quoting: dict[str, Any] = {"quotechar": form.quote} if form.quote else {"quoting": csv.QUOTE_NONE}
    with _text(file, encoding) as stream:
        for _ in range(form.skip):
            stream.readline()
        records = csv.reader(stream, delimiter=form.separator, **quoting)
        if form.header:
            next(records, None)
        return [k for k, record in enumerate(records, 1) if record and len(record) != fields]


def _text(file: Path, encoding: str) -> IO[str]:
    """A text file, possibly compressed, opened for reading."""
    kind = "utf-8-sig" if encoding == "utf-8" else encoding
    return io.TextIOWrapper(open_binary(file), encoding=kind, newline="")
