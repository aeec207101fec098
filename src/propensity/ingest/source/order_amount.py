"""Amounts of a whole order, such as its discount, divided among its lines in proportion to their amounts."""

from __future__ import annotations

import polars as pl

from propensity.errors import DataError
from propensity.ingest.rule.number import MAX_ODD_SHARE
from propensity.ingest.source.collection import collect

ORDER_AMOUNTS = ("order_discount", "order_total", "order_refund")
KEY = ("file", "customer", "day", "order")


def divide_order_amounts(
    events: pl.LazyFrame, file: str, before_discount: bool, includes_lines: bool = False
) -> pl.LazyFrame:
    """Take discounts and refunds of whole orders off their lines.

    Parameters
    ----------
    events : polars.LazyFrame
        Events with `order`, `?left_out`, `?not_product` and, for each mapped amount of orders, `?order_discount`,
        `?order_total` or `?order_refund`, in the currency of the log, and `?order_percent` (whether the discount is a
        percentage).
    file : str
        Path of the events, for error messages.
    before_discount : bool
        Whether the amounts of lines are before discounts; otherwise only refunds are taken off.
    includes_lines : bool
        Whether the discount of an order includes those of its lines, which are taken off already.

    Returns
    -------
    polars.LazyFrame
        The events, without the amounts of orders. The revenue of the products of an order adds up to `?order_total` if
        it is lower, otherwise to their sum less `?order_discount`, both less `?order_refund`, and is never negative.
        `discount` contains the difference. `?divided` marks changed lines.

    Raises
    ------
    DataError
        If the lines of an order hold different amounts of the order, which are then amounts of lines.
    """
    names = [f"?{name}" for name in ORDER_AMOUNTS if f"?{name}" in events.collect_schema()]
    if not names:
        return events.with_columns(pl.lit(False).alias("?divided"))
    counted = (
        (pl.col("kind") == "purchase") & (pl.col("revenue") > 0) & ~pl.col("?left_out") & ~pl.col("?not_product")
        & pl.col("order").is_not_null()
    ).fill_null(False)  # fmt: skip
    events = events.with_columns(counted.alias("?counted"))
    amount = pl.col("revenue").filter(pl.col("?counted")).sum().alias("?sum")
    lines = pl.col("discount").abs().filter(pl.col("?counted")).sum().alias("?lines")
    several = [pl.col(name).drop_nulls().n_unique().alias(f"{name} values") for name in names]
    first = [pl.col(name).abs().max() for name in names]
    percent = pl.col("?order_percent").any() if "?order_percent" in events.collect_schema() else pl.lit(False)
    orders = events.filter(pl.col("order").is_not_null()).group_by(KEY)
    sums = collect(orders.agg(amount, lines, *several, *first, percent.alias("?order_percent")), file)
    for name in names:
        _check_one_value(sums, name, file)
    factors = sums.lazy().select(*KEY, _factor(names, before_discount, includes_lines).alias("?factor"))
    joined = events.join(factors, on=list(KEY), how="left", nulls_equal=True, maintain_order="left")
    factor = pl.when(pl.col("?counted")).then(pl.col("?factor")).otherwise(1.0).fill_null(1.0)
    off = pl.col("revenue") * (1.0 - factor)
    changed = joined.with_columns(
        (pl.col("revenue") * factor).alias("revenue"),
        pl.when(factor != 1.0).then(pl.col("discount").abs() + off).otherwise("discount").alias("discount"),
        (factor != 1.0).alias("?divided"),
    )
    return changed.drop("?factor", "?counted", *names, "?order_percent", strict=False)


def _check_one_value(sums: pl.DataFrame, name: str, file: str) -> None:
    """DataError if more than a few orders hold several values of an amount."""
    mixed = sums.filter(pl.col(f"{name} values") > 1)
    present = sums.select((pl.col(f"{name} values") > 0).sum()).item()
    if mixed.height > MAX_ODD_SHARE * present:
        raise DataError(
            f"{file} has several values of {name[1:]} in {mixed.height} of {present} orders, such as "
            f"{mixed.sort('order')['order'][0]}, so that they belong to lines; map the column to discount instead"
        )


def _factor(names: list[str], before_discount: bool, includes_lines: bool) -> pl.Expr:
    """Share of the sum of the lines that was paid for an order."""
    total = pl.col("?sum")
    target = total
    if before_discount and "?order_discount" in names:
        off = pl.col("?order_discount")
        further = (off - pl.col("?lines")).clip(0.0) if includes_lines else off
        off = pl.when("?order_percent").then(total * off / 100).otherwise(further)
        target = target - off.fill_null(0.0)
    if before_discount and "?order_total" in names:
        target = pl.min_horizontal(pl.coalesce("?order_total", target), total)
    if "?order_refund" in names:
        target = target - pl.col("?order_refund").fill_null(0.0)
    return pl.when(total > 0).then((target / total).clip(0.0, 1.0)).otherwise(1.0)
