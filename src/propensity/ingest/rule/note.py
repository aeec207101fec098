"""What is worth saying of rows that are used: one bit a rule, so that millions of rows carry it for four bytes each."""

from __future__ import annotations

import polars as pl

NOTE_CODES = (
    "file_transcoded", "guest", "id_rewritten", "price_zero", "quantity_fraction", "amount_rewritten",
    "amount_converted", "line_returned", "day_late", "item_unlisted",
)  # fmt: skip


def note_bits(found: dict[str, pl.Expr]) -> pl.Expr:
    """One number a row, from what is true of it."""
    bits = [pl.when(found[code]).then(1 << NOTE_CODES.index(code)).otherwise(0) for code in found]
    return pl.sum_horizontal(*bits, pl.lit(0)).cast(pl.UInt32).alias("notes")


def count_notes(column: pl.Series) -> dict[str, int]:
    """How many rows say what, in the order of `NOTED`.

    >>> count_notes(pl.Series([3, 1, 0], dtype=pl.UInt32))
    {'file_transcoded': 2, 'guest': 1}
    """
    counts: dict[str, int] = {}
    for value, rows in column.value_counts().iter_rows():
        for bit, code in enumerate(NOTE_CODES):
            if value >> bit & 1:
                counts[code] = counts.get(code, 0) + rows
    return {code: counts[code] for code in NOTE_CODES if code in counts}
