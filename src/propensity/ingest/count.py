"""Counts of the rows of an ingestion, by which every row has one outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from propensity.errors import DataError
from propensity.ingest.encode import ALWAYS, NEVER, EncodedEvents
from propensity.ingest.large import LargeLines
from propensity.ingest.money import MoneyCounts
from propensity.ingest.rule.note import has_note
from propensity.ingest.rule.product import describes_items
from propensity.ingest.source import Tables
from propensity.kernel.event import EVERY_KIND, PURCHASE


@dataclass
class IngestCounts:
    """Counts of the rows of an ingestion."""

    rows: int = 0
    passed: int = 0  # rows that the screen accepted
    without_key: int = 0  # passed rows without a customer or day
    used: int = 0  # events of the log
    first_day: int = NEVER  # of purchases
    last_day: int = ALWAYS
    kinds: set[str | None] = field(default_factory=set)
    dropped: Counter[str] = field(default_factory=Counter)
    merged: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    not_products: Counter[str] = field(default_factory=Counter)  # rows by name
    money: MoneyCounts = field(default_factory=MoneyCounts)
    large: LargeLines = field(default_factory=LargeLines)

    def add_rejected(self, dropped: pl.DataFrame, quarantined: pl.DataFrame) -> None:
        """Count rows that the screen rejected.

        Parameters
        ----------
        dropped, quarantined : polars.DataFrame
            Rows with a column `reason`.
        """
        self.dropped.update(dict(dropped["reason"].value_counts().iter_rows()))
        for way, rows in (("dropped", dropped), ("quarantined", quarantined)):
            self.money.add(way, rows)
            self.large.add_undoing(rows)
        self._add_names(dropped.filter(pl.col("reason") == "not_a_product"))

    def add_passed(self, rows: pl.DataFrame) -> None:
        """Count rows that the screen accepted.

        Parameters
        ----------
        rows : polars.DataFrame
            Accepted rows.
        """
        self.passed += rows.height
        self.money.add("passed", rows)
        self.without_key += rows.select((pl.col("customer").is_null() | pl.col("day").is_null()).sum()).item()
        self.kinds |= set(rows["kind"].unique())

        if "notes" in rows.columns:
            self._add_names(rows.filter(has_note("not_product_kept")))

    def _add_names(self, others: pl.DataFrame) -> None:
        """Count lines that are not products under their names."""
        described = [name for name in others.columns if name.startswith("item.") and describes_items(name[5:])]
        names = [pl.col(name).cast(pl.String) for name in ("item", *described)]
        named = others.select(pl.concat_str(names, separator=" ", ignore_nulls=True).alias("name"))
        self.not_products.update(dict(named["name"].value_counts().iter_rows()))

    def add_used(self, encoded: EncodedEvents) -> None:
        """Count events of the log.

        Parameters
        ----------
        encoded : EncodedEvents
            Events of some customers.
        """
        kind, day = encoded.columns["kind"], encoded.columns["day"]
        purchase_day = day[kind == PURCHASE]
        self.used += day.size + int(encoded.engagement_events.sum())
        if purchase_day.size:
            self.first_day = min(self.first_day, int(purchase_day.min()))
            self.last_day = max(self.last_day, int(purchase_day.max()))

    def of_range(self) -> dict[str, Any]:
        """What was counted in settling a range of customers, as plain values without the tables of large lines."""
        return {
            "merged": dict(self.merged),
            "warnings": dict(self.warnings),
            "money": dict(self.money.sums),
            "sales": self.large.count,
            "used": self.used,
            "days": [self.first_day, self.last_day],
        }

    def add_range(self, counted: Mapping[str, Any], sales: pl.DataFrame | None, undoing: pl.DataFrame | None) -> None:
        """Add what was counted in a range, after those before it.

        Parameters
        ----------
        counted : mapping
            Of `of_range`.
        sales, undoing : polars.DataFrame or None
            Large lines of the range, see `propensity.ingest.large.LargeLines`.
        """
        self.merged.update(counted["merged"])
        self.warnings.update(counted["warnings"])
        self.money.sums.update(counted["money"])
        self.large.add(counted["sales"], sales, undoing)
        self.used += counted["used"]
        self.first_day = min(self.first_day, counted["days"][0])
        self.last_day = max(self.last_day, counted["days"][1])

    def check_passed(self) -> None:
        """Check that the accepted rows can be sorted and encoded.

        Raises
        ------
        DataError
            If a row has an unknown kind, no customer or no day.
        """
        if unknown := sorted(self.kinds - set(EVERY_KIND), key=str):
            raise DataError(f"unknown event kind {unknown[0]!r}; map it to one of {', '.join(EVERY_KIND)}")
        if self.without_key:
            raise DataError(
                f"{self.without_key} of {self.passed} accepted events have no customer or no day; "
                "the source must reject them"
            )

    def by_outcome(self, tables: Tables, quarantined: Mapping[str, int]) -> dict[str, Any]:
        """Close the account of the rows; those that the source counted itself are added.

        Parameters
        ----------
        tables : Tables
            Raw tables.
        quarantined : mapping of str to int
            Quarantined rows by rule.

        Returns
        -------
        dict
            `in` and `used`, numbers of rows; `merged`, `quarantined` and `dropped`, numbers of rows by rule.

        Raises
        ------
        DataError
            Unless every row has one outcome and some rows are events.
        """
        self.dropped.update(tables.dropped)
        self.not_products.update(tables.not_products)
        self.merged.update(tables.merged)
        dropped, merged = dict(self.dropped), dict(self.merged)
        not_scanned = sum(tables.dropped.values()) + sum(tables.merged.values())
        read = self.rows + not_scanned if tables.read is None else tables.read
        total = self.used + sum(sum(each.values()) for each in (merged, quarantined, dropped))
        if self.used == 0:
            raise DataError(
                f"no usable event among {read} rows (rejected: {dropped | dict(quarantined)}); check the columns"
            )
        if read != total:
            raise DataError(
                f"{read} rows were read but {total} are accounted for; correct the source, which loses or repeats rows"
            )
        outcomes = {"merged": merged, "quarantined": quarantined, "dropped": dropped}
        return {"in": read, "used": self.used} | {name: dict(sorted(each.items())) for name, each in outcomes.items()}
