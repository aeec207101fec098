"""A table of what customers did besides buying, with columns of its own: views, carts, searches, opens and clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from propensity.ingest.source.column_mapping import ColumnMapping
from propensity.ingest.source.delivery import Delivery
from propensity.ingest.source.file_format import detect_format
from propensity.ingest.source.id_normalisation import IdFormat
from propensity.ingest.source.reading import read_events

NOT_HERE = ("purchase", "return", "redemption")  # they have amounts, which this table has not


def read_behaviour(
    files: Sequence[Delivery],
    setting: Mapping[str, str],
    mapping: ColumnMapping,
    names: Sequence[str],
    ids: Mapping[str, IdFormat],
) -> list[pl.LazyFrame]:
    """Read a table of behaviour as events without amounts.

    Parameters
    ----------
    files : sequence of Delivery
        Files of the table.
    setting : mapping of str to str
        Names of the columns `customer`, `day` and optionally `item`, `kind`, `channel`, `time` and `campaign`.
    mapping : ColumnMapping
        Settings of the events; of them the words of kinds, the format of days and the time zones hold here too.
    names : sequence of str
        Names of all delivered files, the categories of the column `file`.
    ids : mapping of str to IdFormat
        Formats of customer and item ids.

    Returns
    -------
    list of polars.LazyFrame
        Events; without a column `kind` they are views. Purchases, returns and redemptions keep their word in brackets,
        so that they are quarantined as unknown kinds.
    """
    columns = {name: column for name, column in setting.items() if name != "path" and column}
    own = ColumnMapping(
        columns,
        day_format=mapping.day_format,
        timezone=mapping.timezone,
        kinds=mapping.kinds,
        times_in=mapping.times_in,
    )
    zero, kind = pl.lit(0.0), pl.col("kind")
    refused = pl.when(kind.is_in(NOT_HERE)).then(pl.format("({})", kind)).otherwise(kind)
    frames = []
    for each in files:
        cells = read_events(each, names, own, detect_format(each, own), ids)
        cells = cells.with_columns(
            quantity=zero, revenue=zero, discount=zero, kind=refused if "kind" in columns else pl.lit("view")
        )
        frames.append(cells if "item" in columns else cells.drop("item"))
    return frames
