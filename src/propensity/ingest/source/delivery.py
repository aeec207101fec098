"""Delivered files as scans: paths, encodings, columns and ragged lines."""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from glob import escape, glob
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import unquote

import polars as pl

from propensity.errors import ConfigurationError, DataError
from propensity.ingest.source.code_page import code_page, words_beyond_ascii
from propensity.ingest.source.layout import Finding, Layout, detect_layout, layout_findings
from propensity.ingest.source.quoting import Repaired, repaired
from propensity.ingest.source.unfold import check_unfolded
from propensity.ingest.source.workbook import EXCEL, SHEET, read_sheet, split_sheet, workbook_file

PARQUET = (".parquet", ".pq")
TEXT = tuple(f".{kind}{packed}" for packed in ("", ".gz", ".zip", ".zst") for kind in ("csv", "tsv", "txt"))
JSON_LINES = (".jsonl", ".ndjson")
HEAD_LINES = 1_000  # of a zst file
HEAD = 1 << 16  # bytes from which the layout of a text file is detected
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, EOFError, csv.Error, zipfile.BadZipFile)
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
        If there is no file, or a file is neither CSV, JSON lines nor Parquet by its name.
    """
    location = Path(path).expanduser()
    if location.is_dir():
        known = (
            file for file in location.rglob("*") if file.name.lower().endswith(PARQUET + TEXT + JSON_LINES + EXCEL)
        )
        file = next(known, location / "sales.parquet")
        pattern = location / ("**" if file.parent != location else "") / f"*{file.suffix}"
        raise ConfigurationError(f"{setting}={path} is a folder; use a pattern such as {pattern}")
    plain, sheet = split_sheet(str(location))
    files = [location] if location.is_file() else _matching(plain)
    if not files:
        raise ConfigurationError(
            f"{setting}={path} matches no file; correct the path, which is relative to {Path.cwd()}"
        )
    for file in files:
        if not file.name.lower().endswith(PARQUET + TEXT + JSON_LINES + EXCEL):
            raise ConfigurationError(
                f"{setting}={file} is neither CSV, JSON lines, Parquet nor Excel by its name; "
                f"use {', '.join(PARQUET[:1] + TEXT[:1] + JSON_LINES[:1] + EXCEL[:1])}"
            )
    return files if sheet is None else [Path(f"{file}{SHEET}{sheet}") for file in files]


def _matching(pattern: str) -> list[Path]:
    """Files that match a pattern, sorted; brackets in the names of folders and files that exist are no pattern."""
    files = sorted(Path(name) for name in glob(pattern, recursive=True))
    if files or "[" not in pattern:
        return files
    literal, parts = Path(), Path(pattern).parts
    for k, part in enumerate(parts):
        if not (literal / part).exists():
            rest = [re.sub(r"\[", "[[]", each) for each in parts[k:]]
            return sorted(Path(name) for name in glob(str(Path(escape(str(literal)), *rest)), recursive=True))
        literal = literal / part
    return [literal] if literal.is_file() else []


def split_duplicates(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Separate files with the same bytes as an earlier file, and the same partition if folder names are columns.

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
    sizes = [workbook_file(file).stat().st_size for file in files]
    keys: set[Any] = set()
    distinct: list[Path] = []
    duplicates: list[Path] = []
    for file, size in zip(files, sizes, strict=True):
        folders = [part for part in file.parent.parts if "=" in part]  # they hold values of the rows
        key = (
            (size, digest(workbook_file(file)), *folders, split_sheet(file.name)[1])
            if sizes.count(size) > 1 and size
            else file
        )
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
    head = _head(file, encoding)
    only_cr = "\r" in head.rstrip("\r") and "\n" not in head
    if encoding != "utf-8" or only_cr or file.name.lower().endswith(".zip"):
        try:
            text = b"".join(_chunks(file)).decode(encoding)
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
    if fields > 1 and _has_suspect_line(source, form, fields):
        rewritten = _repaired(file, form, fields, encoding) if form.quote else None
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


def _repaired(file: Path, form: Layout, fields: int, encoding: str) -> Repaired | None:
    """The text of a file with quotation marks within fields, None for another."""
    with _text(file, encoding) as stream:
        for _ in range(form.skip):
            stream.readline()
        return repaired(stream, form.separator, form.quote, fields, form.header)


def _head(file: Path, encoding: str) -> str:
    """The first characters of a text file, up to its last whole line."""
    if file.name.lower().endswith(".zst"):
        lines = pl.scan_csv(file, has_header=False, separator="\x1f", quote_char=None, schema=LINE, glob=False,
                            truncate_ragged_lines=True).head(HEAD_LINES).collect()["line"]  # fmt: skip
        return "\n".join(line or "" for line in lines) + "\n"
    data = next(_chunks(file), b"")[:HEAD]
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
                encoding = ""
        line += chunk.count(b"\n")
    return encoding or otherwise or _code_page(file)


def _code_page(file: Path) -> str:
    """Code page of a text file; DataError if two readings are about as likely, or none is."""
    found = code_page(words_beyond_ascii(_chunks(file)))
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
    with _binary(file) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _binary(file: Path) -> IO[bytes]:
    """A text file, possibly compressed, opened for reading its bytes; DataError for an archive of several files."""
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


def _has_suspect_line(source: Any, form: Layout, fields: int) -> bool:
    """Whether a line may have more or fewer fields than the header, or a quotation mark that encloses none.

    A streaming scan counts separators outside quotes. Only a file with such a line is read record by record.
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
    return io.TextIOWrapper(_binary(file), encoding=kind, newline="")


def read_attribute_table(
    path: str,
    setting: str,
    key: str,
    key_setting: str,
    separator: str | None = None,
    encoding: str | None = None,
) -> pl.LazyFrame:
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
    separator : str, optional
        Field separator of text files; detected by default.
    encoding : str, optional
        Encoding of text files that are neither UTF-8 nor UTF-16; detected by default.

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
    for each in open_files(path, setting, separator, encoding):
        each.column(key, key_setting)
        _check_repeated(each, setting)
        if each.options is None:
            frames.append(each.frame.drop(ROW))
            continue
        typed = {key: pl.String}
        try:
            frame = pl.scan_csv(
                each.file,
                **each.options,
                infer_schema_length=None,
                schema_overrides=typed,
                truncate_ragged_lines=True,
            )
            frame.collect_schema()
        except UNREADABLE as error:
            raise read_error(str(each.file), error) from None
        frames.append(frame)
    return pl.concat(frames, how="diagonal_relaxed")


def _check_repeated(delivery: Delivery, setting: str) -> None:
    """DataError if two columns of a table have one name and different values."""
    names = delivery.schema.names()
    for name in (each for each in names if f"{each}{REPEATED}" in names):
        differ = pl.col(name).ne_missing(pl.col(f"{name}{REPEATED}")).any()
        if collect(delivery.frame.select(differ), str(delivery.file)).item():
            raise DataError(
                f"{delivery.file} has the column {name} ({setting}) twice, with different values, as columns "
                f"{names.index(name) + 1} and {names.index(f'{name}{REPEATED}') + 1}; rename one of them"
            )


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
