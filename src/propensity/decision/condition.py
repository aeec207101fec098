"""SQL conditions over the columns of a table, given in settings or built in."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import polars as pl

from propensity.errors import ConfigurationError

# Lifecycle of a customer: `tenure` is days since the first purchase, `recency` days since the last one.
LIFECYCLE = {
    "new": "tenure < 90",
    "active": "tenure >= 90 AND recency <= 28",
    "dormant": "tenure >= 90 AND recency > 28 AND recency <= 91",
    "lapsed": "tenure >= 90 AND recency > 91",
}


def rows_where(table: pl.DataFrame, condition: str, setting: str) -> np.ndarray:
    """Rows of a table for which an SQL condition holds.

    Parameters
    ----------
    table : pl.DataFrame
        n rows.
    condition : str
        SQL over the columns of `table`; null counts as false.
    setting : str
        What the error message calls the condition, such as ``decision.named.new``.

    Returns
    -------
    np.ndarray
        (n,) bool.

    Raises
    ------
    ConfigurationError
        If the condition is no SQL, names a column that the table does not have, or does not fit its type.

    Examples
    --------
    >>> rows_where(pl.DataFrame({"age": [17, None, 40]}), "age >= 18", "decision.where")
    array([False, False,  True])
    """
    try:
        mask = table.select(pl.sql_expr(condition).cast(pl.Boolean).fill_null(False)).to_series().to_numpy()
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f"{setting} ({condition}) cannot be applied: {reason}") from None
    return np.broadcast_to(mask, (table.height,))  # a condition on no column has one value


WORDS = {"and", "or", "not", "in", "is", "null", "between", "true", "false", "like"}
TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*')|(?P<quoted>"[^"]+")|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[^\W\d]\w*)"""
    r"""|(?P<sign><=|>=|<>|!=|=|<|>|\(|\)|,))"""
)
MAX_CONDITION = 2_000  # characters


def refuse_more_than_comparisons(condition: str, setting: str, longest: int = MAX_CONDITION) -> None:
    """Refuse an SQL condition that is more than comparisons of columns with values; for conditions of strangers.

    Parameters
    ----------
    condition : str
        Comparisons, IN, BETWEEN, LIKE and IS NULL, joined by AND, OR, NOT and parentheses.
    setting : str
        What the error message calls the condition.
    longest : int
        Characters that it may have.

    Raises
    ------
    ConfigurationError
        For a call of a function, arithmetic, a subquery, a cast, a comment, or more than `longest` characters.

    Examples
    --------
    >>> refuse_more_than_comparisons("age >= 18 AND city IN ('Rome', 'Bari')", "filter")
    """
    place, former = 0, ""
    while len(condition) <= longest and (token := TOKEN.match(condition, place)):
        word = (token["word"] or "").lower()
        called = token["sign"] == "(" and former == "name"
        beside = former == "name" and bool(token["quoted"] or (word and word not in WORDS) or token["text"])
        if called or beside or word in ("select", "from", "cast", "case"):
            break
        former = "name" if token["quoted"] or (word and word not in WORDS) else "other"
        place = token.end()
    if not condition.strip() or condition[place:].strip():
        raise ConfigurationError(
            f"{setting} may only compare columns with values, such as age >= 18 AND city IN ('Rome'); it reads "
            f"{condition[:80]!r}"
        )


def applicable(conditions: Mapping[str, str], columns: list[str]) -> tuple[dict[str, str], list[str]]:
    """Built-in conditions whose columns exist, and the names of the others, each with the columns that it lacks.

    Parameters
    ----------
    conditions : Mapping[str, str]
        Name to SQL condition.
    columns : list[str]
        Columns of the table that the conditions are meant for.

    Returns
    -------
    tuple[dict[str, str], list[str]]
        The conditions that can be computed, and one text ``name (needs column)`` for each that cannot.

    Examples
    --------
    >>> applicable({"new": "tenure < 90", "loyal": "orders > 9"}, ["tenure"])
    ({'new': 'tenure < 90'}, ['loyal (needs orders)'])
    """
    missing = {name: [c for c in columns_of(rule) if c not in columns] for name, rule in conditions.items()}
    left_out = [f"{name} (needs {', '.join(lacking)})" for name, lacking in missing.items() if lacking]
    return {name: rule for name, rule in conditions.items() if not missing[name]}, left_out


def columns_of(condition: str) -> list[str]:
    """Columns that an SQL condition names, in order, once each."""
    return list(dict.fromkeys(pl.sql_expr(condition).meta.root_names()))
