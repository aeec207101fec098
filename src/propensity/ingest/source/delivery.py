"""Delivered files as scans, with their columns, partitions and layout."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from propensity.errors import ConfigurationError, DataError
from propensity.ingest.source.collection import UNREADABLE, collect, read_error
from propensity.ingest.source.encoding import byte_chunks, detect_encoding, read_head
from propensity.ingest.source.file_search import JSON_LINES, NULL_PARTITION, PARQUET, TEXT, find_files
from propensity.ingest.source.known_name import closest_name
from propensity.ingest.source.layout import Finding, detect_layout, layout_findings
from propensity.ingest.source.ragged_line import has_suspect_line, ragged_records, repaired_text
from propensity.ingest.source.unfold import check_unfolded
from propensity.ingest.source.workbook import EXCEL, read_sheet, workbook_file

ROW = "row_in_file"
REPEATED = "_duplicated_0"  # suffix that Polars gives to the second column of a name
COMPLETED = "completed_line"


@dataclass(frozen=True)
class Delivery:
    """A delivered file."""

    file: Path
    frame: pl.LazyFrame  # with `row_in_file`, the number of the record, counted from 1
    schema: pl.Schema
    ragged: list[int] = field(default_factory=list)  # records with more or fewer fields than the header
    encoding: str | None = None  # encoding from which the file was converted; None for UTF-8
    partitions: tuple[str, ...] = ()  # columns from folder names such as day=2024-01-05
    options: Mapping[str, Any] | None = None  # of `scan_csv`, if the file itself can be scanned
    layout: tuple[Finding, ...] = ()  # of a text file
    completed: bool = False  # whether the frame has `completed_line`, which marks lines with facts of their order

    def column(self, name: str, setting: str) -> str:
        """Check that a column exists and can be read.

        Parameters
        ----------
        name : str
            Name of the column.
        setting : str
            Setting of the name, for the error message.

        Returns
        -------
        str
            The name.

        Raises
        ------
        ConfigurationError
            If there is no such column; the message contains the closest name.
        DataError
            If the column holds lists, durations or other unsupported types, or two columns have the name.
        """
        names = [c for c in self.schema.names() if c != ROW]
        if name not in names:
            near = closest_name(name, names)
            if self.layout and ("header", "no") in [each[:2] for each in self.layout]:
                raise ConfigurationError(
                    f"{setting}={name} is not a column of {self.file}, which has no header; map column_1 to "
                    f"column_{len(names)}, or set data.source.header=true if it has one"
                )
            raise ConfigurationError(
                f"{setting}={name} is not a column of {self.file}; the closest of its {len(names)} columns is {near!r}"
            )
        if f"{name}{REPEATED}" in names:
            raise DataError(
                f"{self.file} has the column {name} ({setting}) twice, as columns {names.index(name) + 1} and "
                f"{names.index(f'{name}{REPEATED}') + 1}; rename one of them"
            )
        kind = self.schema[name]
        if kind == pl.Time and setting.endswith(".time"):
            return name
        if kind.is_nested() or kind in (pl.Binary, pl.Object, pl.Duration, pl.Time):
            raise DataError(f"{self.file} column {name} ({setting}) has type {kind}; deliver text, numbers or dates")
        return name


def open_files(path: str, setting: str, separator: str | None = None, encoding: str | None = None) -> list[Delivery]:
    """Open the files of a pattern.

    Parameters
    ----------
    path : str
        File or pattern of files.
    setting : str
        Setting of the path, for error messages.
    separator : str, optional
        Field separator of text files; detected by default.
    encoding : str, optional
        Encoding of text files that are neither UTF-8 nor UTF-16; detected by default.

    Returns
    -------
    list of Delivery
        Files sorted by name.

    Raises
    ------
    ConfigurationError
        If there is no file.
    DataError
        If a file cannot be read.
    """
    files = find_files(path, setting)
    return [open_file(file, separator, None if encoding is None else _fitting(file, encoding)) for file in files]


def _fitting(file: Path, encoding: str) -> str | None:
    """A configured encoding where a text file is neither UTF-8 nor UTF-16."""
    return detect_encoding(file, encoding) if file.name.lower().endswith(TEXT) else None


def open_file(
    file: Path,
    separator: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    skip: int | None = None,
    quote: str | None = None,
) -> Delivery:
    """Open a file.

    Parameters
    ----------
    file : Path
        CSV, JSON lines or Parquet file.
    separator : str, optional
        Field separator of text files; detected by default.
    encoding : str, optional
        Encoding of text files; detected by default.
    header : bool, optional
        Whether text files have a header; otherwise the columns are column_1, column_2 and so on. Detected by default.
    skip : int, optional
        Lines of text files above the header; detected by default.
    quote : str, optional
        Quotation mark of text files, "" for none; detected by default.

    Returns
    -------
    Delivery
        The file as a scan; all columns of text files are text. Folder names such as day=2024-01-05 are columns.

    Raises
    ------
    DataError
        If the file is empty or cannot be read.
    """
    try:
        if workbook_file(file).stat().st_size == 0:
            raise DataError(f"{file} is empty (0 bytes); deliver it again")
        check_unfolded(workbook_file(file))
        if workbook_file(file).name.lower().endswith(EXCEL):
            frame = read_sheet(file, header is not False, skip or 0).with_row_index(ROW, 1).lazy()
            return _with_partitions(Delivery(file, frame, frame.collect_schema()))
        if file.name.lower().endswith(PARQUET):
            frame = pl.scan_parquet(
                file, glob=False, row_index_name=ROW, row_index_offset=1, hive_partitioning=False
            ).with_columns(pl.selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))
            frame = flattened(frame)
            return _with_partitions(Delivery(file, frame, frame.collect_schema()))
        if file.name.lower().endswith(JSON_LINES):
            frame = flattened(pl.scan_ndjson(file, infer_schema_length=None, row_index_name=ROW, row_index_offset=1))
            return _with_partitions(Delivery(file, frame, frame.collect_schema()))
        return _with_partitions(open_text(file, separator, encoding, header, skip, quote))
    except UNREADABLE as error:
        raise read_error(str(file), error) from None


def flattened(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Replace nested structs by their fields, named by their path.

    Parameters
    ----------
    frame : polars.LazyFrame
        Rows of a file.

    Returns
    -------
    polars.LazyFrame
        The rows without structs; a field whose path is the name of another column is left out.

    Examples
    --------
    >>> flattened(pl.LazyFrame({"customer": [{"id": 7, "home": {"city": "Porto"}}]})).collect().to_dicts()
    [{'customer.id': 7, 'customer.home.city': 'Porto'}]
    """
    schema = frame.collect_schema()
    if not any(isinstance(kind, pl.Struct) for kind in schema.values()):
        return frame
    fields: dict[str, pl.Expr] = {}
    for name, kind in schema.items():
        for path, field_type, value in _fields(name, kind, pl.col(name)):
            text = field_type in (pl.Categorical, pl.Enum)
            if path == name or (path not in schema and path not in fields):
                fields[path] = (value.cast(pl.String) if text else value).alias(path)
    return frame.select(fields.values())


