"""Tables that a decision reads beside the scores: customers and promised contacts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from propensity.data.table_file import read_table
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.rule.matching import normal_ids, require_match, rows_of
from propensity.ingest.source.unfold import check_unfolded


def read(path: str, setting: str) -> pl.DataFrame:
    """A Parquet or CSV table that a setting names."""
    if not Path(path).is_file():
        raise ConfigurationError(f"no {setting} at {path}; give {setting}=<Parquet or CSV file>")
    check_unfolded(Path(path))
    try:
        if not path.endswith(".csv"):
            return read_table(Path(path))
        text = {"customer_id": pl.String} if "customer_id" in pl.read_csv(path, n_rows=0).columns else None
        return pl.read_csv(path, try_parse_dates=True, schema_overrides=text)  # ids keep their leading zeros
    except (pl.exceptions.PolarsError, OSError, MemoryError) as error:
        raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]}); write it again") from None


def aligned(table: pl.DataFrame, customer: np.ndarray, path: str) -> pl.DataFrame:
    """Aligns a table with the customers of the scores.

    Parameters
    ----------
    table : pl.DataFrame
        With a column customer_id, one row per customer.
    customer : np.ndarray
        (N,) ids; compared as text, so that 17 in one file is "17" in another.
    path : str
        Of the table, for error messages.

    Returns
    -------
    pl.DataFrame
        N rows in the order of `customer`; nulls for a customer that the table does not have.

    Raises
    ------
    DataError
        If there is no column customer_id, a customer has two rows, or under half of the ids match.
    """
    if "customer_id" not in table.columns:
        raise DataError(f"{path} has no column customer_id, only {', '.join(table.columns)}; name it so")
    scored = pl.Series("customer_id", customer)
    table = table.drop_nulls("customer_id")
    if table.height:
        require_match(table["customer_id"], scored, path, "the scores")
    row = pl.Series("?row", rows_of(table["customer_id"], scored))
    twice = table.filter((normal_ids(table["customer_id"]).is_duplicated()) | (row.is_duplicated() & (row >= 0)))
    if twice.height:
        raise DataError(f"{path} holds customer {normal_ids(twice['customer_id']).sort()[0]} twice; keep one row each")
    keyed = table.drop("customer_id").with_columns(row)
    return (
        pl.DataFrame({"customer_id": scored.cast(pl.String), "?row": np.arange(scored.len())})
        .join(keyed, on="?row", how="left", maintain_order="left")
        .drop("?row")
    )


def promised_contacts(table: pl.DataFrame, path: str) -> pl.DataFrame:
    """Contacts with customer_id as text, day as Date and channel (null where unknown); DataError for other tables."""
    for name in ("customer_id", "day"):
        if name not in table.columns:
            raise DataError(f"{path} has no column {name}; contacts hold customer_id, day and, if known, channel")
    channel = pl.col("channel").cast(pl.String) if "channel" in table.columns else pl.lit(None, pl.String)
    try:
        day = table["day"].str.to_date() if table["day"].dtype == pl.String else table["day"].cast(pl.Date)
    except pl.exceptions.PolarsError:
        raise DataError(f"column day of {path} holds something else than dates; write them as YYYY-MM-DD") from None
    return table.select(pl.col("customer_id").cast(pl.String), day.alias("day"), channel.alias("channel"))
