"""Normalisation of ids: floats, leading zeros, invisible characters and Unicode forms."""

from __future__ import annotations

import polars as pl

from propensity.ingest.rule.distinct import computed, is_plain
from propensity.ingest.rule.number import BLANKS, clean_text

PADDED = r"^0+\d+$"
ADDRESS = r"^[^@\s]+@[^@\s]+$"
SCIENTIFIC = r"^[+-]?\d(?:[.,]\d+)?[eE]\+\d{2,}$"  # as a spreadsheet writes a long number
WRAPPED = r'^(?:="([^"]*)"|<([^<>\s]+@[^<>\s]+)>|([+-]?\d+)\.0+)$'  # ="007", <a@b.org> and 7.00
EXACT = 2**53  # from here on a whole number may be rounded in a column of floats


def normalised_id(
    column: str, dtype: pl.DataType, numeric: bool = False, padded: bool = True, fold: bool = False
) -> pl.Expr:
    """Build an expression that normalises ids.

    Parameters
    ----------
    column : str
        Name of the column.
    dtype : polars.DataType
        Type of the column.
    numeric : bool
        Keep whole numbers as integers; otherwise ids are text, and those that are e-mail addresses are in lower case.
    padded : bool
        Keep leading zeros.
    fold : bool
        Convert to lower case.

    Returns
    -------
    polars.Expr
        Ids, null for blank values.
    """
    value = pl.col(column)
    if dtype.is_integer() and numeric:
        return value.cast(pl.Int64, strict=False)
    if dtype.is_float():  # whole numbers become floats in a column with missing values
        value = pl.when(value == value.floor()).then(value).cast(pl.Int64, strict=False)
        if numeric:
            return value
    if dtype != pl.String:
        return _id_text(value, padded, fold)

    def apply(values: pl.Series) -> pl.Series:
        if padded and not fold and is_plain(values):
            return values.set(values.is_in(BLANKS), None)
        return computed(values, lambda text: _with_folded_addresses(_id_text(text, padded, fold)), pl.String())

    return value.map_batches(apply, return_dtype=pl.String(), is_elementwise=True)


def _id_text(value: pl.Expr, padded: bool, fold: bool) -> pl.Expr:
    """Ids as text."""
    text = clean_text(value, "NFKC").str.replace(WRAPPED, "$1$2$3")
    if not padded:
        text = text.str.replace(r"^0+(\d+)$", "$1")
    return text.str.to_lowercase() if fold else text


def _with_folded_addresses(text: pl.Expr) -> pl.Expr:
    """Ids with e-mail addresses in lower case."""
    address = text.str.contains("@", literal=True) & text.str.contains(ADDRESS)
    return pl.when(address).then(text.str.to_lowercase()).otherwise(text)


def is_truncated_id(column: str, dtype: pl.DataType) -> pl.Expr:
    """Build an expression that finds ids whose last digits are lost.

    Parameters
    ----------
    column : str
        Name of the column.
    dtype : polars.DataType
        Type of the column.

    Returns
    -------
    polars.Expr
        True for 1.23457E+12, which a spreadsheet wrote, and for floats that are too large to be exact.
    """
    if dtype == pl.String:
        return pl.col(column).str.strip_chars().str.contains(SCIENTIFIC).fill_null(False)
    if dtype.is_float():
        return (pl.col(column).abs() >= EXACT).fill_null(False)
    return pl.lit(False)


def clean_attribute(column: str, dtype: pl.DataType) -> pl.Expr:
    """Build an expression that cleans an attribute.

    Parameters
    ----------
    column : str
        Name of the column.
    dtype : polars.DataType
        Type of the column.

    Returns
    -------
    polars.Expr
        Numbers unchanged, other values as clean text; null for blank or infinite values.
    """
    if dtype.is_float():
        return pl.when(pl.col(column).is_finite()).then(pl.col(column)).alias(column)
    return pl.col(column) if dtype.is_numeric() else clean_text(pl.col(column)).alias(column)


def resolve_aliases(pairs: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Resolve chains of replaced ids.

    Parameters
    ----------
    pairs : polars.DataFrame
        Columns `alias` and `customer`, the id that replaces it.

    Returns
    -------
    aliases : polars.DataFrame
        Each replaced id and the end of its chain. In a cycle the smallest id replaces all; an alias with two
        replacements is not replaced.
    warnings : dict of str to int
        Number of ids by rule.

    Examples
    --------
    >>> resolve_aliases(pl.DataFrame({"alias": ["a", "b"], "customer": ["b", "c"]}))[0].rows()
    [('a', 'c'), ('b', 'c')]
    """
    pairs = pairs.drop_nulls().unique(maintain_order=True).filter(pl.col("alias") != pl.col("customer"))
    ambiguous = pairs.filter(pl.col("alias").is_duplicated())
    step = dict(pairs.join(ambiguous.select("alias").unique(), on="alias", how="anti").iter_rows())
    in_cycle: set[object] = set()
    ends = {alias: _chain_end(alias, step, in_cycle) for alias in step}
    rows = [(alias, end) for alias, end in ends.items() if alias != end]
    counts = {"identity_cycle": len(in_cycle), "identity_two_owners": ambiguous.height}
    schema = {"alias": pairs.schema["alias"], "customer": pairs.schema["customer"]}
    return pl.DataFrame(rows, schema, orient="row"), {code: count for code, count in counts.items() if count}


def _chain_end(start: object, step: dict[object, object], in_cycle: set[object]) -> object:
    """Last id of a chain, or the smallest of its cycle, whose ids are added to `in_cycle`."""
    path: dict[object, None] = {}
    at = start
    while at in step and at not in path:
        path[at] = None
        at = step[at]
    if at not in path:
        return at
    cycle = list(path)[list(path).index(at) :]
    in_cycle.update(cycle)
    return min(cycle, key=str)
