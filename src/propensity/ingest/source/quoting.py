"""Quotation marks that do not enclose a field, such as those of 5" pipe, in text files."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from typing import NamedTuple

MOST_LINES = 20  # physical lines of one record; with more, its quotation mark is a character like others


class Record(NamedTuple):
    """A record of a text file."""

    text: str  # as it is written, with its line ends
    fields: list[str] | None  # of a record with odd quotation marks; None for one that needs no repair


def records(lines: Iterable[str], separator: str, mark: str) -> Iterator[Record]:
    """Split a text into records.

    Parameters
    ----------
    lines : iterable of str
        Lines with their ends.
    separator : str
        Field separator.
    mark : str
        Quotation mark.

    Yields
    ------
    Record
        Records of one or several lines. A quotation mark that encloses no field is a character like others.

    Examples
    --------
    >>> [record.fields for record in records(['a,5" pipe,2\\n', 'b,"x\\n', 'y",3\\n'], ",", '"')]
    [['a', '5" pipe', '2'], None]
    """
    quoted, plain = f"{mark}(?:[^{mark}]|{mark}{mark})*{mark}", f"[^{mark}{re.escape(separator)}\n\r]*"
    whole = re.compile(rf"(?:{quoted}|{plain})(?:{re.escape(separator)}(?:{quoted}|{plain}))*[\r\n]*")
    following, ahead = iter(lines), deque[str]()
    while (line := ahead.popleft() if ahead else next(following, None)) is not None:
        if mark not in line or whole.fullmatch(line):
            yield Record(line, None)
            continue
        ahead.extend(islice(following, MOST_LINES - len(ahead)))
        texts = list(accumulate([line, *ahead]))
        size = next((k for k, text in enumerate(texts) if mark in text[len(line) :] and whole.fullmatch(text)), 0)
        if not size:
            yield Record(line, [bare(cell, mark) for cell in line.rstrip("\r\n").split(separator)])
            continue
        yield Record(texts[size], None)
        for _ in range(size):
            ahead.popleft()


def bare(cell: str, mark: str) -> str:
    """Remove the marks that enclose a cell, and the backslash before marks within it.

    Parameters
    ----------
    cell : str
        Cell.
    mark : str
        Quotation mark.

    Returns
    -------
    str
        The cell.

    Examples
    --------
    >>> bare('"5\\\\" pipe"', '"'), bare('5" pipe', '"'), bare('"open', '"')
    ('5" pipe', '5" pipe', '"open')
    """
    enclosed = len(cell) > 1 and cell[0] == cell[-1] == mark
    return cell[1:-1].replace(f"\\{mark}", mark).replace(2 * mark, mark) if enclosed else cell


class Repaired(NamedTuple):
    """A text whose marks all enclose fields."""

    text: bytes
    ragged: list[int]  # records with more or fewer fields than the header, counted from 1


def repaired(lines: Iterable[str], separator: str, mark: str, fields: int, header: bool) -> Repaired | None:
    """Rewrite a text in which quotation marks stand within fields.

    Parameters
    ----------
    lines : iterable of str
        Lines from the header on, or from the first record without one.
    separator : str
        Field separator.
    mark : str
        Quotation mark.
    fields : int
        Number of fields of the header.
    header : bool
        Whether the first record is a header.

    Returns
    -------
    Repaired or None
        None if every mark encloses a field.
    """
    out, ragged, odd = io.StringIO(), list[int](), False
    writer = csv.writer(out, delimiter=separator, quotechar=mark, lineterminator="\n")
    for k, record in enumerate(records(lines, separator, mark), 1 - header):
        if record.fields is None:
            out.write(record.text)
            if mark not in record.text:
                count = record.text.count(separator) + 1
            else:
                count = len(next(csv.reader(record.text.splitlines(True), delimiter=separator, quotechar=mark)))
        else:
            odd, count = True, len(record.fields)
            writer.writerow(record.fields)
        if k > 0 and record.text.strip("\r\n") and count != fields:
            ragged.append(k)
    return Repaired(out.getvalue().encode(), ragged) if odd else None
