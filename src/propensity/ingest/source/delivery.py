"""Delivered files as scans: paths, encodings, columns and ragged lines."""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from glob import glob
from pathlib import Path
from typing import IO, Any

import polars as pl

from propensity.errors import ConfigurationError, DataError

PARQUET = (".parquet", ".pq")
TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".csv.zst")
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, EOFError, csv.Error)
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
ROW = "row_in_file"
REPEATED = "_duplicated_0"  # suffix that Polars gives to the second column of a name
COMPLETED = "completed_line"
CHUNK = 1 << 22
LINE = {"line": pl.String}


@dataclass(frozen=True)
class Delivery:
    """A delivered file."""

    file: Path
    frame: pl.LazyFrame  # with `row_in_file`, the number of the record, counted from 1
    schema: pl.Schema
    ragged: list[int] = field(default_factory=list)  # records with more or fewer fields than the header
    encoding: str | None = None  # encoding from which the file was converted; None for UTF-8
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
            raise ConfigurationError(
                f"{setting}={name} is not a column of {self.file}; the closest of its {len(names)} columns is {near!r}"
            )
        if f"{name}{REPEATED}" in names:
            raise DataError(
                f"{self.file} has the column {name} ({setting}) twice, as columns {names.index(name) + 1} and "
                f"{names.index(f'{name}{REPEATED}') + 1}; rename one of them"
            )
        kind = self.schema[name]
        if kind.is_nested() or kind in (pl.Binary, pl.Object, pl.Duration, pl.Time):
            raise DataError(f"{self.file} column {name} ({setting}) has type {kind}; deliver text, numbers or dates")
        return name


def open_files(path: str, setting: str, separator: str = ",", encoding: str | None = None) -> list[Delivery]:
    """Open the files of a pattern.

    Parameters
    ----------
    path : str
        File or pattern of files.
    setting : str
        Setting of the path, for error messages.
    separator : str
        Field separator of text files.
    encoding : str, optional
        Encoding of text files; detected by default.

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
    return [open_file(file, separator, encoding) for file in find_files(path, setting)]


def find_files(path: str, setting: str) -> list[Path]:
    """List the files of a pattern.

    Parameters
    ----------
    path : str
        File or pattern of files.
    setting : str
        Setting of the path, for error messages.

    Returns
    -------
    list of Path
        Files sorted by name.

    Raises
    ------
    ConfigurationError
        If there is no file, or a file is neither CSV nor Parquet by its name.
    """
    location = Path(path).expanduser()
    if location.is_dir():
        raise ConfigurationError(f"{setting}={path} is a folder; use a pattern such as {location / '*.parquet'}")
    files = [location] if location.is_file() else sorted(Path(name) for name in glob(str(location), recursive=True))
    if not files:
        raise ConfigurationError(
            f"{setting}={path} matches no file; correct the path, which is relative to {Path.cwd()}"
        )
    for file in files:
        if not file.name.lower().endswith(PARQUET + TEXT):
            raise ConfigurationError(
                f"{setting}={file} is neither CSV nor Parquet by its name; use {' or '.join(PARQUET[:1] + TEXT[:1])}"
            )
    return files


def split_duplicates(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Separate files with the same bytes as an earlier file.

    Parameters
    ----------
    files : list of Path
        Files.

    Returns
    -------
    distinct : list of Path
        The first file of each content.
    duplicates : list of Path
        The other files.
    """
    sizes = [file.stat().st_size for file in files]
    keys: set[Any] = set()
    distinct: list[Path] = []
    duplicates: list[Path] = []
    for file, size in zip(files, sizes, strict=True):
        key = (size, digest(file)) if sizes.count(size) > 1 and size else file
        (duplicates if key in keys else distinct).append(file)
        keys.add(key)
    return distinct, duplicates


