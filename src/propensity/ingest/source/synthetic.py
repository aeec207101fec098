"""A made-up market whose purchase probabilities are known exactly, so that a model can be held against the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from propensity.errors import ConfigurationError
from propensity.ingest.source import Tables
from propensity.simulate.catalogue import AGE_GROUPS, REGIONS, Catalogue, build_stock
from propensity.simulate.customer import Customers
from propensity.simulate.settings import BLOCK, Settings
from propensity.simulate.simulate import simulate
from propensity.simulate.transaction import item_ladder, receipts
from propensity.simulate.truth import Propensity, forecast

CELLS = 4_000_000  # states that `truth` holds at once


@dataclass
class Synthetic(Settings):
    """A market simulated day by day, in which every purchase probability can be computed.

    On each day a customer visits with a chance set by regime, weekday and time of year; at a visit each category is
    bought independently with probability 1 - exp(-intensity), and intensity is
    taste x season x rhythm(days since last bought) x (1 + message_effect, for seven days after a message about it)
    x (1 + order_effect, if the trigger of a planted pair was bought at the visit before; never the other way round).
    Messages go out at random, independent of behaviour. Every visit leaves a trace: with nothing bought, a view.

    Args: customers, items, categories, days: sizes; start: ISO date of the first day. dormant_share of the customers
    lapse in the first third or before (then 2 % visit in a week); new_share join in the last three quarters.
    new_item_share of the items launches then too. season_strength scales the yearly swing of categories. messages:
    chance of one a week. returns: share of purchases. views: how much likelier a look is than a purchase, less one.
    basket: categories wanted per visit. folder: where to leave the events as Parquet, block by block, for worlds
    larger than memory.
    Raises: ConfigurationError for values that make no world.

    The same seed gives the same bytes, and the first customers of a larger world are those of a smaller one.
    `joined` may lie after a cutoff, and as of that cutoff the customer is unknown; so is an item before `known`.
    >>> Synthetic(customers=10, days=60).load().customers.collect().height
    10
    """

    folder: str | None = None

    def load(self) -> Tables:
        """Simulates the world. Events come customer by customer, day by day; items and customers as tables."""
        if self.folder is None:
            parts = list(self.blocks())
            return Tables(pl.concat(parts).lazy(), self._items(), self._customers(), {}, sum(map(len, parts)))
        folder, files, read = Path(self.folder), [], 0
        folder.mkdir(parents=True, exist_ok=True)
        for b, part in enumerate(self.blocks()):
            files.append(folder / f"events-{b:05d}.parquet")
            part.write_parquet(files[-1])
            read += part.height
        return Tables(pl.scan_parquet(files), self._items(), self._customers(), {}, read)

    def blocks(self) -> Iterator[pl.DataFrame]:
        """The events of 1,024 customers at a time."""
        catalogue = self.catalogue()
        ladder = item_ladder(self, catalogue)
        for b in range(self._block_count()):
            who, _, trace = simulate(self, catalogue, b, self.days)
            yield receipts(self, catalogue, who, trace, ladder, b)

    def truth(self, cutoff: date | str, horizon: int) -> Propensity:
        """The exact propensity of every customer and category over `cutoff <= day < cutoff + horizon`.

        No sampling: it sums over all that may happen, with messages yet unsent as likely as they are. It knows the
        hidden characteristics, so no model can do better. Raises: ConfigurationError outside the world.
        """
        t = (date.fromisoformat(str(cutoff)) - date.fromisoformat(self.start)).days
        if not 0 <= t <= self.days or horizon < 1:
            raise ConfigurationError(
                f"no truth at cutoff={cutoff}, horizon={horizon}; the world covers {self.days} days from {self.start}"
            )
        catalogue, parts = self.catalogue(), []
        size = max(1, CELLS // (4 * (horizon + 1) * self.categories))
        for b in range(self._block_count()):
            everyone, states, _ = simulate(self, catalogue, b, t)
            for rows in np.split(np.arange(BLOCK), range(size, BLOCK, size)):
                who, state = everyone.rows(rows), states.rows(rows)
                parts.append((*forecast(self, catalogue, who, state, t, horizon), who.joined < t))
        probability, revenue, visit, known = (np.concatenate(c)[: self.customers] for c in zip(*parts, strict=True))
        names = self.category_names()
        return Propensity(np.arange(self.customers), names, probability, revenue, visit, known.astype(bool))

    def catalogue(self) -> Catalogue:
        """What all customers share: seasons, launches, prices and planted pairs, for tests and figures."""
        return build_stock(self)

    def customers_of(self) -> Customers:
        """The hidden characteristics of every customer."""
        parts = [simulate(self, self.catalogue(), b, 0)[0] for b in range(self._block_count())]
        return Customers._make(np.concatenate(column)[: self.customers] for column in zip(*parts, strict=True))

    def category_names(self) -> list[str]:
        return [f"category_{m:03d}" for m in range(self.categories)]

    def _items(self) -> pl.LazyFrame:
        catalogue = self.catalogue()
        names = pl.Series(self.category_names())
        return pl.LazyFrame(
            {
                "item": np.arange(self.items),
                "category": names.gather(catalogue.category),
                "department": [f"department_{m // 5:02d}" for m in catalogue.category],
                "brand": [f"brand_{b:03d}" for b in catalogue.brand],
                "price": catalogue.price,
                "known": pl.Series((self.epoch_day(0) + catalogue.launch).astype(np.int32)).cast(pl.Date),
            }
        )

    def _customers(self) -> pl.LazyFrame:
        who = self.customers_of()
        return pl.LazyFrame(
            {
                "customer": np.arange(self.customers),
                "age_group": pl.Series(AGE_GROUPS).gather(who.age),
                "region": pl.Series(REGIONS).gather(who.region),
                "joined": pl.Series((self.epoch_day(0) + who.joined).astype(np.int32)).cast(pl.Date),
            }
        )

    def _block_count(self) -> int:
        return -(-self.customers // BLOCK)
