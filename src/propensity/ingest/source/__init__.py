"""Sources of raw tables: dataclasses with `load() -> Tables`, built from `conf/data/source`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import polars as pl

RAW = "raw."  # prefix of the columns that hold delivered values for the quarantine


class Settled(NamedTuple):
    """Outcome of the rules on all rows of some customers; each row is accepted, merged or quarantined."""

    accepted: pl.DataFrame  # rows that become events, in their order
    merged: dict[str, int]  # rule -> rows that another row replaces
    quarantined: pl.DataFrame  # with a column `reason`
    warnings: dict[str, int] = {}  # rule -> accepted rows


def accept_all(events: pl.LazyFrame) -> pl.LazyFrame:
    """Accept every row.

    Parameters
    ----------
    events : polars.LazyFrame
        Events.

    Returns
    -------
    polars.LazyFrame
        The same events.
    """
    return events


def keep_as_delivered(rows: pl.DataFrame) -> Settled:
    """Use every row as an event.

    Parameters
    ----------
    rows : polars.DataFrame
        Rows of some customers.

    Returns
    -------
    Settled
        All rows are accepted.
    """
    return Settled(rows, {}, rows.clear())


class Tables(NamedTuple):
    """Raw tables of a source, as scans.

    Parameters
    ----------
    events : polars.LazyFrame
        Columns customer, day (Date), item (null for a message), kind (one of `propensity.kernel.event.EVERY_KIND`),
        channel, order (null: all purchases of a day are one order), quantity, revenue (total of the line), discount.
        Optional: time (Int64 milliseconds since 1970-01-01 UTC), cost (of a line or message), campaign, offer, arm,
        experiment, probability (of being sent exactly this, in (0, 1]); null where it is not known. Other columns are
        passed to `screen` and `settle` and then dropped. The order of rows is the order within a day.
    items : polars.LazyFrame or None
        Item and its attributes, known from the start; None if items have no attributes. With a column `?known`
        (`propensity.data.segment.KNOWN`) the table was derived from the events: each item is known from its first
        event, or never.
    customers : polars.LazyFrame or None
        Customer and attributes.
    dropped : dict of str to int
        Rule -> rows that the source left out.
    read : int or None
        Number of raw rows; None for the rows of `events` plus those of `dropped` and `merged`.
    screen : callable
        Rules on single rows, applied in a stream. Maps `events` to the same rows in the same order with a column
        `reason`: a code of `propensity.ingest.rule.RULES`, or null for an accepted row, which needs a customer, a day
        and a kind. Dropped rows are counted. Other rejected rows are quarantined with their `raw.<column>` columns.
    settle : callable
        Rules on all rows of a customer. Maps the accepted rows of some customers, in delivery order, to a `Settled`.
        It is called once per group of customers and must not depend on the grouping.
    merged : dict of str to int
        Rule -> raw rows that are not in `events` because another row replaces them.
    warnings : dict of str to int
        Rule -> number of rows or ids.
    timezone : str or None
        Time zone of the shop, in which the date of `time` is `day`; None for UTC.
    currency : str or None
        Currency of the amounts, such as EUR; None where it is not known.
    formats : list of dict
        Formats that were found in the files, with their evidence: `file`, `what`, `value`, `evidence` and `setting`.
    not_products : dict of str to int
        Name -> lines that the source knows to be no products, whether it left them out or not.
    corrections : {"overlap", "always", "never"} or None
        When a later delivery of an order replaces an earlier one. The log then stores hashes of the ids of orders and
        lines, so that an appended delivery can correct it. None: it stores none.
    customers_from_events : bool
        Whether attributes of customers were read from the events, those of the first day, and not from a table.
    aliases : polars.DataFrame or None
        Customer ids that were replaced, `alias`, by `customer`; None without an identity map.
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
    currency: str | None = None
    timezone: str | None = None
    formats: list[dict[str, Any]] = []
    aliases: pl.DataFrame | None = None
    not_products: dict[str, int] = {}
    corrections: str | None = None
    customers_from_events: bool = False


class Source(Protocol):
    """Anything that loads raw tables."""

    def load(self) -> Tables:
        """Load the raw tables."""
        ...
