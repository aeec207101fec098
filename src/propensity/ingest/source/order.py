"""Orders whose facts stand on their first line only, and refunds that are orders of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from propensity.errors import DataError
from propensity.ingest.rule.number import MAX_ODD_SHARE, clean_text
from propensity.ingest.source.collection import collect
from propensity.ingest.source.delivery import COMPLETED, ROW, Delivery

SAMPLED = 20_000  # rows from which the layout of a file is detected
MAX_SPLIT = 0.1  # share of orders of the rarer layout up to which a file has the other


def complete_orders(delivery: Delivery, order: str, facts: Sequence[str], header_once: bool | None) -> Delivery:
    """Give the lines of an order the facts that stand on its first line only.

    Parameters
    ----------
    delivery : Delivery
        File of events.
    order : str
        Column of order numbers.
    facts : sequence of str
        Columns with facts of an order, such as its customer, currency or status.
    header_once : bool, optional
        Whether facts stand on the first line of an order only; detected for each column if None.

    Returns
    -------
    Delivery
        The file with completed columns, and a column `completed_line` if any line was completed. The lines of an order
        follow each other; the number is another order where it appears again after others.

    Raises
    ------
    DataError
        If some orders of a file have a fact on the first line only and others on every line.
    """
    facts = [name for name in dict.fromkeys(facts) if name != order and name in delivery.schema.names()]
    if header_once is False or not facts:
        return delivery
    number = clean_text(pl.col(order)).alias("?order")
    present = [_present(name, delivery.schema[name]) for name in facts]
    lines = delivery.frame.select(ROW, number, *present)
    if not header_once:
        sample = collect(lines.head(SAMPLED), str(delivery.file))
        facts = [name for name in facts if _stands_on_first_line(sample, name, str(delivery.file))]
    if not facts:
        return delivery
    fills = pl.concat(_fills(lines.select(ROW, "?order", *facts), facts))
    if not fills.height:
        return delivery
    lookup = fills.lazy().rename({name: f"?{name}" for name in facts})
    frame = delivery.frame.join(lookup, on=ROW, how="left", maintain_order="left")
    frame = frame.with_columns(pl.coalesce(f"?{name}", name).alias(name) for name in facts)
    frame = frame.with_columns(pl.col(COMPLETED).fill_null(False)).drop(f"?{name}" for name in facts)
    return replace(delivery, frame=frame, completed=True)


def _present(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column whose blank cells are null."""
    if dtype != pl.String:
        return pl.col(name)
    return pl.when(clean_text(pl.col(name)).is_not_null()).then(pl.col(name)).alias(name)


def _stands_on_first_line(lines: pl.DataFrame, name: str, file: str) -> bool:
    """Whether a fact stands on the first line of orders only; DataError if the orders have both layouts."""
    orders = lines.filter(pl.col("?order").is_not_null()).group_by(pl.col("?order").rle_id().alias("run"))
    counts = orders.agg(lines=pl.len(), present=pl.col(name).count(), first=pl.col(name).first().is_not_null())
    counts = counts.filter((pl.col("lines") > 1) & (pl.col("present") > 0))
    one = pl.col("present") == 1
    once, later, every = counts.select(
        (one & pl.col("first")).sum(),
        later=(~pl.col("first")).sum(),
        every=(pl.col("present") == pl.col("lines")).sum(),
    ).row(0)
    if not once or later > MAX_ODD_SHARE * once:
        return False
    if min(once, every) > MAX_SPLIT * (once + every):
        raise DataError(
            f"{file} has {name} on the first line only in {once} orders and on every line in {every} orders, so that a "
            "line without it may belong to its order or to nobody; set data.source.header_once=true or false"
        )
    return bool(once > every)


def _fills(lines: pl.LazyFrame, facts: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The number of each completed line and its facts, batch by batch."""
    last = lines.collect_schema().to_frame()
    yield last.select(ROW, *facts, pl.lit(True).alias(COMPLETED))
    for batch in lines.collect_batches(engine="streaming", maintain_order=True):
        rows = pl.concat([last, batch])
        known = pl.col("?order").is_not_null()
        filled = [pl.when(known).then(pl.col(c).forward_fill().over(pl.col("?order").rle_id())).alias(c) for c in facts]
        filled_rows = rows.with_columns(filled)
        changed = [pl.lit(rows[c].is_null() & filled_rows[c].is_not_null()) for c in facts]
        yield filled_rows.filter(pl.any_horizontal(changed)).select(ROW, *facts, pl.lit(True).alias(COMPLETED))
        last = filled_rows.tail(1)


def assign_parents(events: pl.LazyFrame, file: str) -> pl.LazyFrame:
    """Give a refund without a customer the customer of the order that it refers to.

    Parameters
    ----------
    events : polars.LazyFrame
        Events with `parent`, the number of the order that a row belongs to.
    file : str
        Path of the events, for error messages.

    Returns
    -------
    polars.LazyFrame
        The events; a parent with several customers, or none, changes nothing.
    """
    parent, order = pl.col("parent").cast(pl.String), pl.col("order").cast(pl.String)
    customer = pl.col("customer")
    parents = collect(events.filter(customer.is_null()).select(parent).drop_nulls().unique(), file)["parent"]
    if not parents.len():
        return events
    rows = events.select(order.alias("?parent"), customer.alias("?owner")).drop_nulls()
    owners = rows.filter(pl.col("?parent").is_in(parents.implode())).group_by("?parent")
    found = collect(owners.agg(pl.col("?owner").first(), owners=pl.col("?owner").n_unique()), file)
    lookup = found.filter(pl.col("owners") == 1).drop("owners").lazy()
    joined = events.with_columns(parent.alias("?parent")).join(lookup, on="?parent", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("customer", "?owner").alias("customer")).drop("?owner", "?parent")
