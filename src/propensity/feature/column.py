"""Every column of a model's inputs, by block: those of the kernels, those derived from the market, and a user's own.

A user's own column is a `FeatureColumn` with a function and its plain definition, and is a setting,
`data.feature.extra`; see `docs/features.md`. It is appended to its block, so the places of our columns do not change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial

from propensity.data.batch import BlockSizes
from propensity.errors import ConfigurationError
from propensity.feature.attribute import attribute_columns
from propensity.feature.engagement import ENGAGEMENT, ENGAGEMENT_CUSTOMER, ENGAGEMENT_PAIR
from propensity.feature.group_rate import group_rate_columns
from propensity.feature.price import PRICE, PRICES
from propensity.feature.reason import REASONS
from propensity.feature.registrant import GROUP, REGISTRANT, REGISTRANT_PAIR
from propensity.kernel.column import Block, expanded
from propensity.kernel.column import FeatureColumn as FeatureColumn  # a user imports it from here
from propensity.kernel.customer import CUSTOMER
from propensity.kernel.customer_group import BEHAVIOUR, SHOPPING
from propensity.kernel.pair import PAIR
from propensity.kernel.pair_group import PAIR_GROUPS
from propensity.kernel.reference import context_ratios

BLOCKS: tuple[Block, ...] = ("pair", "customer", "context")
CONTEXT_WINDOWS = (7, 28, 91, 364)

market = partial(FeatureColumn, block="pair", reason="companions", missing="nobody bought the offer", ranked=True)
of_others = partial(market, group="affinity")
neighbour = partial(market, group="neighbours", reason="similar")
sibling = partial(FeatureColumn, block="pair", reason="companions", ranked=True)
of_text = partial(sibling, group="text")
relative = partial(FeatureColumn, block="customer", reason="shopping")
context = partial(
    FeatureColumn,
    block="context",
    reason="popularity",
    missing="nobody bought the offer",
    empty=math.nan,
    definition=context_ratios,
)

# Purchases of the offer by all customers, and the customer's purchases of other offers. Affinity weights are ridge
# regressions; `broad` is the one with the stronger ridge.
AFFINITY = (
    market("similar", "affinity with the offers bought lately, from what is bought by the same customers"),
    market("similar_broad", "the same with a stronger ridge"),
    market("together", "affinity with all offers ever bought, from what is bought by the same customers"),
    market("together_broad", "the same with a stronger ridge"),
    market("follow", "affinity with the offers bought lately, from what was bought within a horizon after", empty=None),
    market("follow_broad", "the same with a stronger ridge", empty=None),
)
MARKET = (
    market(
        "expected",
        "expected purchases in the horizon, shrunk to the offer's rate",
        reason="frequency",
        empty=None,
        optional=True,
    ),
    market(
        "hazard",
        "share of pairs with the same recency and purchase days that bought in a horizon",
        reason="recency",
        empty=None,
    ),
    *AFFINITY,
)
SIBLING = (
    sibling("sibling_short", "mean of log(1 + purchase days decayed by 30 days) over the offers of the same parent"),
    sibling("sibling_long", "mean of log(1 + purchase days decayed by 90 days) over the offers of the same parent"),
    sibling("sibling_follow", "mean of follow_broad over the offers of the same parent", empty=None),
)
RELATIVE = (
    relative("trend", "log ratio of the orders of 28 days to those of 91 days, per day"),
    relative(
        "cohort_spend",
        "log revenue of 91 days, in units of the market, minus its mean over customers of the same tenure",
        empty=None,
    ),
    relative("cohort_orders", "log orders of 91 days minus its mean over customers of the same tenure", empty=None),
)
CONTEXT = (
    *(context(f"reach_{w}", f"log share of customers who bought in the last {w} days") for w in CONTEXT_WINDOWS),
    context("trend_7", "log ratio of the purchase days of 7 days to those of 28 days, per day"),
    context("trend_28", "log ratio of the purchase days of 28 days to those of 91 days, per day"),
    context("intensity", "purchase days per buyer of the last 91 days"),
    context("novelty", "share of the buyers of the last 28 days without an earlier purchase"),
    context("interpurchase_time", "mean days between purchase days, over all customers", missing="nobody bought twice"),
    context("age", "days since the first sale, at most 182", optional=True),
    context(
        "price", "revenue per purchase day of the last 91 days, without implausible lines", reason="price", money=True
    ),
    context("price_trend", "log ratio of the price of 28 days to that of 91 days", reason="price"),
    context(
        "last_year",
        "log ratio of the purchase days of the horizon's weeks last year to the 91 days around them",
        reason="season",
    ),
)
CONTEXT_NAMES = tuple(column.name for column in CONTEXT)
AFFINITY_GROUP = (
    of_others(
        "svd_12",
        "rarity-weighted purchases of all offers, decayed by 90 days, rebuilt from 12 dimensions",
        reason="similar",
    ),
    of_others("svd_40", "the same from 40 dimensions", reason="similar"),
    of_others("ease_ever", "affinity with the offers ever bought, without counts"),
    of_others("ease_91", "the same of the offers bought in 91 days"),
    of_others("ease_28", "the same of the offers bought in 28 days"),
    of_others("cosine", "mean of log(1 + purchase days decayed by 90 days) over other offers, by cosine"),
)
NEIGHBOURS = (
    neighbour("neighbours_short", "weighted share of the 80 most similar customers who bought within a horizon"),
    neighbour("neighbours_middle", "the same within four horizons"),
    neighbour("neighbours_long", "the same within 182 days, or four horizons if they are longer"),
)
TEXT = (
    of_text("text_short", "mean of log(1 + purchase days decayed by 30 days) over offers by similarity of their text"),
    of_text("text_long", "mean of log(1 + purchase days decayed by 90 days) over offers by similarity of their text"),
    of_text("text_follow", "mean of follow_broad over offers by similarity of their text", empty=None),
)
PAIR_GROUP = tuple(column for group in PAIR_GROUPS.values() for column in group)
WITHIN_OFFER = "within_offer"  # comparisons of pair columns, which the network makes
GROUPS = (
    *(*PAIR_GROUPS, "affinity", "neighbours", WITHIN_OFFER, "behaviour", "attributes", "group_rates", "text"),
    *(PRICES, ENGAGEMENT, GROUP),
)
DEFAULT_GROUPS = tuple(group for group in GROUPS if group not in (PRICES, ENGAGEMENT))
SIBLING_NAMES, TEXT_NAMES = (tuple(column.name for column in columns) for columns in (SIBLING, TEXT))
BUILT_IN: dict[Block, tuple[FeatureColumn, ...]] = {
    "pair": (*PAIR, *MARKET, *SIBLING, *PAIR_GROUP, *AFFINITY_GROUP, *NEIGHBOURS, *REGISTRANT_PAIR),
    "customer": (*CUSTOMER, *RELATIVE, *SHOPPING, *BEHAVIOUR, *REGISTRANT),
    "context": CONTEXT,
}


def blocks(
    windows: Sequence[int],
    half_lives: Sequence[int],
    extra: Sequence[FeatureColumn] = (),
    groups: Sequence[str] = DEFAULT_GROUPS,
    attributes: Sequence[str] = (),
    group_rates: Sequence[str] = (),
    text: Sequence[str] = (),
) -> dict[Block, tuple[FeatureColumn, ...]]:
    """The columns of each block in the order of the inputs.

    Parameters
    ----------
    windows, half_lives : sequence of int
        Days.
    extra : sequence of FeatureColumn
        A user's own columns.
    groups : sequence of str
        Groups of `GROUPS` whose columns are there.
    attributes : sequence of str
        Columns of the log's customers whose numbers are columns.
    group_rates : sequence of str
        Columns of the log's customers by whose values customers are grouped.
    text : sequence of str
        Columns of the log's items that hold text.

    Raises
    ------
    ConfigurationError
        For an unknown or repeated group, for an extra column whose declaration is incomplete, or whose name is taken.

    Examples
    --------
    >>> [column.name for column in blocks((28, 91, 182), (30, 90))["pair"][:3]]
    ['days_28', 'days_91', 'days_182']
    """
    for column in extra:
        refuse_incomplete(column)
    refuse_unknown(groups)
    declared: dict[Block, tuple[FeatureColumn, ...]] = BUILT_IN | {
        "customer": (*BUILT_IN["customer"], *ENGAGEMENT_CUSTOMER, *attribute_columns(attributes)),
        "pair": (
            *BUILT_IN["pair"],
            *group_rate_columns(group_rates),
            *(TEXT if text else ()),
            *PRICE,
            *ENGAGEMENT_PAIR,
        ),
    }
    built_in = {block: [each for each in declared[block] if not each.group or each.group in groups] for block in BLOCKS}
    columns = {
        block: (*expanded(built_in[block], windows, half_lives), *(each for each in extra if each.block == block))
        for block in BLOCKS
    }
    for block in BLOCKS:
        names = [column.name for column in columns[block]]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ConfigurationError(
                f"two {block} columns are called {repeated[0]!r}; give the one in data.feature.extra another name"
            )
    return columns


def refuse_unknown(groups: Sequence[str]) -> None:
    """ConfigurationError for a group of columns that does not exist, or is named twice."""
    for group in groups:
        if group not in GROUPS:
            close = get_close_matches(str(group), GROUPS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ";"
            raise ConfigurationError(
                f"data.feature.groups has no group {group!r}{hint} the groups are {', '.join(GROUPS)}"
            )
    if len(set(groups)) < len(groups):
        raise ConfigurationError(f"data.feature.groups={list(groups)} names a group twice; remove one of them")


def depends_on_market(column: FeatureColumn) -> bool:
    """Whether a built-in pair column is missing for every customer where nobody has bought the offer."""
    return column.block == "pair" and column.definition is None and column.compute is None and bool(column.missing)


def refuse_incomplete(column: FeatureColumn) -> None:
    """ConfigurationError for an extra column that leaves open what it means."""
    if not isinstance(column, FeatureColumn):
        raise ConfigurationError(
            f"data.feature.extra holds a {type(column).__name__}; give a _target_ that returns a FeatureColumn"
        )
    place = f"column {column.name!r} of data.feature.extra"
    if column.block not in BLOCKS:
        raise ConfigurationError(f"{place} has block={column.block!r}; give one of {', '.join(BLOCKS)}")
    for field in ("meaning", "compute", "reference"):
        if not getattr(column, field):
            raise ConfigurationError(f"{place} has no {field}; declare it")
    if column.reason not in REASONS:
        raise ConfigurationError(f"{place} has reason={column.reason!r}; give one of {', '.join(REASONS)}")
    if column.per is not None:
        raise ConfigurationError(f"{place} has per={column.per!r}; declare one column for each number of days")
    if column.empty is None and column.block != "customer":
        raise ConfigurationError(f"{place} has no value for an empty history; give empty, a number or NaN")
    if column.empty is not None and math.isnan(column.empty) and not column.missing:
        raise ConfigurationError(f"{place} is NaN on an empty history; say in missing what NaN means")
    if column.gate and column.block != "pair":
        raise ConfigurationError(
            f"{place} is a {column.block} column and gate={column.gate}; the gate reads pairs only"
        )


def block_sizes(columns: Sequence[FeatureColumn]) -> BlockSizes:
    """Number of columns, and the indices of those with a role in scaling or in the gate."""
    gate = sorted((column.gate, k) for k, column in enumerate(columns) if column.gate)
    return BlockSizes(
        columns=len(columns),
        optional=tuple(k for k, column in enumerate(columns) if column.optional),
        ranked=tuple(k for k, column in enumerate(columns) if column.ranked),
        gate=tuple(k for _, k in gate),
        money=tuple(k for k, column in enumerate(columns) if column.money),
    )
