"""Source that simulates a market with known purchase probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from propensity.data.segment import KNOWN
from propensity.errors import ConfigurationError
from propensity.ingest.source import Tables
from propensity.simulate.catalogue import AGE_GROUPS, REGIONS, Catalogue, build_catalogue
from propensity.simulate.customer import Customers
from propensity.simulate.registrant import SOURCES, FirstPurchase, draw_registrants, first_purchase, registrant_events
from propensity.simulate.settings import BLOCK, SimulationConfig
from propensity.simulate.simulate import simulate
from propensity.simulate.transaction import cumulative_item_shares, transactions
from propensity.simulate.truth import Propensity, forecast

CELLS = 4_000_000  # probabilities that `truth` holds in memory at once


@dataclass
class Synthetic(SimulationConfig):
    """Source of a market that is simulated day by day and whose purchase probabilities can be computed exactly.

    Parameters
    ----------
    customers, items, categories, days : int
        Sizes of the market.
    start : str
        ISO date of the first day.
    seed : int
        Seed of all random streams.
    dormant_share : float
        Share of customers who lapse in the first third of the simulation or before it; then 2 % visit in a week.
    new_share : float
        Share of customers who join after the first quarter.
    new_item_share : float
        Share of items that launch after the first quarter.
    order_effect : float
        Relative increase of a target's intensity at the visit after its trigger was bought.
    season_strength : float
        Scale of the yearly season of categories.
    messages : float
        Probability of a message in a week.
    message_effect : float
        Relative increase of a category's intensity for seven days after a message about it.
    returns : float
        Share of purchases that are returned.
    views : float
        A view is 1 + `views` times as likely as a purchase, purchases included.
    basket : float
        Expected number of categories bought per visit, before the other factors.
    registrants : int
        People who register during the simulation without having bought, beside the customers; most never buy. See
        `propensity.simulate.registrant`.
    folder : str, optional
        Folder for the events as Parquet, one file per block, for markets larger than memory.

    Raises
    ------
    ConfigurationError
        If a value is outside its range.

    Notes
    -----
    On each day a customer visits with a probability set by regime, weekday and time of year. At a visit each category
    is bought independently with probability 1 - exp(-intensity), where intensity is preference x season x
    replenishment x message effect x order effect. The order effect goes from trigger to target and never back.
    Messages are sent at random, independent of behaviour. A visit without a purchase leaves a view.

    The same seed gives the same bytes, and the first customers of a larger market equal those of a smaller one.
    A customer who joins after a cutoff, or an item that launches after it, is unknown at that cutoff.

    Examples
    --------
    >>> Synthetic(customers=10, days=60).load().customers.collect().height
    10
    """

    folder: str | None = None

    def load(self) -> Tables:
        """Simulate the market.

        Returns
        -------
        Tables
            Events sorted by customer and day, with tables of items and customers.
        """
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
        """Simulate block by block.

        Yields
        ------
        polars.DataFrame
            The raw events of up to 1,024 customers; last, those of all registrants.
        """
        catalogue = self.catalogue()
        cumulative = cumulative_item_shares(self, catalogue)
        for b in range(self._block_count()):
            customers, _, trace = simulate(self, catalogue, b, self.days)
            yield transactions(self, catalogue, customers, trace, cumulative, b)
        if self.registrants:
            yield registrant_events(self, catalogue)

    def truth(self, cutoff: date | str, horizon: int) -> Propensity:
        """Compute the true propensity of every customer and category over `cutoff <= day < cutoff + horizon`.

        Parameters
        ----------
        cutoff : date or str
            First day of the horizon.
        horizon : int
            Days to predict.

        Returns
        -------
        Propensity
            Exact probabilities and expected revenue, without sampling. They use the latent characteristics, so no
            model of the events can do better. Messages after the cutoff are random.

        Raises
        ------
        ConfigurationError
            If the cutoff is outside the simulated days.
        """
        t = (date.fromisoformat(str(cutoff)) - date.fromisoformat(self.start)).days
        if not 0 <= t <= self.days or horizon < 1:
            raise ConfigurationError(
                f"no truth at cutoff={cutoff}, horizon={horizon}; the market covers {self.days} days from {self.start}"
            )
        catalogue, parts = self.catalogue(), []
        size = max(1, CELLS // (4 * (horizon + 1) * self.categories))
        for b in range(self._block_count()):
            block_customers, block_state, _ = simulate(self, catalogue, b, t)
            for rows in np.split(np.arange(BLOCK), range(size, BLOCK, size)):
                customers, state = block_customers.rows(rows), block_state.rows(rows)
                parts.append((*forecast(self, catalogue, customers, state, t, horizon), customers.joined < t))
        probability, revenue, visit, known = (np.concatenate(c)[: self.customers] for c in zip(*parts, strict=True))
        names = self.category_names()
        return Propensity(np.arange(self.customers), names, probability, revenue, visit, known.astype(bool))

    def first_purchases(self, cutoff: date | str, horizon: int) -> FirstPurchase:
        """Compute the true probability of a first purchase of every registrant within a horizon.

        Parameters
        ----------
        cutoff : date or str
            First day of the horizon.
        horizon : int
            Days to predict.

        Returns
        -------
        FirstPurchase
            Given what the log shows before the cutoff, so that no model can do better.
        """
        t = (date.fromisoformat(str(cutoff)) - date.fromisoformat(self.start)).days
        return first_purchase(self, t, horizon)

    def catalogue(self) -> Catalogue:
        """Draw the parameters that all customers share.

        Returns
        -------
        Catalogue
            Seasons, launches, prices and planted pairs.
        """
        return build_catalogue(self)

    def all_customers(self) -> Customers:
        """Draw the latent characteristics of every customer.

        Returns
        -------
        Customers
            One entry per customer, in the order of their ids.
        """
        parts = [simulate(self, self.catalogue(), b, 0)[0] for b in range(self._block_count())]
        return Customers._make(np.concatenate(column)[: self.customers] for column in zip(*parts, strict=True))

    def category_names(self) -> list[str]:
        """Names of the categories.

        Returns
        -------
        list of str
            `category_000` and so on.
        """
        return [f"category_{m:03d}" for m in range(self.categories)]

    def _items(self) -> pl.LazyFrame:
        """Table of items."""
        catalogue = self.catalogue()
        names = pl.Series(self.category_names())
        return pl.LazyFrame(
            {
                "item": np.arange(self.items),
                "category": names.gather(catalogue.category),
                "department": [f"department_{m // 5:02d}" for m in catalogue.category],
                "brand": [f"brand_{b:03d}" for b in catalogue.brand],
                "price": catalogue.price,
                KNOWN: pl.Series((self.epoch_day(0) + catalogue.launch).astype(np.int32)).cast(pl.Date),
            }
        )

    def _customers(self) -> pl.LazyFrame:
        """Table of customers."""
        customers = self.all_customers()
        table = pl.LazyFrame(
            {
                "customer": np.arange(self.customers),
                "age_group": pl.Series(AGE_GROUPS).gather(customers.age_group),
                "region": pl.Series(REGIONS).gather(customers.region),
                "joined": pl.Series((self.epoch_day(0) + customers.joined).astype(np.int32)).cast(pl.Date),
            }
        )
        if not self.registrants:
            return table
        people = draw_registrants(self)
        registered = pl.Series((self.epoch_day(0) + people.registered).astype(np.int32)).cast(pl.Date)
        columns = {"acquired_day": registered, "acquired_channel": pl.Series(SOURCES).gather(people.source)}
        rows = pl.LazyFrame({"customer": self.customers + np.arange(self.registrants), "joined": registered, **columns})
        return pl.concat([table, rows], how="diagonal")

    def _block_count(self) -> int:
        """Number of blocks."""
        return -(-self.customers // BLOCK)
