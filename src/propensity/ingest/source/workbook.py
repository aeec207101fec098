"""Sheets of Excel workbooks as tables. A workbook with several sheets needs the name of one: shop.xlsx#Orders."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import Any

import polars as pl

from propensity.errors import ConfigurationError, DataError

EXCEL = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
SHEET = "#"  # between the path of a workbook and the name of its sheet
MAX_BYTES = 512 << 20  # a workbook is read as a whole


def split_sheet(path: str) -> tuple[str, str | None]:
    """Split the path of a workbook and the name of its sheet.

    Parameters
    ----------
    path : str
        Path of any file.

    Returns
    -------
    path : str
        Path of the file.
    sheet : str or None
        Name of the sheet, None without one.

    Examples
    --------
    >>> split_sheet("in/shop.xlsx#Orders 2024"), split_sheet("in/a#b.csv")
    (('in/shop.xlsx', 'Orders 2024'), ('in/a#b.csv', None))
    """
    for ending in EXCEL:
        head, mark, sheet = path.partition(f"{ending}{SHEET}")
        if mark and sheet:
            return f"{head}{ending}", sheet
    return path, None


def workbook_file(path: Path) -> Path:
    """Path of a file without the name of a sheet.

    Parameters
    ----------
    path : Path
        Path of any file.

    Returns
    -------
    Path
        The file.
    """
    return Path(split_sheet(str(path))[0])


def read_sheet(path: Path, header: bool = True, skip: int = 0) -> pl.DataFrame:
    """Read a sheet of a workbook.

    Parameters
    ----------
    path : Path
        Workbook, with the name of a sheet if it has several with rows.
    header : bool
        Whether the first row has the names of the columns; otherwise they are column_1, column_2 and so on.
    skip : int
        Rows above the header.

    Returns
    -------
    polars.DataFrame
        Rows with any value. A column of one type has it; a column of several is text.

    Raises
    ------
    ConfigurationError
        If the package of the extra `excel` is missing, or a sheet has to be named.
    DataError
        If the file cannot be read or is too large.
    """
    try:
        reader: Any = importlib.import_module("fastexcel")
    except ImportError:
        raise ConfigurationError(
            f"{path} is a workbook, which needs the package fastexcel; pip install 'propensity[excel]', or save its "
            "sheet as CSV"
        ) from None
    file, sheet = split_sheet(str(path))
    if Path(file).stat().st_size > MAX_BYTES:
        raise DataError(
            f"{file} is larger than {MAX_BYTES >> 20} MB, too large for a workbook; save it as CSV or Parquet"
        )
    try:
        book = reader.read_excel(file)
        name = _sheet(book, file, sheet)
        options: dict[str, Any] = {"header_row": skip} if header else {"header_row": None, "skip_rows": skip}
        table = book.load_sheet(name, schema_sample_rows=None, dtype_coercion="coerce", **options).to_polars()
    except ConfigurationError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} cannot be read ({reason[:160]}); deliver it again") from None
    if not header:
        table = table.rename({name: f"column_{k}" for k, name in enumerate(table.columns, 1)})
    return table.filter(~pl.all_horizontal(pl.all().is_null())) if table.width else table


def _sheet(book: Any, file: str, sheet: str | None) -> str:
    """Name of the sheet to read."""
    names = [str(name) for name in book.sheet_names]
    if sheet is not None:
        if sheet not in names:
            raise ConfigurationError(f"{file} has no sheet {sheet!r}; its sheets are {', '.join(names)}")
        return sheet
    filled = []
    for name in names:
        with contextlib.suppress(Exception):
            if book.load_sheet(name, n_rows=1).height:
                filled.append(name)
    if len(filled) != 1 and len(names) != 1:
        raise ConfigurationError(
            f"{file} has the sheets {', '.join(names)}; name one, such as {file}{SHEET}{(filled or names)[0]}"
        )
    return (filled or names)[0]
