"""Offers: named sets of items, from the values of a column or from filters, and which of them are on sale at a date."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.kernel.context import offer_context
from propensity.kernel.event import Sets, fixed

WHOLE = 0.9  # share of the items that must agree with the rest of their offer for a column to be its parent


class Offers(NamedTuple):
    """M sets of items: names (M,), and CSR item -> offers `item_offsets (I + 1,)`, `item_offer`.

    parent (M,): a number that siblings share, -1 for an offer without any. An item may belong to several offers, or to
    none; an offer may have no item that was ever bought.
    """

    name: tuple[str, ...]
    item_offsets: np.ndarray
    item_offer: np.ndarray
    parent: np.ndarray

    def __len__(self) -> int:
        return len(self.name)

    @property
    def sets(self) -> Sets:
        """Item -> offers, as kernels take it."""
        return Sets(fixed(self.item_offsets), fixed(self.item_offer))

    @property
    def item(self) -> np.ndarray:
        """The item of each entry of `item_offer`."""
        return np.repeat(np.arange(self.item_offsets.size - 1), np.diff(self.item_offsets))

    def take(self, kept: np.ndarray) -> Offers:
        """The offers at the ascending positions `kept`, renumbered."""
        number = np.full(len(self), -1)
        number[kept] = np.arange(kept.size)
        offer = number[self.item_offer]
        names, items = tuple(self.name[k] for k in kept), self.item_offsets.size - 1
        return sets_of(names, self.item[offer >= 0], offer[offer >= 0], items, self.parent[kept])


def sets_of(
    name: tuple[str, ...], item: np.ndarray, offer: np.ndarray, items: int, parent: np.ndarray | None = None
) -> Offers:
    """Offers out of (item, offer) entries, ascending in item; `items` is the size of the item vocabulary."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=items))])
    parent = np.full(len(name), -1) if parent is None else parent
    return Offers(name, offsets.astype(np.int64), offer.astype(np.int32), parent)


class OfferRule(Protocol):
    """How a market is cut into offers; `min_buyers` distinct buyers in `window` days put an offer on the list."""

    min_buyers: int
    window: int

    def all(self, log: EventLog) -> Offers: ...

    def parents(self, items: pl.DataFrame, offers: Offers) -> np.ndarray: ...


@dataclass
class ColumnOffers:
    """One offer per value of an item column; an item without a value belongs to none.

    Offers are siblings when they agree in the column `parent`, or in the first `prefix` characters of their own names,
    where codes are built that way. With neither, the parent is the item column with most values that still joins whole
    offers: nine items in ten agree with the rest of their offer.
    """

    column: str
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
        values = log.items[self.column].cast(pl.String)
        names = values.drop_nulls().unique().sort().to_list()
        if not names:
            raise ConfigurationError(f"item column {self.column!r} has no values; give another data.offer.column")
        code = values.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int32).to_numpy()
        return sets_of(tuple(names), np.flatnonzero(code >= 0), code[code >= 0], code.size)

    def parents(self, items: pl.DataFrame, offers: Offers) -> np.ndarray:
        """(M,) number of each offer's parent, -1 for none, by the items that the offers hold."""
        if self.prefix is not None:
            return np.unique([name[: self.prefix] for name in offers.name], return_inverse=True)[1]
        columns = [self.parent] if self.parent else [c for c in items.columns if c not in ("item", self.column)]
        best = np.full(len(offers), -1)
        for values in (items[column] for column in columns if nameable(items.schema[column])):
            parent, agreeing = majority(values, offers)
            if self.parent or (agreeing >= WHOLE and best.max() < parent.max() < len(offers) - 1):
                best = parent
        return best


def nameable(kind: pl.DataType) -> bool:
    """Whether values of a column's type are names: text or whole numbers; fractions are measurements."""
    return kind.is_integer() or kind in (pl.String, pl.Categorical, pl.Boolean)


