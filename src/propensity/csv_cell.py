"""Cells of CSV files that people open in a spreadsheet: no cell is a formula."""

from __future__ import annotations

from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # first characters that spreadsheets run, as OWASP lists them


def neutral(value: Any) -> Any:
    """A cell that no spreadsheet runs: text that begins like a formula gets an apostrophe in front.

    Parameters
    ----------
    value : object
        Cell. Numbers are not changed; text that is a number is neither.

    Examples
    --------
    >>> neutral("=1+1"), neutral(" @x"), neutral(-3.5), neutral("-3.5"), neutral("milk")
    ("'=1+1", "' @x", -3.5, '-3.5', 'milk')
    """
    if not isinstance(value, str) or not value.lstrip(" \u00a0\ufeff").startswith(FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text.strip() == text
