"""One offer per value of an item column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers, build_offers, is_categorical
from propensity.errors import ConfigurationError

MIN_AGREEMENT = 0.9  # share of items that must agree with their offer's majority for a column to be the parent


@dataclass
class ColumnOffers:
    """One offer per value of an item column; an item without a value belongs to no offer.

    Parameters
    ----------
    column : str, optional
        Item column; default the only categorical column of the items.
    min_buyers : int
        Distinct buyers in the last `window` days that make an offer active.
    window : int
        Length in days.
    parent : str, optional
        Item column that siblings share.
    prefix : int, optional
        Alternatively, the number of leading characters of their names that siblings share.

    Notes
    -----
    Without `parent` and `prefix` the parent is the item column with the most values in which nine items in ten agree
    with the other items of their offer.
    """

    column: str | None = None
    min_buyers: int = 50
    window: int = 91
    parent: str | None = None
    prefix: int | None = None

    def all(self, log: EventLog) -> Offers:
        """Create one offer per value, sorted by name.

        Parameters
        ----------
        log : EventLog
            Log with the items.

        Returns
        -------
        Offers
            M offers without parents.

        Raises
        ------
        ConfigurationError
            If the items do not have the column, or it has no values.
        """
        for setting, column in (("column", self.column), ("parent", self.parent)):
            if column is not None and column not in log.items.columns:
                columns = ", ".join(sorted(log.items.columns, key=lambda name: name == "item"))
                raise ConfigurationError(
                    f"items have no column {column!r}; set data.offer.{setting} to one of: {columns}"
                )
        column = self.column_of(log.items)
        values = log.items[column].cast(pl.String)
        names = values.drop_nulls().unique().sort().to_list()
        if not names:
            raise ConfigurationError(f"item column {column!r} has no values; choose another data.offer.column")
        code = values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int32).to_numpy()
        return build_offers(tuple(names), np.flatnonzero(code >= 0), code[code >= 0], code.size)

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
        """Number the parent of each offer from the items it holds.

        Parameters
        ----------
        items : polars.DataFrame
            Items with their attributes.
        offers : Offers
            M offers.

        Returns
        -------
        numpy.ndarray of shape (M,), int
            Number of the parent, -1 for none.
        """
        if self.prefix is not None:
            return np.unique([name[: self.prefix] for name in offers.name], return_inverse=True)[1]
        own = ("item", self.column_of(items))
        columns = [self.parent] if self.parent else [c for c in items.columns if c not in own]
        best = np.full(len(offers), -1)
        for values in (items[column] for column in columns if is_categorical(items.schema[column])):
            parent, agreement = majority_value(values, offers)
            if self.parent or (agreement >= MIN_AGREEMENT and best.max() < parent.max() < len(offers) - 1):
                best = parent
        return best


def categorical(items: pl.DataFrame) -> list[str]:
    """Columns that group items: text or categories with at least two values, of which some are shared.

    Parameters
    ----------
    items : polars.DataFrame
        Items with their attributes.

    Returns
    -------
    list of str
        Names of the columns, in the order of the table.
    """
    described = [c for c in items.columns if c != "item" and items.schema[c] in (pl.String, pl.Categorical)]
    return [c for c in described if 2 <= items[c].drop_nulls().n_unique() < items[c].drop_nulls().len()]


def majority_value(values: pl.Series, offers: Offers) -> tuple[np.ndarray, float]:
    """Find the most frequent value among the items of each offer.

    Parameters
    ----------
    values : polars.Series
        Value of each item (I,).
    offers : Offers
        M offers.

    Returns
    -------
    parent : numpy.ndarray of shape (M,), int
        Number of the value, -1 for an offer without values.
    agreement : float
        Share of items that have the majority value of their offer.
    """
    code = values.cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)[offers.item] - 1
    entries = pl.DataFrame({"offer": offers.item_offer, "value": code}).filter(pl.col("value") >= 0)
    sizes = entries.group_by("offer", "value").len().sort("offer", "len", "value", descending=[False, True, False])
    majority = sizes.group_by("offer", maintain_order=True).first()
    parent = np.full(len(offers), -1)
    parent[majority["offer"].to_numpy()] = np.unique(majority["value"].to_numpy(), return_inverse=True)[1]
    return parent, float(majority["len"].sum()) / max(offers.item.size, 1)
