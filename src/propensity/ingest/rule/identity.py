"""Ids in one writing: numbers that met a missing value, padded numbers, invisible characters, Unicode forms."""

from __future__ import annotations

import polars as pl

from propensity.ingest.rule.number import clean_text

PADDED = r"^0+\d+$"


def normalised_id(
    column: str, dtype: pl.DataType, numeric: bool = False, padded: bool = True, fold: bool = False
) -> pl.Expr:
    """An id: whole numbers stay numbers where `numeric`, all else is text; blanks are null.

    padded: zeros in front of a number belong to it. fold: case does not.
    """
    value = pl.col(column)
    if dtype.is_integer() and numeric:
        return value.cast(pl.Int64, strict=False)
    if dtype.is_float():  # whole numbers that met a missing value on their way here
        value = pl.when(value == value.floor()).then(value).cast(pl.Int64, strict=False)
        if numeric:
            return value
    text = clean_text(value, "NFKC").str.replace(r"^([+-]?\d+)\.0+$", "$1")
    if not padded:
        text = text.str.replace(r"^0+(\d+)$", "$1")
    return text.str.to_lowercase() if fold else text


def clean_attribute(column: str, dtype: pl.DataType) -> pl.Expr:
    """A number as it is, anything else as clean text; blanks are null."""
    if dtype.is_float():
        return pl.when(pl.col(column).is_finite()).then(pl.col(column)).alias(column)
    return pl.col(column) if dtype.is_numeric() else clean_text(pl.col(column)).alias(column)


def resolve_aliases(pairs: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Who each id stands for, from rows (alias, customer): chains are followed to their end.

    A circle stands for its smallest id; an alias with two owners stays its own.
    Returns: (alias, customer) for the ids that stand for another, and how many rows broke which rule.
    >>> resolve_aliases(pl.DataFrame({"alias": ["a", "b"], "customer": ["b", "c"]}))[0].rows()
    [('a', 'c'), ('b', 'c')]
    """
    pairs = pairs.drop_nulls().unique(maintain_order=True).filter(pl.col("alias") != pl.col("customer"))
    twice = pairs.filter(pl.col("alias").is_duplicated())
    step = dict(pairs.join(twice.select("alias").unique(), on="alias", how="anti").iter_rows())
    circled: set[object] = set()
    found = {alias: _end(alias, step, circled) for alias in step}
    rows = [(alias, owner) for alias, owner in found.items() if alias != owner]
    broken = {"identity_cycle": len(circled), "identity_two_owners": twice.height}
    schema = {"alias": pairs.schema["alias"], "customer": pairs.schema["customer"]}
    return pl.DataFrame(rows, schema, orient="row"), {code: count for code, count in broken.items() if count}


def _end(start: object, step: dict[object, object], circled: set[object]) -> object:
    """The last id of a chain, or the smallest of the circle that it runs into."""
    path: dict[object, None] = {}
    at = start
    while at in step and at not in path:
        path[at] = None
        at = step[at]
    if at not in path:
        return at
    circle = list(path)[list(path).index(at) :]
    circled.update(circle)
    return min(circle, key=str)