def digest(file: Path) -> str:
    """Hash a file.

    Parameters
    ----------
    file : Path
        File.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_file(file: Path, separator: str = ",", encoding: str | None = None) -> Delivery:
    """Open a file.

    Parameters
    ----------
    file : Path
        CSV or Parquet file.
    separator : str
        Field separator of text files.
    encoding : str, optional
        Encoding of text files; detected by default.

    Returns
    -------
    Delivery
        The file as a scan; all columns of text files are text.

    Raises
    ------
    DataError
        If the file is empty or cannot be read.
    """
    try:
        if file.stat().st_size == 0:
            raise DataError(f"{file} is empty (0 bytes); deliver it again")
        if file.name.lower().endswith(PARQUET):
            frame = pl.scan_parquet(file, glob=False, row_index_name=ROW, row_index_offset=1)
            return Delivery(file, frame, frame.collect_schema())
        return open_text(file, separator, encoding)
    except UNREADABLE as error:
        raise read_error(str(file), error) from None


def open_text(file: Path, separator: str, encoding: str | None) -> Delivery:
    """Open a text file. A file that is not UTF-8 is converted in memory.

    Parameters
    ----------
    file : Path
        CSV file, possibly compressed.
    separator : str
        Field separator.
    encoding : str or None
        Encoding; detected if None.

    Returns
    -------
    Delivery
        The file as a scan; all columns are text.

    Raises
    ------
    DataError
        If the file has no header or cannot be decoded.
    """
    encoding = encoding or detect_encoding(file)
    source: Any = file
    if encoding != "utf-8":
        try:
            source = io.BytesIO(b"".join(_chunks(file)).decode(encoding).encode())
        except (UnicodeDecodeError, LookupError) as error:
            raise DataError(f"{file} cannot be read as {encoding} ({error}); set data.source.encoding") from None
    options: dict[str, Any] = {"separator": separator, "infer_schema": False, "glob": False}
    frame = pl.scan_csv(source, **options, truncate_ragged_lines=True, row_index_name=ROW, row_index_offset=1)
    schema = frame.collect_schema()
    if len(schema) < 2:
        raise DataError(f"{file} has no header; add a first line that names the columns")
    ragged = ragged_records(file, source, separator, len(schema) - 1, encoding) if len(schema) > 2 else []
    return Delivery(file, frame, schema, ragged, None if encoding == "utf-8" else encoding)


def detect_encoding(file: Path) -> str:
    """Detect the encoding of a text file.

    Parameters
    ----------
    file : Path
        Text file.

    Returns
    -------
    str
        "utf-16" with a byte order mark, otherwise the first of "utf-8", "cp1252" and "latin-1" that decodes the file.

    Raises
    ------
    DataError
        If a file without the mark has a zero byte.
    """
    decoder, line, encoding = codecs.getincrementaldecoder("utf-8")(), 1, "utf-8"
    for k, chunk in enumerate(_chunks(file)):
        if k == 0 and chunk[:2] in MARKS:
            return MARKS[chunk[:2]]
        if (at := chunk.find(b"\0")) >= 0:
            line += chunk[:at].count(b"\n")
            raise DataError(f"{file} cannot be read (line {line} has a zero byte, so it is not text); deliver it again")
        if encoding == "utf-8":
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                encoding = "cp1252"
        line += chunk.count(b"\n")
    return encoding if encoding == "utf-8" or _decodes(file, encoding) else "latin-1"


def _decodes(file: Path, encoding: str) -> bool:
    """Whether a file can be decoded."""
    try:
        for chunk in _chunks(file):
            chunk.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _chunks(file: Path) -> Iterator[bytes]:
    """Bytes of a text file; nothing for a zst file, which Polars decompresses."""
    name = file.name.lower()
    if name.endswith(".zst"):
        return
    with gzip.open(file, "rb") if name.endswith(".gz") else open(file, "rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def ragged_records(file: Path, source: Any, separator: str, fields: int, encoding: str) -> list[int]:
    """Find the records with more or fewer fields than the header.

    A streaming scan counts separators outside quotes. Only a file with a suspect line is read record by record.

    Parameters
    ----------
    file : Path
        Text file.
    source : Path or file
        The same text in UTF-8.
    separator : str
        Field separator.
    fields : int
        Number of fields of the header.
    encoding : str
        Encoding of the file.

    Returns
    -------
    list of int
        Numbers of the records, counted from 1.
    """
    lines = pl.scan_csv(
        source, has_header=False, separator="\x1f", quote_char=None, schema=LINE, glob=False, truncate_ragged_lines=True
    )
    bare = pl.col("line").str.replace_all('"[^"]*"', "").str.strip_chars("\r")
    odd = (bare.str.count_matches(separator, literal=True) != fields - 1) & (bare != "")
    suspect = lines.select((odd | bare.str.contains('"', literal=True)).any()).collect(engine="streaming").item()
    if not suspect:
        return []
    csv.field_size_limit(1 << 24)
    with _text(file, encoding) as stream:
        records = csv.reader(stream, delimiter=separator)
        next(records, None)
        return [k for k, record in enumerate(records, 1) if record and len(record) != fields]


def _text(file: Path, encoding: str) -> IO[str]:
    """A text file, possibly compressed, opened for reading."""
    kind = "utf-8-sig" if encoding == "utf-8" else encoding
    if file.name.lower().endswith(".gz"):
        return io.TextIOWrapper(gzip.open(file, "rb"), encoding=kind, newline="")
    return open(file, encoding=kind, newline="")


def read_attribute_table(path: str, setting: str, key: str, key_setting: str, separator: str = ",") -> pl.LazyFrame:
    """Open a table of items or customers.

    Parameters
    ----------
    path : str
        File or pattern of files.
    setting : str
        Setting of the path, for error messages.
    key : str
        Column of the ids.
    key_setting : str
        Setting of `key`, for error messages.
    separator : str
        Field separator of text files.

    Returns
    -------
    polars.LazyFrame
        All files, sorted by name. In text files the key is text and other types are inferred.

    Raises
    ------
    ConfigurationError
        If there is no file or no column `key`.
    DataError
        If a file cannot be read.
    """
    frames = []
    for each in open_files(path, setting, separator):
        each.column(key, key_setting)
        if each.file.name.lower().endswith(PARQUET) or each.encoding is not None:
            frames.append(each.frame.drop(ROW))
            continue
        typed = {key: pl.String}
        try:
            frame = pl.scan_csv(
                each.file,
                separator=separator,
                infer_schema_length=None,
                schema_overrides=typed,
                truncate_ragged_lines=True,
                glob=False,
            )
            frame.collect_schema()
        except UNREADABLE as error:
            raise read_error(str(each.file), error) from None
        frames.append(frame)
    return pl.concat(frames, how="diagonal_relaxed")


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


def collect(frame: pl.LazyFrame, path: str) -> pl.DataFrame:
    """Collect a scan.

    Parameters
    ----------
    frame : polars.LazyFrame
        Scan.
    path : str
        Path of the scan, for the error message.

    Returns
    -------
    polars.DataFrame
        The rows.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    try:
        return frame.collect(engine="streaming")
    except UNREADABLE as error:
        raise read_error(path, error) from None


