"""Warnings on rows that are used, one bit per rule, so that a row needs four bytes for all of them."""

from __future__ import annotations

import polars as pl

NOTE_CODES = (
    "file_transcoded", "guest", "id_rewritten", "price_zero", "quantity_fraction", "amount_rewritten",
    "amount_converted", "line_returned", "day_late", "item_unlisted", "line_completed",
    "customer_zero", "discount_divided", "time_unreadable", "cost_unreadable", "probability_unreadable",
    "refund_deducted", "not_product_kept",
)  # fmt: skip


def note_bits(conditions: dict[str, pl.Expr]) -> pl.Expr:
    """Build an expression that encodes conditions as bits.

    Parameters
    ----------
    conditions : dict of str to polars.Expr
        Boolean expression by code of `NOTE_CODES`.

    Returns
    -------
    polars.Expr
        One UInt32 per row, named `notes`.
    """
    bits = [pl.when(conditions[code]).then(1 << NOTE_CODES.index(code)).otherwise(0) for code in conditions]
    return pl.sum_horizontal(*bits, pl.lit(0)).cast(pl.UInt32).alias("notes")


def has_note(code: str) -> pl.Expr:
    """Build an expression that tells whether a row has a warning.

    Parameters
    ----------
    code : str
        One of `NOTE_CODES`.

    Returns
    -------
    polars.Expr
        True where the bit is set in the column `notes`.
    """
    return (pl.col("notes") & (1 << NOTE_CODES.index(code))) > 0


def count_notes(column: pl.Series) -> dict[str, int]:
    """Count rows by warning.

    Parameters
    ----------
    column : polars.Series
        Values of `note_bits`.

    Returns
    -------
    dict of str to int
        Number of rows by code, in the order of `NOTE_CODES`.

    Examples
    --------
    >>> count_notes(pl.Series([3, 1, 0], dtype=pl.UInt32))
    {'file_transcoded': 2, 'guest': 1}
    """
    counts: dict[str, int] = {}
    for value, rows in column.value_counts().iter_rows():
        for bit, code in enumerate(NOTE_CODES):
            if value >> bit & 1:
                counts[code] = counts.get(code, 0) + rows
    return {code: counts[code] for code in NOTE_CODES if code in counts}