def majority(values: pl.Series, offers: Offers) -> tuple[np.ndarray, float]:
    """The value, as a number, that most items of each offer have (M,), -1 without any; and the share that has it."""
    code = values.cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)[offers.item] - 1
    entries = pl.DataFrame({"offer": offers.item_offer, "value": code}).filter(pl.col("value") >= 0)
    sizes = entries.group_by("offer", "value").len().sort("offer", "len", "value", descending=[False, True, False])
    most = sizes.group_by("offer", maintain_order=True).first()
    parent = np.full(len(offers), -1)
    parent[most["offer"].to_numpy()] = np.unique(most["value"].to_numpy(), return_inverse=True)[1]
    return parent, float(most["len"].sum()) / max(offers.item.size, 1)


@dataclass
class FilterOffers:
    """Named filters over item columns, in SQL: `{private_grocery: "department = 'GROCERY' and brand = 'Private'"}`."""

    filters: dict[str, str] = field(default_factory=dict)
    min_buyers: int = 0
    window: int = 91

    def all(self, log: EventLog) -> Offers:
        """The offers in the order given; ConfigurationError for a filter that fails or matches no item."""
        if not self.filters:
            raise ConfigurationError("data.offer.filters is empty; name at least one filter")
        masks = np.stack([self._match(log.items, name, rule) for name, rule in self.filters.items()], axis=1)
        item, offer = np.nonzero(masks)
        return sets_of(tuple(self.filters), item, offer, masks.shape[0])

    def parents(self, items: pl.DataFrame, offers: Offers) -> np.ndarray:
        """Filters have no parents: (M,) of -1."""
        return np.full(len(offers), -1)

    @staticmethod
    def _match(items: pl.DataFrame, name: str, rule: str) -> np.ndarray:
        try:
            mask = items.select(pl.sql_expr(rule).cast(pl.Boolean).fill_null(False)).to_series().to_numpy()
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(f"offer filter {name!r} ({rule}) cannot be applied: {reason}") from None
        if not mask.any():
            raise ConfigurationError(
                f"offer filter {name!r} ({rule}) matches none of {items.height} items; check its values"
            )
        return mask


def offers_before(log: EventLog, rule: OfferRule, day: int) -> Offers:
    """All offers of the rule, holding only the items known before `day`; offers left empty stay."""
    offers = rule.all(log)
    known = (log.item_known < day)[offers.item]
    offers = sets_of(offers.name, offers.item[known], offers.item_offer[known], log.item_known.size)
    return Offers(offers.name, offers.item_offsets, offers.item_offer, rule.parents(log.items, offers))


def on_sale(log: EventLog, rule: OfferRule, cutoff: Cutoff) -> Offers:
    """The offers to score at a cutoff: known items, and at least `min_buyers` buyers in `[day - window, day)`.

    Where no offer has them, because the log ended long before or has only begun, those that had them when it ended;
    else whatever was ever bought. ConfigurationError if nothing was.
    """
    offers = offers_before(log, rule, cutoff.day)
    stocked = np.bincount(offers.item_offer, minlength=len(offers)) > 0
    if rule.min_buyers <= 0 and stocked.any():
        return offers.take(np.flatnonzero(stocked))
    end = min(log.last_day + 1, cutoff.day)
    for day, window, least in (
        (cutoff.day, rule.window, rule.min_buyers),
        (end, rule.window, rule.min_buyers),
        (end, end - log.first_day, 1),
    ):
        kept = np.flatnonzero(buyers(log, offers, day, window) >= max(least, 1))
        if kept.size:
            return offers.take(kept)
    raise ConfigurationError(
        f"no offer was ever bought before {cutoff}; give a later cutoff or other data.offer settings"
    )


def buyers(log: EventLog, offers: Offers, day: int, window: int) -> np.ndarray:
    """Distinct customers who bought each offer in `[day - window, day)`: (M,)."""
    out = np.empty((len(offers), 9))
    offer_context(log.events, offers.sets, np.arange(len(log)), day, 1, np.array([window]), out)
    return out[:, 0].astype(np.int64)
