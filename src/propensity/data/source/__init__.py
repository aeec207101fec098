"""Where raw history comes from: a source is a dataclass with `load() -> Tables`, built from `conf/data/source`."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import polars as pl


class Tables(NamedTuple):
    """Raw tables under the names that ingest expects; scans, so nothing is read before it is needed.

    events: customer, day (Date), item (null for a message), kind (see `propensity.kernel.event.KINDS`), channel, order
    (null: a day is an order), quantity, revenue (the line's total), discount. Row order is the order inside a day.
    items: item and its attributes, known from the start; None where items are whatever the events mention. A column
    `known` means that the items were taken from the events: each is then known from its first event, and without one
    never, so that nothing about it is used earlier. The column itself is no attribute.
    customers: customer and its attributes, or None. read: raw event rows. dropped: rule -> rows left out.
    """

    events: pl.LazyFrame
    items: pl.LazyFrame | None
    customers: pl.LazyFrame | None
    dropped: dict[str, int]
    read: int


class Source(Protocol):
    """Anything that loads raw tables."""

    def load(self) -> Tables: ...