def collect_all(frames: list[pl.LazyFrame], path: str) -> list[pl.DataFrame]:
    """Collect several scans of the same files together.

    Parameters
    ----------
    frames : list of polars.LazyFrame
        Scans.
    path : str
        Path of the scans, for the error message.

    Returns
    -------
    list of polars.DataFrame
        The rows of each scan.

    Raises
    ------
    DataError
        If a file is damaged.
    """
    try:
        return pl.collect_all(frames, engine="streaming")
    except UNREADABLE as error:
        raise read_error(path, error) from None


def read_error(path: str, error: BaseException) -> DataError:
    """Create the error for a file that cannot be read.

    Parameters
    ----------
    path : str
        Path of the file.
    error : BaseException
        Cause.

    Returns
    -------
    DataError
        An error with the first line of the cause.
    """
    reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
    return DataError(f"{path} cannot be read ({reason}); deliver it again")


def closest_name(name: str, names: Collection[str]) -> str:
    """Find the most similar name, ignoring case.

    Parameters
    ----------
    name : str
        Name that does not exist.
    names : collection of str
        Existing names.

    Returns
    -------
    str
        One of `names`, or "" if there are none.
    """
    lower = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.0)
    return lower[close[0]] if close else ""


def check_keys(values: Mapping[str, Any], keys: Collection[str], setting: str) -> None:
    """Check the keys of a setting.

    Parameters
    ----------
    values : mapping
        Value of the setting.
    keys : collection of str
        Valid keys.
    setting : str
        Name of the setting.

    Raises
    ------
    ConfigurationError
        If a key is not valid; the message contains the closest key.
    """
    for name in values:
        if name not in keys:
            raise ConfigurationError(f"{setting} has no key {name!r}; the closest key is {closest_name(name, keys)!r}")
