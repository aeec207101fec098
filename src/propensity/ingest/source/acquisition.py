"""When, how and at what cost customers were acquired; customers of the table without any event are registrants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from propensity.errors import ConfigurationError
from propensity.ingest.contract import ACQUISITION
from propensity.ingest.rule.day import DayFormat, read_day
from propensity.ingest.rule.number import clean_text
from propensity.ingest.rule.screen import is_storable
from propensity.ingest.source.collection import collect
from propensity.ingest.source.column_mapping import ColumnMapping
from propensity.ingest.source.delivery import Delivery
from propensity.ingest.source.file_format import detect_format
from propensity.ingest.source.id_normalisation import IdFormat
from propensity.ingest.source.known_name import check_keys
from propensity.ingest.source.people import apply_identity_map, detect_day_format
from propensity.ingest.source.reading import read_amount

SETTING = "data.source.acquisition"


def check_acquisition(setting: Mapping[str, str] | None, customers: str | None) -> None:
    """Check the setting.

    Parameters
    ----------
    setting : mapping of str to str, optional
        Column of the table of customers for each of day, channel and cost.
    customers : str, optional
        Path of that table.

    Raises
    ------
    ConfigurationError
        If a key is unknown or there is no table of customers.
    """
    if not setting:
        return
    check_keys(setting, [column.name for column in ACQUISITION], SETTING)
    if customers is None:
        raise ConfigurationError(
            f"{SETTING} names columns of the table of customers, but data.source.customers is null; set both"
        )


def read_acquisition(
    files: Sequence[Delivery],
    setting: Mapping[str, str],
    key: str,
    ids: IdFormat,
    style: DayFormat,
    decimal: str | None,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Read the columns from the table of customers, under the rules for dates and amounts of events.

    Parameters
    ----------
    files : sequence of Delivery
        Files of the table.
    setting : mapping of str to str
        Names of the columns day, channel and cost, those that there are.
    key : str
        Column of the ids.
    ids : IdFormat
        Format of customer ids.
    style : DayFormat
        Configured format and time zone of days.
    decimal : str, optional
        Decimal separator; detected by default.

    Returns
    -------
    table : polars.DataFrame
        `customer`, `acquired_day`, `acquired_channel` and `acquired_cost`, those that are mapped; the last row of each.
    warnings : dict of str to int
        Number of cells that cannot be read, by rule.
    """
    parts, unreadable = [], 0
    for each in files:
        names = {name: each.column(column, f"{SETTING}.{name}") for name, column in setting.items() if column}
        columns = {"customer": ids.read(key, each.schema[key])}
        if name := names.get("day"):
            columns["acquired_day"] = read_day(
                name, each.schema[name], detect_day_format(each, name, style, f"{SETTING}.day")
            )
        if name := names.get("channel"):
            columns["acquired_channel"] = clean_text(pl.col(name))
        if name := names.get("cost"):
            mapping = ColumnMapping(columns={"cost": name}, decimal=decimal)
            cost = read_amount("cost", each, mapping, detect_format(each, mapping))
            columns["acquired_cost"] = pl.when(is_storable(cost)).then(cost)
        lost = [
            (clean_text(pl.col(name)).is_not_null() & columns[f"acquired_{what}"].is_null()).sum()
            for what in ("day", "cost")
            if (name := names.get(what))
        ]
        part = collect(each.frame.select(**columns, **{f"?{k}": flag for k, flag in enumerate(lost)}), str(each.file))
        if part.height:
            unreadable += sum(part[f"?{k}"][0] for k in range(len(lost)))
        parts.append(part.select(*columns))
    table = pl.concat(parts, how="vertical_relaxed").drop_nulls("customer")
    counts = {"acquisition_unreadable": unreadable} if unreadable else {}
    return table.unique("customer", keep="last", maintain_order=True), counts


def add_acquisition(customers: pl.LazyFrame, table: pl.DataFrame, setting: Mapping[str, str]) -> pl.LazyFrame:
    """Add the columns to the table of customers, in place of those as delivered.

    Parameters
    ----------
    customers : polars.LazyFrame
        Table of customers.
    table : polars.DataFrame
        Table of `read_acquisition`.
    setting : mapping of str to str
        Names of the delivered columns.

    Returns
    -------
    polars.LazyFrame
        The table.
    """
    schema = customers.collect_schema()
    replaced = [name for name in {*setting.values(), *table.columns} if name in schema and name != "customer"]
    table = table.with_columns(pl.col("customer").cast(schema["customer"], strict=False))
    return customers.drop(replaced).join(table.lazy(), on="customer", how="left", maintain_order="left")


def without_aliases(customers: pl.LazyFrame, aliases: pl.DataFrame) -> pl.LazyFrame:
    """Replace the aliases in the table of customers, so that none of them is a customer without events.

    Parameters
    ----------
    customers : polars.LazyFrame
        Table of customers.
    aliases : polars.DataFrame
        Table of `propensity.ingest.source.people.IdentityMap`.

    Returns
    -------
    polars.LazyFrame
        The table; a customer's own row stands behind those of its aliases, so that it is used.
    """
    if not aliases.height:
        return customers
    names = aliases["alias"].cast(customers.collect_schema()["customer"], strict=False)
    is_alias = pl.col("customer").is_in(names.implode()).fill_null(False)
    return pl.concat([apply_identity_map(customers.filter(is_alias), aliases), customers.filter(~is_alias)])
