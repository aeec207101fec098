"""Checks of amounts: cents beside units, prices of one unit, discounts of a whole order on each line."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from propensity.errors import DataError
from propensity.ingest.rule.identity import normalised_id
from propensity.ingest.rule.number import read_number
from propensity.ingest.source.collection import collect
from propensity.ingest.source.column_mapping import BEFORE_DISCOUNT, UNIT_PRICES, ColumnMapping
from propensity.ingest.source.delivery import Delivery
from propensity.ingest.source.unit_price import unit_votes

SAMPLED = 20_000  # rows of a file from which prices are compared
MIN_SHARED_ITEMS = 3
MIN_UNIT_ITEMS = 10  # items with several quantities from which a unit price is recognised
MIN_UNIT_SHARE = 0.9  # of them
MIN_REPEATED_SHARE = 0.9  # of the orders with a discount, from which it may be that of the order


def check_scales(delivered: Sequence[Delivery], mapping: ColumnMapping) -> None:
    """Check that no file has amounts in cents while another has not.

    Parameters
    ----------
    delivered : sequence of Delivery
        Files of events.
    mapping : ColumnMapping
        Configured mapping.

    Raises
    ------
    DataError
        If the prices of a file are whole numbers and about 100 times those of the first file for the same items.
    """
    if len(delivered) < 2 or not (mapping.has("revenue") and mapping.has("item")) or mapping.scale != 1.0:
        return
    prices = [_prices(each, mapping) for each in delivered]
    for each, other in zip(delivered[1:], prices[1:], strict=True):
        for cents, units, file in ((other, prices[0], each.file), (prices[0], other, delivered[0].file)):
            both = cents.join(units, on="item", suffix="_units").filter(pl.col("price_units") > 0)
            ratio = both.select((pl.col("price") / pl.col("price_units")).median()).item()
            if both.height >= MIN_SHARED_ITEMS and cents["whole"].all() and 80 < ratio < 125:
                raise DataError(
                    f"{file} may be in cents: its prices are {ratio:.0f} times those of the same {both.height} "
                    f"items in another file; set 'data.source.scale={{{file.name}: 0.01}}'"
                )


def check_unit_prices(delivered: Sequence[Delivery], mapping: ColumnMapping) -> None:
    """Check that revenue, if nothing is said about it, is not the price of one unit.

    Parameters
    ----------
    delivered : sequence of Delivery
        Files of events.
    mapping : ColumnMapping
        Configured mapping.

    Raises
    ------
    DataError
        If the amounts of nearly all items are the same for several quantities.
    """
    if not all(map(mapping.has, ("item", "quantity", "revenue"))):
        return
    item, quantity, revenue = (mapping.columns[name] for name in ("item", "quantity", "revenue"))
    for each in delivered:
        units, amount = (read_number(pl.col(name), mapping.decimal) for name in (quantity, revenue))
        rows = each.frame.head(SAMPLED).select(pl.col(item).alias("item"), units=units, amount=amount)
        unit, total = collect(unit_votes(rows), str(each.file)).row(0)
        if unit >= MIN_UNIT_ITEMS and unit >= MIN_UNIT_SHARE * (unit + total):
            raise DataError(
                f"{each.file} column {revenue} does not grow with {quantity} for {unit} of {unit + total} items, so "
                "that it may be the price of one unit; set data.source.revenue_is=unit, or total if it is not"
            )


def count_repeated_discounts(delivery: Delivery, mapping: ColumnMapping) -> int:
    """Count the lines whose discount may be that of their whole order, which would be taken off several times.

    Parameters
    ----------
    delivery : Delivery
        File of events.
    mapping : ColumnMapping
        Configured mapping.

    Returns
    -------
    int
        Lines of orders that have the same discount, not a percentage, on lines with different amounts; 0 if this holds
        for few of the orders with a discount and such lines.
    """
    if mapping.revenue_is not in BEFORE_DISCOUNT or not all(map(mapping.has, ("discount", "order", "revenue"))):
        return 0
    order, revenue, discount = (pl.col(mapping.columns[name]) for name in ("order", "revenue", "discount"))
    rows = delivery.frame.select(order=order, amount=revenue, off=read_number(discount, mapping.decimal))
    orders = rows.group_by("order").agg(
        lines=pl.len(), amounts=pl.col("amount").n_unique(), off=pl.col("off").abs().max(),
        same=(pl.col("off").n_unique() == 1) & pl.col("off").is_not_null().all(),
    ).filter(pl.col("order").is_not_null(), pl.col("amounts") > 1, pl.col("off") > 0)  # fmt: skip
    counts = orders.select(all=pl.len(), same=pl.col("same").sum(), lines=pl.col("lines").filter("same").sum())
    every, same, lines = collect(counts, str(delivery.file)).row(0)
    return int(lines) if same >= MIN_REPEATED_SHARE * every else 0


def _prices(delivery: Delivery, mapping: ColumnMapping) -> pl.DataFrame:
    """Median price of each item in the first rows of a file, and whether all its prices are whole numbers."""
    item, revenue = mapping.columns["item"], pl.col(mapping.columns["revenue"])
    units = (
        pl.col(mapping.columns["quantity"])
        if mapping.has("quantity") and mapping.revenue_is not in UNIT_PRICES
        else pl.lit(1.0)
    )
    price = read_number(revenue, mapping.decimal) / pl.when(read_number(units, None) > 0).then(read_number(units, None))
    rows = delivery.frame.head(SAMPLED).select(
        item=normalised_id(item, delivery.schema[item], padded=False), price=price
    )
    whole = (pl.col("price") % 1 == 0).all()
    return collect(rows.drop_nulls().group_by("item").agg(pl.col("price").median(), whole=whole), str(delivery.file))
