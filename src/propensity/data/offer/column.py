"""One offer per value of an item column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers, nameable, sets_of
from propensity.errors import ConfigurationError

WHOLE = 0.9  # share of the items that must agree with the rest of their offer for a column to be its parent


@dataclass
class ColumnOffers:
    """One offer per value of an item column; an item without a value belongs to none.

    Without a `column`, offers are made from the only categorical column that describes the items.

    Offers are siblings when they agree in the column `parent`, or in the first `prefix` characters of their own names,
    where codes are built that way. With neither, the parent is the item column with most values that still joins whole
    offers: nine items in ten agree with the rest of their offer.
    """

    column: str | None = None
    min_buyers: int = 50
    window: int = 91
    parent: str | None = None
    prefix: int | None = None

    def all(self, log: EventLog) -> Offers:
        """Every value of the column, sorted; ConfigurationError if there is no such column or it is empty."""
        for setting, column in (("column", self.column), ("parent", self.parent)):
            if column is not None and column not in log.items.columns:
                found = ", ".join(sorted(log.items.columns, key=lambda name: name == "item"))
                raise ConfigurationError(f"items have no column {column!r}; give data.offer.{setting} one of: {found}")
        column = self.column_of(log.items)
        values = log.items[column].cast(pl.String)
        names = values.drop_nulls().unique().sort().to_list()
        if not names:
            raise ConfigurationError(f"item column {column!r} has no values; give another data.offer.column")
        code = values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int32).to_numpy()
        return sets_of(tuple(names), np.flatnonzero(code >= 0), code[code >= 0], code.size)

    def column_of(self, items: pl.DataFrame) -> str:
        """`column`, or the only categorical column of `items`.

        Raises
        ------
        ConfigurationError
            If no column was named and the items have none, or several, that could be meant.
        """
        if self.column is not None:
            return self.column
        columns = categorical(items)
        if len(columns) == 1:
            return columns[0]
        if not columns:
            raise ConfigurationError(
                "items have no categorical column to make offers of; describe them with data.source.item_columns, "
                "or give data.offer.column=item for single products"
            )
        raise ConfigurationError(
            f"items have {len(columns)} categorical columns; give data.offer.column one of: {', '.join(columns)}"
        )

    def parents(self, items: pl.DataFrame, offers: Offers) -> np.ndarray:
        """(M,) number of each offer's parent, -1 for none, by the items that the offers hold."""
        if self.prefix is not None:
            return np.unique([name[: self.prefix] for name in offers.name], return_inverse=True)[1]
        own = ("item", self.column_of(items))
        columns = [self.parent] if self.parent else [c for c in items.columns if c not in own]
        best = np.full(len(offers), -1)
        for values in (items[column] for column in columns if nameable(items.schema[column])):
            parent, agreeing = majority(values, offers)
            if self.parent or (agreeing >= WHOLE and best.max() < parent.max() < len(offers) - 1):
                best = parent
        return best


def categorical(items: pl.DataFrame) -> list[str]:
    """The columns that group items: of text or categories, with two values or more, some of them shared."""
    described = [c for c in items.columns if c != "item" and items.schema[c] in (pl.String, pl.Categorical)]
    return [c for c in described if 2 <= items[c].drop_nulls().n_unique() < items[c].drop_nulls().len()]


def majority(values: pl.Series, offers: Offers) -> tuple[np.ndarray, float]:
    """The value, as a number, that most items of each offer have (M,), -1 without any; and the share that has it."""
    code = values.cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)[offers.item] - 1
    entries = pl.DataFrame({"offer": offers.item_offer, "value": code}).filter(pl.col("value") >= 0)
    sizes = entries.group_by("offer", "value").len().sort("offer", "len", "value", descending=[False, True, False])
    most = sizes.group_by("offer", maintain_order=True).first()
    parent = np.full(len(offers), -1)
    parent[most["offer"].to_numpy()] = np.unique(most["value"].to_numpy(), return_inverse=True)[1]
    return parent, float(most["len"].sum()) / max(offers.item.size, 1)
