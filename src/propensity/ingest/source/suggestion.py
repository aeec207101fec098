"""Draft of the column mapping of a table, from the names, types and first values of its columns."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from propensity.errors import DataError
from propensity.ingest.contract import EVENTS, Column, mandatory
from propensity.ingest.rule.day import PARTS, DayFormat, read_day
from propensity.ingest.rule.number import clean_text, read_number
from propensity.ingest.source.delivery import ROW, collect, open_files

HEAD = 2_000  # rows that are read
WITHOUT = {  # columns that the configuration asks for, null included, and what null means
    "item": "with null all lines are of one item",
    "revenue": "with null revenue counts units, not money",
}
MIN_PRODUCTS = 5  # rows with several units from which a unit price is recognised
MIN_READABLE = 0.95  # share of values that must have the type of the column
DURATIONS = ("since", "gap", "diff", "ago", "until")


def suggest(path: str) -> str:
    """Draft the command that prepares a log from a table.

    Parameters
    ----------
    path : str
        File or pattern of files; the first is read.

    Returns
    -------
    str
        A shell command with a question mark for each required column without a candidate, and comments about decisions
        that the user must make.

    Raises
    ------
    ConfigurationError
        If there is no file.
    DataError
        If the file has no rows or cannot be read.
    """
    delivery = open_files(path, "suggest")[0]
    rows = collect(delivery.frame.head(HEAD), str(delivery.file)).drop(ROW)
    if rows.is_empty():
        raise DataError(f"{delivery.file} has no rows to read; choose a file with rows")
    mapping = draft_mapping(rows)
    lines = [f"# a draft, from the first {rows.height:,} rows of {delivery.file}; correct it, then try check=true"]
    lines += ["propensity prepare data/source=table out=data/mine \\", f"    data.source.events='{path}' \\"]
    for column in EVENTS:
        name = mapping.get(column.name)
        if name is not None or column.default is None or column.name in WITHOUT:
            value = f"'{name}'" if name else "?" if column.default is None else "null"
            lines.append(f"    data.source.columns.{column.name}={value} \\")
    others = [name for name in rows.columns if name not in mapping.values() and _may_describe(rows[name])]
    if others:
        lines.append(f"    'data.source.item_columns=[{', '.join(others)}]' # those that describe the item")
    return "\n".join([*lines, *mapping_warnings(rows, mapping, str(Path(path).name))]).rstrip("\\ ")


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
        candidates = [name for name in rows.columns if name not in mapping.values() and fits(column, rows[name])]
        ranked = sorted(((name_similarity(column, name), name) for name in candidates), key=lambda pair: -pair[0])
        if ranked and ranked[0][0] > 0:
            mapping[column.name] = ranked[0][1]
        elif ranked and column.name == "day":
            mapping["day"] = ranked[0][1]  # the only kind of column that reads as dates
    revenue = next(column for column in EVENTS if column.name == "revenue")
    if "revenue" not in mapping and name_similarity(revenue, mapping.get("quantity", "")) > 1:
        mapping["revenue"] = mapping.pop("quantity")  # an amount alone is money
    return mapping


def line_total(rows: pl.DataFrame, mapping: dict[str, str]) -> str | None:
    """Find the column that is the product of quantity and revenue, so that revenue is the price of one unit.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    mapping : dict of str to str
        Mapping of `draft_mapping`.

    Returns
    -------
    str or None
        Name of the column, None without one.
    """
    if not {"quantity", "revenue"} <= mapping.keys():
        return None
    for name in rows.columns:
        if name in (mapping["quantity"], mapping["revenue"]) or rows.schema[name].is_temporal():
            continue
        columns = {"units": mapping["quantity"], "price": mapping["revenue"], "total": name}
        numbers = rows.select(read_number(pl.col(column), ".").alias(key) for key, column in columns.items())
        numbers = numbers.drop_nulls().filter((pl.col("units") != 1) & (pl.col("price") != 0))
        equal = ((pl.col("units") * pl.col("price") - pl.col("total")).abs() <= 0.01).mean()
        if numbers.height >= MIN_PRODUCTS and numbers.select(equal).item() >= MIN_READABLE:
            return name
    return None


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
    normalised = name.lower().replace(" ", "_").replace("-", "_")
    squeezed = normalised.replace("_", "")
    names = (column.name, *column.aliases)
    if squeezed == column.name.replace("_", ""):
        return 3.0
    positions = [k for k, alias in enumerate(names) if alias.replace("_", "") == squeezed]
    if positions:
        return 2.0 - 0.01 * positions[0]
    return max((len(alias) / (len(normalised) + 10) for alias in names if alias in normalised), default=0.0)


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
        return (
            not dates
            and _readable_share(frame.select(read_number(pl.col(name), ".")).to_series(), values) >= MIN_READABLE
        )
    if column.type == "id":
        return not values.dtype.is_temporal() and not (values.dtype.is_float() and (values % 1 != 0).any())
    words = frame.select(clean_text(pl.col(name))).to_series()
    return not values.dtype.is_temporal() and words.n_unique() <= 50


def _readable_share(read: pl.Series, values: pl.Series) -> float:
    """Share of the present values that could be read."""
    present = values.to_frame().select(clean_text(pl.col(values.name)).is_not_null().sum()).item()
    return (len(read) - read.null_count()) / present if present else 0.0


def _may_describe(values: pl.Series) -> bool:
    """Whether a column may describe items: text or codes with repeated values."""
    kind = values.dtype
    return (kind == pl.String or kind.is_integer()) and 1 < values.n_unique() <= max(0.5 * len(values), 2)


def mapping_warnings(rows: pl.DataFrame, mapping: dict[str, str], file: str) -> list[str]:
    """List what the user must decide about a draft.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    mapping : dict of str to str
        Mapping of `draft_mapping`.
    file : str
        Name of the file.

    Returns
    -------
    list of str
        Shell comments about missing columns, the order of dates, cancelled orders and unit prices.
    """
    lines = [f"# {name}: no column of {file} matches" for name in mandatory(EVENTS) if name not in mapping]
    lines += [f"# {name}: no column of {file} matches; {WITHOUT[name]}" for name in WITHOUT if name not in mapping]
    if "day" not in mapping:
        durations = [name for name in rows.columns if any(word in name.lower() for word in DURATIONS)]
        details = f"; {', '.join(durations)} holds durations between dates, not dates" if durations else ""
        lines.append(f"# calendar dates are required, and {file} has none{details}")
    elif rows.schema[mapping["day"]] == pl.String:
        text = rows.select(clean_text(pl.col(mapping["day"])).str.contains(PARTS).any()).item()
        if text:
            lines.append(f"# {mapping['day']}: if the order of day and month is unclear, add data.source.day_format")
    if "order" in mapping and rows.schema[mapping["order"]] == pl.String:
        letters = rows[mapping["order"]].str.extract(r"^([A-Za-z]+)\d+$").drop_nulls().unique().sort().to_list()
        lines += [
            f"# orders such as {prefix}...: if they are cancellations, add \"data.source.cancelled='^{prefix}'\""
            for prefix in letters[:3]
        ]
    if total := line_total(rows, mapping):
        lines.append(
            f"# {total} is {mapping['quantity']} x {mapping['revenue']}: add data.source.revenue_is=unit, "
            f"or map revenue to {total}"
        )
    elif "quantity" in mapping and "revenue" in mapping and "unit" in mapping["revenue"].lower():
        lines.append(f"# {mapping['revenue']} may be the price of one unit: if so, add data.source.revenue_is=unit")
    return lines
