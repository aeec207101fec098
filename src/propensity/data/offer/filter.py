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
        return build_offers(tuple(self.filters), item, offer, masks.shape[0])

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
