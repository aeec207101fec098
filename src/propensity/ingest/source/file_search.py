"""Files that a path, a folder or a pattern names, and copies of one file among them."""

from __future__ import annotations

import hashlib
import re
from glob import escape, glob
from pathlib import Path
from typing import Any

from propensity.errors import ConfigurationError
from propensity.ingest.source.workbook import EXCEL, SHEET, split_sheet, workbook_file

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
PARQUET = (".parquet", ".pq")
TEXT = tuple(f".{kind}{packed}" for packed in ("", ".gz", ".zip", ".zst") for kind in ("csv", "tsv", "txt"))
JSON_LINES = (".jsonl", ".ndjson")
READABLE = PARQUET + TEXT + JSON_LINES + EXCEL


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
        readable = (file for file in location.rglob("*") if file.name.lower().endswith(READABLE))
        file = next(readable, location / "sales.parquet")
        pattern = location / ("**" if file.parent != location else "") / f"*{file.suffix}"
        raise ConfigurationError(f"{setting}={path} is a folder; use a pattern such as {pattern}")
    plain, sheet = split_sheet(str(location))
    files = [location] if location.is_file() else _matching(plain)
    if not files:
        raise ConfigurationError(
            f"{setting}={path} matches no file; correct the path, which is relative to {Path.cwd()}"
        )
    for file in files:
        if not file.name.lower().endswith(READABLE):
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
