"""What a message or a response belongs to, as one text: its campaign, offer, arm and experiment."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

CONTACT_COLUMNS = ("campaign", "offer", "arm", "experiment")
SEPARATOR = "\x1f"  # between the parts of a key


def contact_key(rows: pl.DataFrame) -> pl.Series:
    """Join campaign, offer, arm and experiment to one text.

    Parameters
    ----------
    rows : polars.DataFrame
        Rows (R,) with any of `CONTACT_COLUMNS`.

    Returns
    -------
    polars.Series
        Text (R,), null for a row without any of them.
    """
    parts = [pl.col(c).cast(pl.String) if c in rows.columns else pl.lit(None, pl.String) for c in CONTACT_COLUMNS]
    joined = pl.concat_str([part.fill_null("") for part in parts], separator=SEPARATOR)
    return rows.select(pl.when(pl.any_horizontal(part.is_not_null() for part in parts)).then(joined).alias("key"))[
        "key"
    ]


def contact_table(keys: Sequence[str] | pl.Series) -> pl.DataFrame:
    """Split texts of `contact_key`.

    Parameters
    ----------
    keys : sequence of str
        Texts (C,).

    Returns
    -------
    polars.DataFrame
        `CONTACT_COLUMNS`, null where a part is missing.

    Examples
    --------
    >>> contact_table(contact_key(pl.DataFrame({"campaign": ["spring"], "arm": ["holdout"]}))).row(0)
    ('spring', None, 'holdout', None)
    """
    parts = pl.Series(keys, dtype=pl.String).str.split_exact(SEPARATOR, len(CONTACT_COLUMNS) - 1)
    table = parts.struct.rename_fields(list(CONTACT_COLUMNS)).struct.unnest()
    return table.with_columns(pl.when(pl.col(c) != "").then(pl.col(c)).alias(c) for c in CONTACT_COLUMNS)
