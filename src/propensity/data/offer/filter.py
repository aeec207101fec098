"""One offer per named SQL filter over item columns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers, build_offers
from propensity.errors import ConfigurationError


@dataclass
class FilterOffers:
    """One offer per named SQL filter over item columns.

    Parameters
    ----------
    filters : dict of str to str
        Filter of each offer: `{private_grocery: "department = 'GROCERY' and brand = 'Private'"}`.
    min_buyers : int
        Distinct buyers in the last `window` days that make an offer active.
    window : int
        Length in days.
    """

    filters: dict[str, str] = field(default_factory=dict)
    min_buyers: int = 0
    window: int = 91

    def all(self, log: EventLog) -> Offers:
        """Create one offer per filter, in the order of `filters`.

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
            If there is no filter, or a filter fails or matches no item.
        """
        if not self.filters:
            raise ConfigurationError("data.offer.filters is empty; name at least one filter")
        masks = np.stack([self._match(log.items, name, sql) for name, sql in self.filters.items()], axis=1)
        item, offer = np.nonzero(masks)
        return build_offers(tuple(self.filters), item, offer, masks.shape[0])

    def parents(self, items: pl.DataFrame, offers: Offers) -> np.ndarray:
        """Return no parents.

        Parameters
        ----------
        items : polars.DataFrame
            Not used.
        offers : Offers
            M offers.

        Returns
        -------
        numpy.ndarray of shape (M,), int
            -1 for every offer.
        """
        return np.full(len(offers), -1)

    @staticmethod
    def _match(items: pl.DataFrame, name: str, sql: str) -> np.ndarray:
        """Items that a filter matches (I,) bool."""
        try:
            mask = items.select(pl.sql_expr(sql).cast(pl.Boolean).fill_null(False)).to_series().to_numpy()
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(
                f"data.offer.filters.{name}={sql!r} cannot be applied ({reason}); correct the filter"
            ) from None
        if not mask.any():
            raise ConfigurationError(
                f"data.offer.filters.{name}={sql!r} matches none of {items.height} items; check its values"
            )
        return mask
