"""Bring your own table: transactions in CSV or Parquet, under whatever column names they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

import polars as pl

from propensity.data.source import Tables
from propensity.data.source.delivery import attribute, collect, identity, nearest, open_tables, read_day
from propensity.errors import ConfigurationError, DataError
from propensity.kernel.event import KINDS

MANDATORY = ("customer", "day", "item")
COLUMNS = (*MANDATORY, "quantity", "revenue", "kind", "channel", "order", "event_id", "discount")
DUPLICATE = "event_id delivered again"


@dataclass
class Table:
    """Transactions from `events`, a file or a pattern of files, with optional tables of items and customers.

    columns: our names to yours; customer, day and item are mandatory, null means that there is no such column.
    Days are dates, timestamps (their date as written), ISO text, whole numbers yyyymmdd, or text in `day_format`.
    revenue is the line's total, or with revenue_is="unit" the price of one. A missing quantity column counts 1 a line,
    a missing revenue column 0. Without a kind column a line below zero is a return, the others are purchases; the
    quantity and revenue of returns are left negative.
    item_columns, customer_columns: columns of the events that describe them, where they have no table of their own;
    the earliest value counts. item_key, customer_key: the id's name in those tables, by default as in the events.

    Rows that cannot be used are left out and counted by the first rule they break; see `broken_rule`. A row delivered
    again under the same event_id replaces the earlier one.
    Raises: ConfigurationError for a file or column that does not exist, DataError for a file that cannot be read.
    """

    events: str
    columns: dict[str, str | None]
    items: str | None = None
    customers: str | None = None
    item_columns: Sequence[str] = field(default_factory=list)
    customer_columns: Sequence[str] = field(default_factory=list)
    item_key: str | None = None
    customer_key: str | None = None
    revenue_is: str = "total"
    day_format: str | None = None
    separator: str = ","

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in COLUMNS:
                raise ConfigurationError(
                    f"data.source.columns has no key {name!r}; nearest is {nearest(name, COLUMNS)!r}"
                )
        for name in MANDATORY:
            if self.columns.get(name) is None:
                raise ConfigurationError(f"data.source.columns.{name} is null; give the name of that column")
        if self.revenue_is not in ("total", "unit"):
            raise ConfigurationError(f"data.source.revenue_is={self.revenue_is} is unknown; give total or unit")
        for table, names in (("item", self.item_columns), ("customer", self.customer_columns)):
            if names and getattr(self, f"{table}s") is not None:
                raise ConfigurationError(
                    f"data.source.{table}_columns={list(names)} and data.source.{table}s describe the same; drop one"
                )

    def files(self) -> list[Path]:
        """What is read, so that a log can be told out of date."""
        given = (self.events, self.items, self.customers)
        return [
            Path(name) for path in given if path for name in sorted(glob(str(Path(path).expanduser()), recursive=True))
        ]

    def load(self) -> Tables:
        """Scans; one pass over the events counts what is left out."""
        raw = open_tables(self.events, "data.source.events", self._wanted(), self.separator)
        named = self._named(raw.select(*self._wanted()))
        ruled = named.with_columns(rule=broken_rule())
        tally = collect(ruled.group_by("rule").len(), self.events)
        counts: dict[str | None, int] = dict(tally.iter_rows())
        kept, dropped = ruled.filter(pl.col("rule").is_null()), {r: n for r, n in sorted(counts.items(), key=str) if r}
        if not counts:
            raise DataError(f"{self.events} has no rows; deliver it again")
        if self._has("event_id"):
            latest = kept.filter(pl.col("event_id").is_null() | pl.col("event_id").is_last_distinct())
            again = counts.get(None, 0) - collect(latest.select(pl.len()), self.events).item()
            kept, dropped = latest, dropped | ({DUPLICATE: again} if again else {})
        optional = [name for name in ("channel", "order") if self._has(name)]
        events = kept.select("customer", "day", "item", "kind", *optional, "quantity", "revenue", "discount")
        schema = events.collect_schema()
        items, customers = (self._described(kept, key, schema[key]) for key in ("item", "customer"))
        return Tables(events, items, customers, dropped, sum(counts.values()))

    def _has(self, name: str) -> bool:
        return self.columns.get(name) is not None

    def _wanted(self) -> dict[str, str]:
        """Columns of the events that must be there, and the setting that names each."""
        about = dict.fromkeys(self.item_columns, "data.source.item_columns")
        about |= dict.fromkeys(self.customer_columns, "data.source.customer_columns")
        return about | {column: f"data.source.columns.{name}" for name, column in self.columns.items() if column}

    def _named(self, raw: pl.LazyFrame) -> pl.LazyFrame:
        """The events under our names and types; what cannot be read is null. Attributes travel as `item.x`."""
        schema, column = raw.collect_schema(), {name: c for name, c in self.columns.items() if c}
        quantity, money = self._number("quantity", 1.0), self._number("revenue", 0.0)
        total = quantity * money if self.revenue_is == "unit" else money
        if self._has("kind"):
            kind = pl.col(column["kind"]).cast(pl.String).str.strip_chars().str.to_lowercase()
        else:
            below = ((quantity < 0) | (money < 0)).fill_null(False)
            kind = pl.when(below).then(pl.lit("return")).otherwise(pl.lit("purchase"))
        texts = [name for name in ("customer", "item", "channel", "order", "event_id") if self._has(name)]
        described = [("item", c) for c in self.item_columns] + [("customer", c) for c in self.customer_columns]
        return raw.select(
            *(attribute(c, schema[c]).alias(f"{key}.{c}") for key, c in described),
            *(identity(column[name], schema[column[name]]).alias(name) for name in texts),
            day=read_day(column["day"], schema[column["day"]], self.day_format),
            kind=kind,
            quantity=pl.when(kind == "return").then(-quantity.abs()).otherwise(quantity),
            revenue=pl.when(kind == "return").then(-total.abs()).otherwise(total),
            discount=readable(self._number("discount", 0.0)),
        ).with_columns(
            pl.when(needs_money()).then(pl.col(name)).otherwise(readable(pl.col(name))).alias(name)
            for name in ("quantity", "revenue")
        )

    def _number(self, name: str, absent: float) -> pl.Expr:
        column = self.columns.get(name)
        return pl.lit(absent) if column is None else pl.col(column).cast(pl.Float64, strict=False)

    def _described(self, kept: pl.LazyFrame, key: str, id_type: pl.DataType) -> pl.LazyFrame | None:
        """The table of items or customers: the one delivered, or what the events of their first day say of them.

        Later events say nothing: what is known of an item may not depend on its future.
        """
        path, columns = getattr(self, f"{key}s"), getattr(self, f"{key}_columns")
        if path is not None:
            setting = f"data.source.{key}s"
            name = getattr(self, f"{key}_key") or str(self.columns[key])
            table = open_tables(path, setting, {name: f"data.source.{key}_key"}, self.separator, infer=True)
            schema = table.collect_schema()
            others = [attribute(c, schema[c]) for c in schema.names() if c not in (name, key)]
            ids = identity(name, schema[name]).cast(id_type, strict=False).alias(key)
            return table.select(ids, *others).filter(pl.col(key).is_not_null())
        if not columns:
            return None
        first = [
            pl.col(f"{key}.{c}").filter(pl.col("day") == pl.col("day").min()).drop_nulls().first().alias(c)
            for c in columns
        ]
        known = [pl.col("day").min().alias("known")] if key == "item" else []
        return kept.filter(pl.col(key).is_not_null()).group_by(key).agg(*first, *known).sort(key)


def broken_rule() -> pl.Expr:
    """Name of the first rule a row breaks, null if none. Only purchases and returns need a quantity and a revenue."""
    kind = pl.col("kind")
    rules = {
        "customer cannot be read": pl.col("customer").is_null(),
        "day cannot be read": pl.col("day").is_null(),
        "kind unknown": kind.is_in(list(KINDS)).not_().fill_null(True),
        "item cannot be read": pl.col("item").is_null() & kind.is_in(["message", "redemption"]).not_(),
        "quantity not finite": needs_money() & pl.col("quantity").is_finite().not_().fill_null(True),
        "revenue not finite": needs_money() & pl.col("revenue").is_finite().not_().fill_null(True),
        "quantity not above zero": (kind == "purchase") & (pl.col("quantity") <= 0),
    }
    return pl.coalesce(pl.when(broken).then(pl.lit(rule)) for rule, broken in rules.items())


def needs_money() -> pl.Expr:
    return pl.col("kind").is_in(["purchase", "return"]).fill_null(False)


def readable(number: pl.Expr) -> pl.Expr:
    """The number, or zero where there is none."""
    return pl.when(number.is_finite()).then(number).otherwise(0.0)
