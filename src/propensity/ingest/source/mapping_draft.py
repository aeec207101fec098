"""Draft of a mapping: which columns of a table are those of the contract, by their names and values."""

from __future__ import annotations

import polars as pl

from propensity.ingest.contract import EVENTS, Column
from propensity.ingest.rule.day import DayFormat, read_day
from propensity.ingest.rule.number import clean_text, read_number
from propensity.ingest.source.column_name import names_of, normalised_name
from propensity.ingest.source.line_refund import REFUNDS
from propensity.ingest.source.reading import KIND_OF, WITH_PERCENT
from propensity.kernel.event import KINDS

# a name does not tell whether they are of an order or a line, and before or after discounts
NOT_DRAFTED = ("order_discount", "order_total", "order_refund", *REFUNDS)
EXACT = ("description", "parent", "event_id")  # drafted by their full names only
MIN_READABLE = 0.95  # share of values that must have the type of the column
DURATIONS = ("since", "gap", "diff", "ago", "until")


def draft_mapping(rows: pl.DataFrame) -> dict[str, str]:
    """Assign columns of a table to the columns of the contract.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.

    Returns
    -------
    dict of str to str
        Contract column -> table column: the most similar name whose values fit. Each table column is used once.
    """
    mapping: dict[str, str] = {}
    for column in EVENTS:
        if column.name in NOT_DRAFTED:
            continue
        free = [name for name in rows.columns if name not in mapping.values()]
        candidates = [name for name in free if name_similarity(column, name) > 0 or column.name == "day"]
        candidates = [name for name in candidates if fits(column, rows[name])]
        ranked = sorted(((name_similarity(column, name), name) for name in candidates), key=lambda pair: -pair[0])
        if ranked and ranked[0][0] > (1 if column.name in EXACT else 0):
            mapping[column.name] = ranked[0][1]
        elif ranked and column.name == "day":
            mapping["day"] = ranked[0][1]  # the only kind of column that reads as dates
    revenue = next(column for column in EVENTS if column.name == "revenue")
    if "revenue" not in mapping and name_similarity(revenue, mapping.get("quantity", "")) > 1:
        mapping["revenue"] = mapping.pop("quantity")  # an amount alone is money
    return mapping


def name_similarity(column: Column, name: str) -> float:
    """Compare a name with a column of the contract.

    Parameters
    ----------
    column : Column
        Column of the contract.
    name : str
        Column of a table.

    Returns
    -------
    float
        3 for the same name, about 2 for an alias, below 1 for a name that contains one, 0 otherwise.
    """
    normalised = normalised_name(name)
    squeezed = normalised.replace("_", "")
    names = (column.name, *column.aliases, *names_of(column.name))
    if squeezed == column.name.replace("_", ""):
        return 3.0
    positions = [k for k, alias in enumerate(names) if alias.replace("_", "") == squeezed]
    if positions:
        return max(1.1, 2.0 - 0.01 * positions[0])
    parts = (alias for alias in names if len(alias) > 2 and alias in normalised)
    return max((len(alias) / (len(normalised) + 10) for alias in parts), default=0.0)


def fits(column: Column, values: pl.Series) -> bool:
    """Tell whether values have the type of a column of the contract.

    Parameters
    ----------
    column : Column
        Column of the contract.
    values : polars.Series
        Values of a table column.

    Returns
    -------
    bool
        True if they can be read as the column's type.
    """
    frame, name = values.to_frame(), values.name
    if column.type == "date":
        if any(word in name.lower() for word in DURATIONS):
            return False
        day = read_day(name, values.dtype, DayFormat(first="month"))
        other = read_day(name, values.dtype, DayFormat(first="day"))
        return max(_readable_share(frame.select(date).to_series(), values) for date in (day, other)) >= MIN_READABLE
    if column.type == "number":
        dates = values.dtype.is_temporal()
        text = pl.col(name).cast(pl.String)
        text = text.str.replace(r"\s*%\s*$", "") if column.name in WITH_PERCENT else text
        return not dates and _readable_share(frame.select(read_number(text, ".")).to_series(), values) >= MIN_READABLE
    if column.type == "id":
        return not values.dtype.is_temporal() and not (values.dtype.is_float() and (values % 1 != 0).any())
    if column.name == "description":
        return values.dtype == pl.String
    words = frame.select(clean_text(pl.col(name))).to_series()
    if column.name == "kind":
        known = words.str.to_lowercase().drop_nulls().is_in([*KIND_OF, *KINDS])
        return bool(known.sum() > 0.5 * len(known))
    return not values.dtype.is_temporal() and words.n_unique() <= 50


def _readable_share(read: pl.Series, values: pl.Series) -> float:
    """Share of the present values that could be read."""
    present = values.to_frame().select(clean_text(pl.col(values.name)).is_not_null().sum()).item()
    return (len(read) - read.null_count()) / present if present else 0.0
