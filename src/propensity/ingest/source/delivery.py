"""Delivered files as scans: where they are, whether they open, in which encoding, which of their lines are whole."""

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
CHUNK = 1 << 22
LINE = {"line": pl.String}


@dataclass(frozen=True)
class Delivery:
    """One file: its scan, `row_in_file` counting records from 1; its columns; the records of another length."""

    file: Path
    frame: pl.LazyFrame
    schema: pl.Schema
    ragged: list[int] = field(default_factory=list)
    encoding: str | None = None

    def column(self, name: str, setting: str) -> str:
        """The column, if it is there; ConfigurationError with the nearest name otherwise."""
        names = [c for c in self.schema.names() if c != ROW]
        if name not in names:
            near = closest_name(name, names)
            raise ConfigurationError(
                f"{setting}={name} is no column of {self.file}; nearest is {near!r} of {len(names)}"
            )
        kind = self.schema[name]
        if kind.is_nested() or kind in (pl.Binary, pl.Object, pl.Duration, pl.Time):
            raise DataError(f"{self.file} column {name} ({setting}) holds {kind}; it must be text, numbers or dates")
        return name


def open_files(path: str, setting: str, separator: str = ",", encoding: str | None = None) -> list[Delivery]:
    """The files of a pattern by name, opened. Raises: ConfigurationError for none, DataError for an unreadable one."""
    return [open_file(file, separator, encoding) for file in find_files(path, setting)]


def find_files(path: str, setting: str) -> list[Path]:
    place = Path(path).expanduser()
    if place.is_dir():
        raise ConfigurationError(f"{setting}={path} is a folder; give a pattern such as {place / '*.parquet'}")
    files = [place] if place.is_file() else sorted(Path(name) for name in glob(str(place), recursive=True))
    if not files:
        raise ConfigurationError(f"{setting}={path} finds no file; correct the path, which starts at {Path.cwd()}")
    for file in files:
        if not file.name.lower().endswith(PARQUET + TEXT):
            raise ConfigurationError(
                f"{setting}={file} is neither CSV nor Parquet by its name; use {' or '.join(PARQUET[:1] + TEXT[:1])}"
            )
    return files


def split_duplicates(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """The files without those that repeat the bytes of an earlier one, and the latter."""
    sizes = [file.stat().st_size for file in files]
    seen: set[Any] = set()
    kept: list[Path] = []
    again: list[Path] = []
    for file, size in zip(files, sizes, strict=True):
        key = (size, digest(file)) if sizes.count(size) > 1 and size else file
        (again if key in seen else kept).append(file)
        seen.add(key)
    return kept, again


def digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_file(file: Path, separator: str = ",", encoding: str | None = None) -> Delivery:
    """A scan whose columns are known; cells of text files are text. DataError for a file that does not get so far."""
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
    found = encoding or encoding_of(file)
    source: Any = file
    if found != "utf-8":
        try:
            source = io.BytesIO(b"".join(_opened(file)).decode(found).encode())
        except (UnicodeDecodeError, LookupError) as error:
            raise DataError(f"{file} cannot be read as {found} ({error}); give data.source.encoding") from None
    options: dict[str, Any] = {"separator": separator, "infer_schema": False, "glob": False}
    frame = pl.scan_csv(source, **options, truncate_ragged_lines=True, row_index_name=ROW, row_index_offset=1)
    schema = frame.collect_schema()
    if len(schema) < 2:
        raise DataError(f"{file} has no header; the first line must name the columns")
    ragged = ragged_records(file, source, separator, len(schema) - 1, found) if len(schema) > 2 else []
    return Delivery(file, frame, schema, ragged, None if found == "utf-8" else found)


def encoding_of(file: Path) -> str:
    """utf-8, utf-16 by its mark, or Windows-1252 for what is neither; DataError for a file with a byte 0."""
    decoder, line, found = codecs.getincrementaldecoder("utf-8")(), 1, "utf-8"
    for k, chunk in enumerate(_opened(file)):
        if k == 0 and chunk[:2] in MARKS:
            return MARKS[chunk[:2]]
        if (at := chunk.find(b"\0")) >= 0:
            line += chunk[:at].count(b"\n")
            raise DataError(f"{file} cannot be read (line {line} holds a byte 0, so it is no text); deliver it again")
        if found == "utf-8":
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                found = "cp1252"
        line += chunk.count(b"\n")
    return found if found == "utf-8" or _decodes(file, found) else "latin-1"


def _decodes(file: Path, encoding: str) -> bool:
    try:
        for chunk in _opened(file):
            chunk.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _opened(file: Path) -> Iterator[bytes]:
    """The bytes of a text file; of a zst file none, which is left to its reader."""
    name = file.name.lower()
    if name.endswith(".zst"):
        return
    with gzip.open(file, "rb") if name.endswith(".gz") else open(file, "rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def ragged_records(file: Path, source: Any, separator: str, fields: int, encoding: str) -> list[int]:
    """Numbers, from 1, of the records with another number of fields than the header.

    A stream counts separators outside quotes; only a file in which a line differs is read again record by record.
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
    kind = "utf-8-sig" if encoding == "utf-8" else encoding
    if file.name.lower().endswith(".gz"):
        return io.TextIOWrapper(gzip.open(file, "rb"), encoding=kind, newline="")
    return open(file, encoding=kind, newline="")


def read_attribute_table(path: str, setting: str, key: str, key_setting: str, separator: str = ",") -> pl.LazyFrame:
    """A table of items or customers: text for its key, the best types for all else. Files follow each other by name."""
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
    """How many records a file has."""
    return int(collect(delivery.frame.select(pl.len()), str(delivery.file)).item())


def collect(frame: pl.LazyFrame, path: str) -> pl.DataFrame:
    """Runs a scan of `path`; a file that turns out to be damaged further down is a DataError."""
    try:
        return frame.collect(engine="streaming")
    except UNREADABLE as error:
        raise read_error(path, error) from None


def collect_all(frames: list[pl.LazyFrame], path: str) -> list[pl.DataFrame]:
    """Runs several scans of `path` at once."""
    try:
        return pl.collect_all(frames, engine="streaming")
    except UNREADABLE as error:
        raise read_error(path, error) from None


def read_error(path: str, error: BaseException) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
    return DataError(f"{path} cannot be read ({reason}); deliver it again")


def closest_name(name: str, names: Collection[str]) -> str:
    """The name most like `name`, whatever the case."""
    lower = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.0)
    return lower[close[0]] if close else ""


def check_keys(given: Mapping[str, Any], keys: Collection[str], setting: str) -> None:
    """ConfigurationError for a key that a setting does not have."""
    for name in given:
        if name not in keys:
            raise ConfigurationError(f"{setting} has no key {name!r}; nearest is {closest_name(name, keys)!r}")
