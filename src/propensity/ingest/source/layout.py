"""Layout of a text file: separator, quotation mark, header and lines above it, with the evidence for each."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

ALPHABET = "the letters of its words are those of a language of this code page"
UNICODE = ("utf-8", "utf-16")
SEPARATORS = (",", ";", "\t", "|")
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", "": "none", '"': '"', "'": "'"}
# a cell that is no name of a column
VALUE = r"^\s*[\"']?(?:[\d\s.,:/+\-€$£]*\d[\d\s.,:/+\-€$£]*|\d{4}-\d\d?-\d\d?[T ][\d:.+\-Z]*|)[\"']?\s*$"
DECLARED = r"^\"?sep=(.)\"?$"
EXAMINED = 100  # lines
MOST_ABOVE = 30  # lines above a header


class Finding(NamedTuple):
    """A format that was found in a file, and why."""

    what: str
    value: str
    evidence: str
    setting: str  # setting that decides it


class Layout(NamedTuple):
    """Layout of a text file."""

    separator: str
    quote: str  # "" for none
    header: bool
    skip: int  # lines above the header, or above the rows without one
    declared: bool = False  # by a line sep=;


def detect_layout(
    lines: Sequence[str],
    separator: str | None = None,
    header: bool | None = None,
    skip: int | None = None,
    quote: str | None = None,
) -> Layout:
    """Detect the layout of a text file.

    Parameters
    ----------
    lines : sequence of str
        First lines of the file.
    separator, header, skip, quote : optional
        Configured values, which are not detected.

    Returns
    -------
    Layout
        The layout.

    Examples
    --------
    >>> detect_layout(["Sales report 2024", "", "customer;day", "ann;2024-01-05", "bob;2024-01-06"])
    Layout(separator=';', quote='"', header=True, skip=2, declared=False)
    >>> detect_layout(["ann,2024-01-05,2.50", "bob,2024-01-06,1.99"]).header
    False
    """
    start = skip or 0
    declared = re.match(DECLARED, lines[start]) if len(lines) > start else None
    if declared:
        separator, start = separator or declared[1], start + 1
    rest = lines[start : start + EXAMINED]
    quote = detect_quote(rest) if quote is None else quote
    separator = separator or detect_separator(rest, quote)
    if skip is None:
        start += _lines_above(rest, separator, quote)
    if header is None:
        header = not _begins_with_values(lines[start : start + EXAMINED], separator, quote)
    return Layout(separator, quote, header, start, declared is not None)


def detect_separator(lines: Sequence[str], quote: str = '"') -> str:
    """Detect the field separator of a text file.

    Parameters
    ----------
    lines : sequence of str
        First lines of the file, perhaps with a header and lines above it.
    quote : str
        Quotation mark, "" for none.

    Returns
    -------
    str
        The one of comma, semicolon, tab and bar that most lines have equally often; if several are equal, the one that
        they have more often; a comma without any.

    Examples
    --------
    >>> detect_separator(["a;b;c", "x,1;2,5;3", "y;1,5;2"])
    ';'
    """
    scores = {}
    for separator in SEPARATORS:
        counts = [count for count in _counts(lines, separator, quote) if count is not None]
        if any(counts):
            often, share = _usual(counts)
            first = counts[0] == often  # a header has no separators in its values
            scores[separator] = (share + first, often)
    return max(scores, key=lambda separator: scores[separator]) if scores else ","


def detect_quote(lines: Sequence[str]) -> str:
    """Detect the quotation mark of a text file.

    Parameters
    ----------
    lines : sequence of str
        First lines of the file.

    Returns
    -------
    str
        The single quotation mark if it encloses fields in most lines and the double one in none; otherwise the double
        one.

    Examples
    --------
    >>> detect_quote(["'a';'b'", "'x';'d''or'"]), detect_quote(["a;b", "x;l'or"])
    ("'", '"')
    """
    enclosed = {mark: sum(map(bool, (re.search(_enclosed(mark), line) for line in lines))) for mark in "\"'"}
    return "'" if not enclosed['"'] and 2 * enclosed["'"] > len(lines) else '"'


def _enclosed(mark: str) -> str:
    """Pattern of a field in quotation marks."""
    return rf"(?:^|[,;\t|]){mark}[^{mark}]*{mark}(?:$|[,;\t|])"


def _counts(lines: Sequence[str], separator: str, quote: str) -> list[int | None]:
    """Separators outside quotation marks in each line, None for a blank line."""
    bare = [re.sub(f"{quote}[^{quote}]*{quote}", "", line) if quote else line for line in lines]
    return [line.count(separator) if text.strip() else None for line, text in zip(bare, lines, strict=True)]


def _usual(counts: Sequence[int]) -> tuple[int, float]:
    """The most frequent number but 0, and its share."""
    often, lines = Counter(count for count in counts if count).most_common(1)[0]
    return often, lines / len(counts)


def _lines_above(lines: Sequence[str], separator: str, quote: str) -> int:
    """Number of lines above the header: they have less than half of its separators, or a blank line follows them."""
    counts = _counts(lines, separator, quote)
    if not any(counts):
        return 0
    often, share = _usual([count for count in counts if count is not None])
    first = next(k for k, count in enumerate(counts) if count == often)
    above = counts[:first]
    if not above or first > MOST_ABOVE or len(lines) - first < 2:
        return 0
    apart = None in above or all(2 * (count or 0) < often for count in above)
    return first if apart and all((count or 0) < often for count in above) else 0


def _begins_with_values(lines: Sequence[str], separator: str, quote: str) -> bool:
    """Whether the first line holds values: at least half of the columns of numbers and dates hold one there too."""
    quoting = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    records = [record for record in csv.reader(lines, delimiter=separator, **quoting) if record]
    if not records or len(records[0]) < 2:
        return False
    first, rest = records[0], [record for record in records[1:] if len(record) == len(records[0])]
    if not rest:
        return all(re.match(VALUE, cell) for cell in first)
    valued = [
        k for k in range(len(first)) if sum(bool(re.match(VALUE, r[k])) and r[k] != "" for r in rest) > 0.9 * len(rest)
    ]
    named = sum(not re.match(VALUE, first[k]) or first[k].strip() == "" for k in valued)
    return bool(valued) and 2 * named <= len(valued)


def layout_findings(
    head: str, lines: Sequence[str], form: Layout, encoding: str, asked: Sequence[object]
) -> tuple[Finding, ...]:
    """Describe the layout of a text file.

    Parameters
    ----------
    head : str
        First characters of the file.
    lines : sequence of str
        First lines of the file.
    form : Layout
        Its layout.
    encoding : str
        Its encoding.
    asked : sequence
        Configured separator, quotation mark, header, lines above it and encoding, None where it was detected.

    Returns
    -------
    tuple of Finding
        Separator, quotation mark, header, lines above it, line ends and encoding.
    """
    rest = [line for line in lines[form.skip :][:EXAMINED] if line.strip()]
    counts = [count for count in _counts(rest, form.separator, form.quote) if count is not None]
    often, share = _usual(counts) if any(counts) else (0, 1.0)
    same = round(share * len(counts))
    enclosed = sum(bool(re.search(_enclosed(form.quote), line)) for line in rest) if form.quote else 0
    crlf, cr, lf = head.count("\r\n"), head.count("\r"), head.count("\n")
    ends = {"CR LF": crlf, "LF": lf - crlf, "CR": cr - crlf}
    values = (
        ("separator", NAMES.get(form.separator, form.separator), f"{often} in {same} of {len(counts)} lines"),
        ("quote", form.quote or "none", f"encloses fields in {enclosed} of {len(rest)} lines"),
        ("header", "yes" if form.header else "no", f"line {form.skip + 1} is {lines[form.skip][:40]!r}"),
        ("skip", str(form.skip), "the line sep= is the first" if form.declared else _above(lines, form.skip)),
        ("encoding", encoding, "all of it can be read so" if encoding in UNICODE else ALPHABET),
    )
    findings = [
        Finding(name, value, evidence if setting is None else "configured", f"data.source.{name}")
        for (name, value, evidence), setting in zip(values, asked, strict=True)
    ]
    used = {name: count for name, count in ends.items() if count}
    text = ", ".join(f"{count} {name}" for name, count in used.items())
    return (*findings, Finding("line ends", " and ".join(used) or "none", text or "one line", ""))


def _above(lines: Sequence[str], skip: int) -> str:
    """Evidence for the lines above the header."""
    return f"the first is {lines[0][:40]!r}" if skip else "no line without separators is above"
