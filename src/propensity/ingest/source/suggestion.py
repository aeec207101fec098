"""A draft of the mapping of a table nobody described: from the names of its columns, their types and first rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from propensity.errors import DataError
from propensity.ingest.contract import EVENTS, Column, mandatory
from propensity.ingest.rule.day import PARTS, DayStyle, read_day
from propensity.ingest.rule.number import clean, read_number
from propensity.ingest.source.delivery import ROW, collect, deliveries

HEAD = 2_000  # rows that are looked at
SURE = 0.95  # of the rows must read as what the column would be
GAPS = ("since", "gap", "diff", "ago", "until")


def suggest(path: str) -> str:
    """The command that reads `path`, as far as it can be guessed, with a question mark where it cannot.

    Raises: ConfigurationError for no file, DataError for one without rows or that cannot be read.
    """
    delivery = deliveries(path, "suggest")[0]
    rows = collect(delivery.frame.head(HEAD), str(delivery.file)).drop(ROW)
    if rows.is_empty():
        raise DataError(f"{delivery.file} has no rows; there is nothing to go by")
    found = draft(rows)
    lines = [f"# a draft, from the first {rows.height:,} rows of {delivery.file}; correct it, then try check=true"]
    lines += ["propensity prepare data/source=table out=data/mine \\", f"    data.source.events='{path}' \\"]
    for column in EVENTS:
        name = found.get(column.name)
        if name is not None or column.absent is None:
            value = f"'{name}'" if name else "?"
            lines.append(f"    data.source.columns.{column.name}={value} \\")
    others = [name for name in rows.columns if name not in found.values() and _describes(rows[name])]
    if others:
        lines.append(f"    'data.source.item_columns=[{', '.join(others)}]' # those that describe the item")
    return "\n".join([*lines, *warnings(rows, found, str(Path(path).name))]).rstrip("\\ ")


def draft(rows: pl.DataFrame) -> dict[str, str]:
    """Our names to those of some rows: the best name whose values fit; each column is taken once."""
    found: dict[str, str] = {}
    for column in EVENTS:
        fit = [name for name in rows.columns if name not in found.values() and fits(column, rows[name])]
        ranked = sorted(((likeness(column, name), name) for name in fit), key=lambda pair: -pair[0])
        if ranked and ranked[0][0] > 0:
            found[column.name] = ranked[0][1]
        elif ranked and column.name == "day":
            found["day"] = ranked[0][1]  # nothing else reads as dates
    return found


def likeness(column: Column, name: str) -> float:
    """How much a name sounds like a column of ours: 3 the same, 2 as others call it, 1 in part, 0 not at all."""
    bare = name.lower().replace(" ", "_").replace("-", "_")
    ours = (column.name, *column.names)
    if bare.replace("_", "") in {word.replace("_", "") for word in ours[:1]}:
        return 3.0
    if bare.replace("_", "") in {word.replace("_", "") for word in ours}:
        return 2.0 - 0.01 * ours.index(next(w for w in ours if w.replace("_", "") == bare.replace("_", "")))
    return max((len(word) / (len(bare) + 10) for word in ours if word in bare), default=0.0)


def fits(column: Column, values: pl.Series) -> bool:
    """Whether values read as what a column of ours holds."""
    frame, name = values.to_frame(), values.name
    if column.type == "date":
        if any(word in name.lower() for word in GAPS):
            return False
        day = read_day(name, values.dtype, DayStyle(first="month"))
        other = read_day(name, values.dtype, DayStyle(first="day"))
        return max(_share(frame.select(way).to_series(), values) for way in (day, other)) >= SURE
    if column.type == "number":
        dates = values.dtype.is_temporal()
        return not dates and _share(frame.select(read_number(pl.col(name), ".")).to_series(), values) >= SURE
    if column.type == "id":
        return not values.dtype.is_temporal() and not (values.dtype.is_float() and (values % 1 != 0).any())
    words = frame.select(clean(pl.col(name))).to_series()
    return not values.dtype.is_temporal() and words.n_unique() <= 50


def _share(read: pl.Series, values: pl.Series) -> float:
    """Share of the values that are there which could be read."""
    there = values.to_frame().select(clean(pl.col(values.name)).is_not_null().sum()).item()
    return (len(read) - read.null_count()) / there if there else 0.0


def _describes(values: pl.Series) -> bool:
    """Whether a column could describe items: text or codes, with values that repeat."""
    kind = values.dtype
    return (kind == pl.String or kind.is_integer()) and 1 < values.n_unique() <= max(0.5 * len(values), 2)


def warnings(rows: pl.DataFrame, found: dict[str, str], file: str) -> list[str]:
    """What a person must decide: what is missing, which way dates go, what negative amounts and prefixes mean."""
    said = [f"# {name}: no column of {file} looks like it" for name in mandatory(EVENTS) if name not in found]
    if "day" not in found:
        gaps = [name for name in rows.columns if any(word in name.lower() for word in GAPS)]
        also = f"; {', '.join(gaps)} holds gaps between dates, which say no date" if gaps else ""
        said.append(f"# a send date needs calendar dates, and {file} has none{also}")
    elif rows.schema[found["day"]] == pl.String:
        text = rows.select(clean(pl.col(found["day"])).str.contains(PARTS).any()).item()
        said += (
            [f"# {found['day']}: if it is day or month first does not show, add data.source.day_format"] if text else []
        )
    if "order" in found and rows.schema[found["order"]] == pl.String:
        letters = rows[found["order"]].str.extract(r"^([A-Za-z]+)\d+$").drop_nulls().unique().sort().to_list()
        said += [
            f"# orders such as {mark}...: if they cancel, add 'data.source.cancelled=^{mark}'" for mark in letters[:3]
        ]
    if "quantity" in found and "revenue" in found and "unit" in found["revenue"].lower():
        said.append(f"# {found['revenue']} sounds like the price of one: add data.source.revenue_is=unit")
    return said
