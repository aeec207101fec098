"""Where raw history comes from: a source is a dataclass with `load() -> Tables`, built from `conf/data/source`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import polars as pl


class Settled(NamedTuple):
    """What became of some rows: those `accepted`, in their order; how many were `merged` into others, by rule; those
    `quarantined`, with a column `reason`. The three add up to the rows that were settled. remarks: rule -> rows that
    were accepted and are worth a word."""

    accepted: pl.DataFrame
    merged: dict[str, int]
    quarantined: pl.DataFrame
    warnings: dict[str, int] = {}


def accept_all(events: pl.LazyFrame) -> pl.LazyFrame:
    """No row is refused."""
    return events


def keep_as_delivered(rows: pl.DataFrame) -> Settled:
    """Every row is an event of its own."""
    return Settled(rows, {}, rows.clear())


class Tables(NamedTuple):
    """Raw tables under the names that ingest expects; scans, so nothing is read before it is needed.

    events: customer, day (Date), item (null for a message), kind (see `propensity.kernel.event.KINDS`), channel, order
    (null: a day is an order), quantity, revenue (the line's total), discount; other columns travel along for the two
    rules below and are then forgotten. Row order is the order inside a day.
    items: item and its attributes, known from the start; None where items are whatever the events mention. A column
    `known` means that the items were taken from the events: each is then known from its first event, and without one
    never, so that nothing about it is used earlier. The column itself is no attribute.
    customers: customer and its attributes, or None. read: raw event rows (None: the rows of `events` and those
    dropped). dropped: rule -> rows that the source left out.

    screen judges rows one by one, in a stream, before anything else is known of them: it is given `events` and returns
    them in the same order with a column `reason`, a code of `ingest.rule.RULES`, null for a row that may pass.
    Rows that a rule drops are counted, others with a reason go to the quarantine as they are, with their columns
    `given.x`, which the rows that pass lose. The rows that pass need a customer, a day and a kind.
    settle judges rows that must be seen together, such as a delivery repeated, an order corrected or a return before
    its purchase: it is given all rows that passed of some customers, in the order of delivery and without `reason`, and
    says what becomes of them. It is called once for each group of customers, a few million rows at a time, and may not
    depend on which customers share a group.
    merged: rule -> raw rows that are not among `events`, because others stand for them. remarks: rule -> what is worth
    a word beside the rows.
    """

    events: pl.LazyFrame
    items: pl.LazyFrame | None
    customers: pl.LazyFrame | None
    dropped: dict[str, int]
    read: int | None
    screen: Callable[[pl.LazyFrame], pl.LazyFrame] = accept_all
    settle: Callable[[pl.DataFrame], Settled] = keep_as_delivered
    merged: dict[str, int] = {}
    warnings: dict[str, int] = {}


class Source(Protocol):
    """Anything that loads raw tables."""

    def load(self) -> Tables: ...
