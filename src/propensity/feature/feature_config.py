"""Settings of the inputs: which columns there are, over which windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from propensity.data.batch import Sizes
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError
from propensity.feature.calendar import SEASON
from propensity.feature.column import (
    DEFAULT_GROUPS,
    WITHIN_OFFER,
    block_sizes,
    blocks,
    depends_on_market,
    refuse_unknown,
)
from propensity.feature.market_stats import AFFINITY_HALF_LIVES
from propensity.feature.registrant import GROUP
from propensity.kernel.column import Block, FeatureColumn
from propensity.kernel.event import KINDS
from propensity.kernel.pair_group import PAIR_GROUPS

RATE_WINDOW = 182
REQUIRED_WINDOWS = (28, 91, RATE_WINDOW)  # that other columns, and the slices of an evaluation, are computed from


@dataclass
class FeatureConfig:
    """Settings of the inputs.

    Parameters
    ----------
    windows : tuple of int
        Rolling windows in days.
    half_lives : tuple of int
        Half-lives in days of exponentially decayed counts.
    history : int
        Number of last events that the encoder reads.
    extra : tuple of FeatureColumn
        A user's own columns; see `docs/features.md`.
    groups : tuple of str
        Groups of columns to compute, of `GROUPS`.
    attributes : tuple of str
        Columns of the log's customers whose numbers are customer columns. They are taken as known at every cutoff.
    registrants : bool
        Whether customers without a purchase are among the customers. Without them the group `registrants` is off.
    group_rates : tuple of str
        Columns of the log's customers by whose values customers are grouped; what a group buys is a pair column. They
        are taken as known at every cutoff.
    text : tuple of str
        Columns of the log's items that hold text; offers with a similar text speak for each other.
    """

    windows: tuple[int, ...] = (7, 14, 28, 56, 91, 182, 364)
    half_lives: tuple[int, ...] = (10, 30, 90, 180)
    history: int = 128
    extra: tuple[FeatureColumn, ...] = ()
    groups: tuple[str, ...] = DEFAULT_GROUPS
    attributes: tuple[str, ...] = ()
    registrants: bool = False
    group_rates: tuple[str, ...] = ()
    text: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.windows, self.half_lives = tuple(sorted(self.windows)), tuple(self.half_lives)
        self.extra, self.named_groups, self.attributes = tuple(self.extra), tuple(self.groups), tuple(self.attributes)
        self.group_rates, self.text = tuple(self.group_rates), tuple(self.text)
        refuse_unknown(self.named_groups)
        self.groups = tuple(each for each in self.named_groups if each != GROUP or self.registrants)
        if not set(REQUIRED_WINDOWS) <= set(self.windows) or not set(AFFINITY_HALF_LIVES) <= set(self.half_lives):
            windows, half_lives = (", ".join(map(str, days)) for days in (REQUIRED_WINDOWS, AFFINITY_HALF_LIVES))
            raise ConfigurationError(
                f"features need the windows {windows} and the half-lives {half_lives}; add them to data.feature"
            )
        # of each block, in the order of the inputs
        self.columns = blocks(
            self.windows, self.half_lives, self.extra, self.groups, self.attributes, self.group_rates, self.text
        )

    @cached_property
    def pair(self) -> tuple[str, ...]:
        """Names of the pair columns."""
        return tuple(column.name for column in self.columns["pair"])

    @cached_property
    def customer(self) -> tuple[str, ...]:
        """Names of the customer columns."""
        return tuple(column.name for column in self.columns["customer"])

    @cached_property
    def context(self) -> tuple[str, ...]:
        """Names of the context columns."""
        return tuple(column.name for column in self.columns["context"])

    @cached_property
    def market(self) -> tuple[str, ...]:
        """Names of the pair columns that are missing where nobody has bought the offer."""
        return tuple(column.name for column in self.columns["pair"] if depends_on_market(column))

    @cached_property
    def group_start(self) -> np.ndarray:
        """First pair column of each of `PAIR_GROUPS`; -1 where the group is off."""
        return self._starts("pair", PAIR_GROUPS)

    @cached_property
    def customer_group_start(self) -> np.ndarray:
        """First customer column of the groups expect and behaviour; -1 where the group is off."""
        return self._starts("customer", ("expect", "behaviour"))

    def with_registrants(self, registrants: bool) -> FeatureConfig:
        """The same settings for customers with or without registrants among them."""
        return replace(self, groups=self.named_groups, registrants=registrants)

    @property
    def within_offer(self) -> bool:
        """Whether the network compares pair columns among the customers for the same offer."""
        return WITHIN_OFFER in self.groups

    @property
    def used_attributes(self) -> tuple[str, ...]:
        """The attributes that are columns."""
        return self.attributes if "attributes" in self.groups else ()

    @property
    def used_group_rates(self) -> tuple[str, ...]:
        """The attributes that customers are grouped by."""
        return self.group_rates if "group_rates" in self.groups else ()

    @property
    def used_text(self) -> tuple[str, ...]:
        """The columns of the items whose text is used."""
        return self.text if "text" in self.groups else ()

    @property
    def market_groups(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Groups of columns, and attributes that customers are grouped by: what `MarketStatsBuilder` computes."""
        return self.groups, self.used_group_rates

    def _starts(self, block: Block, names: Iterable[str]) -> np.ndarray:
        """Place of the first column of each of K groups in a block: (K,) int64, -1 where a group is off."""
        groups = [column.group for column in self.columns[block]]
        return np.array([groups.index(name) if name in groups else -1 for name in names])

    def own(self, block: Block) -> tuple[FeatureColumn, ...]:
        """The user's own columns of a block, which are its last."""
        return tuple(column for column in self.extra if column.block == block)

    def sizes(self, vocabulary: Vocabulary) -> Sizes:
        """Shapes that follow from the settings and the vocabulary."""
        return Sizes(
            tokens=vocabulary.token_sizes,
            kinds=len(KINDS),
            channels=len(vocabulary.channels) + 1,
            pair=block_sizes(self.columns["pair"])._replace(within_offer=self.within_offer),
            customer=block_sizes(self.columns["customer"]),
            context=block_sizes(self.columns["context"]),
            season=len(SEASON),
            offers=len(vocabulary.offers) + 1,
            attributes=vocabulary.attribute_size,
            sold_through=tuple(vocabulary.channels.index(name) + 1 for name in vocabulary.sold_through),
            unit=vocabulary.unit,
        )