def _fields(path: str, kind: Any, value: pl.Expr) -> Iterator[tuple[str, Any, pl.Expr]]:
    """Paths, types and values of the fields of a column that hold no further fields."""
    if not isinstance(kind, pl.Struct):
        yield path, kind, value
        return
    for each in kind.fields:
        yield from _fields(f"{path}.{each.name}", kind.to_schema()[each.name], value.struct.field(each.name))


def renamed(delivery: Delivery, names: Mapping[str, str]) -> Delivery:
    """Give the columns of a file other names, where it has them.

    Parameters
    ----------
    delivery : Delivery
        The file.
    names : mapping of str to str
        Name in some files -> name in the others.

    Returns
    -------
    Delivery
        The file; a column that it has under both names is refused.

    Raises
    ------
    DataError
        If the file has two columns that get one name.
    """
    present = {old: new for old, new in names.items() if old in delivery.schema and old != new}
    kept = [name for name in delivery.schema if name not in present]
    for old, new in present.items():
        if new in kept or [*present.values()].count(new) > 1:
            raise DataError(f"{delivery.file} has two columns for {new} (data.source.rename.{old}); remove one of them")
    if not present:
        return delivery
    frame = delivery.frame.rename(present)
    return replace(delivery, frame=frame, schema=frame.collect_schema())


def _with_partitions(delivery: Delivery) -> Delivery:
    """The file with the columns of its folders, such as day=2024-01-05."""
    pairs = dict(part.split("=", 1) for part in delivery.file.parent.parts if "=" in part)
    names = [name for name in pairs if name and name not in delivery.schema]
    if not names:
        return delivery
    values = {name: None if pairs[name] == NULL_PARTITION else unquote(pairs[name]) for name in names}
    frame = delivery.frame.with_columns(pl.lit(value, pl.String).alias(name) for name, value in values.items())
    return replace(delivery, frame=frame, schema=frame.collect_schema(), partitions=tuple(names))


def open_text(
    file: Path,
    separator: str | None,
    encoding: str | None,
    header: bool | None = None,
    skip: int | None = None,
    quote: str | None = None,
) -> Delivery:
    """Open a text file. A file that is zipped, not UTF-8 or has lines that end with CR only is converted in memory.

    Parameters
    ----------
    file : Path
        CSV file, possibly compressed.
    separator : str or None
        Field separator; detected if None.
    encoding : str or None
        Encoding; detected if None.
    header : bool or None
        Whether the file has a header; detected if None.
    skip : int or None
        Lines above the header; detected if None.
    quote : str or None
        Quotation mark, "" for none; detected if None.

    Returns
    -------
    Delivery
        The file as a scan; all columns are text.

    Raises
    ------
    DataError
        If the file has no header or cannot be decoded.
    """
    asked = (separator, quote, header, skip, encoding)
    encoding = encoding or detect_encoding(file)
    source: Any = file
    head = read_head(file, encoding)
    only_cr = "\r" in head.rstrip("\r") and "\n" not in head
    if encoding != "utf-8" or only_cr or file.name.lower().endswith(".zip"):
        try:
            text = b"".join(byte_chunks(file)).decode(encoding)
            source = io.BytesIO((text.replace("\r", "\n") if only_cr else text).encode())
        except (UnicodeDecodeError, LookupError) as error:
            raise DataError(f"{file} cannot be read as {encoding} ({error}); set data.source.encoding") from None
    lines = head.lstrip("\ufeff").splitlines()
    form = detect_layout(lines, separator, header, skip, quote)
    if lines and form.skip >= len(lines):
        raise DataError(f"{file} has {len(lines)} lines, fewer than data.source.skip={form.skip} leaves out; lower it")
    options: dict[str, Any] = {
        "separator": form.separator, "has_header": form.header, "skip_lines": form.skip, "glob": False,
        "quote_char": form.quote or None,
    }  # fmt: skip
    frame = _scan(source, options, form.header)
    schema = frame.collect_schema()
    if len(schema) < 2:
        raise DataError(f"{file} has no header; add a first line that names the columns")
    fields = len(schema) - 1
    ragged: list[int] = []
    if fields > 1 and has_suspect_line(source, form, fields):
        rewritten = repaired_text(file, form, fields, encoding) if form.quote else None
        ragged = ragged_records(file, form, fields, encoding) if rewritten is None else rewritten.ragged
        if rewritten is not None:
            source = io.BytesIO(rewritten.text)
            frame = _scan(source, options | {"skip_lines": 0}, form.header)
    scan = options if source is file else None
    found = layout_findings(head, lines, form, encoding, asked) if lines else ()
    return Delivery(file, frame, schema, ragged, None if encoding == "utf-8" else encoding, options=scan, layout=found)


def _scan(source: Any, options: Mapping[str, Any], header: bool) -> pl.LazyFrame:
    """A text file in UTF-8 as a scan of text."""
    frame = pl.scan_csv(
        source, **options, infer_schema=False, truncate_ragged_lines=True, row_index_name=ROW, row_index_offset=1
    )
    if header:
        return frame
    names = frame.collect_schema().names()  # Polars counts from 0 or 1, depending on its version
    return frame.rename({c: f"column_{k}" for k, c in enumerate(names) if c != ROW})


def count_rows(delivery: Delivery) -> int:
    """Count the records of a file.

    Parameters
    ----------
    delivery : Delivery
        The file.

    Returns
    -------
    int
        Number of records.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    return int(collect(delivery.frame.select(pl.len()), str(delivery.file)).item())
