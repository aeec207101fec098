"""Contract of every declared column, built-in and extra."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError
from propensity.feature.column import BLOCKS, BUILT_IN, CONTEXT_WINDOWS, FeatureColumn, block_sizes
from propensity.feature.contract import require, violations
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import MarketStats, MarketStatsBuilder, MarketStatsConfig
from propensity.feature.point_in_time import PointInTime, point_in_time
from propensity.feature.table import update_tables
from propensity.kernel.event import PURCHASE
from propensity.kernel.reference import LONG_AGO, between, context_ratios, of_kind, of_offer, offer_row
from propensity.serving.inputs import rebuild_inputs
from propensity.serving.point_in_time import cutoff_tables, feature_settings
from propensity.task import CutoffData
from random_log import NOBODY, columns, membership, random_log, random_offers, with_another_future

PAGE = Path(__file__).parents[2] / "docs/features.md"
CONFIG = FeatureConfig(history=24)
FIELDS = {"pair": "pair", "customer": "customer_features", "context": "context"}  # block to field of `Inputs`
SEEDS = range(3)
COLUMNS = [(block, column.name) for block in BLOCKS for column in CONFIG.columns[block]]
DECLARED = {(block, column.name): column for block in BLOCKS for column in CONFIG.columns[block]}


class World(NamedTuple):
    """A random market at a cutoff; the last offer has no item."""

    log: EventLog
    offers: Offers
    features: Features
    market_stats: MarketStats

    @classmethod
    def of(cls, log: EventLog, seed: int, config: FeatureConfig = CONFIG) -> World:
        offers = random_offers(seed, log.items.height)
        cutoff = Cutoff(log.first_day + 300, 14)
        features = Features(log, offers, Vocabulary(offers.name, {}, {}, ("app", "store")), config)
        settings = MarketStatsConfig(neighbour_categories=2, references=3)
        return cls(log, offers, features, MarketStatsBuilder(log, offers, 14, settings).at(cutoff))

    def inputs(self, mask: HistoryMask | None = None) -> Inputs:
        return self.features.inputs(self.market_stats, np.arange(len(self.log)), mask)

    def known(self, mask: HistoryMask | None = None) -> PointInTime:
        rows = np.arange(len(self.log))
        mask = HistoryMask.nothing(rows.size) if mask is None else mask
        return point_in_time(self.log, self.offers, self.market_stats, rows, mask)

    @property
    def cutoff(self) -> Cutoff:
        return self.market_stats.cutoff


@cache
def world(seed: int) -> World:
    return World.of(random_log(seed, customers=25), seed)


@cache
def altered(seed: int) -> World:
    """The same past, another future."""
    one = world(seed)
    names = ("item", "kind", "channel", "quantity", "discount")
    other = with_another_future(one.log, one.cutoff.day, np.random.default_rng(seed), names)
    return World.of(replace(other, order=np.where(other.kind == PURCHASE, np.maximum(other.order, 0), -1)), seed)


@cache
def inputs(seed: int) -> Inputs:
    return world(seed).inputs()


@cache
def altered_inputs(seed: int) -> Inputs:
    return altered(seed).inputs()


@cache
def definitions(seed: int) -> dict[str, np.ndarray]:
    """The three blocks by their plain definitions."""
    log, offers, features, market_stats = world(seed)
    everybody = np.arange(len(log))
    settings = feature_settings(CONFIG, features.vocabulary, 14)
    tables = cutoff_tables(CutoffData(features, market_stats, everybody))
    found = rebuild_inputs(columns(log), settings, tables, ())
    return {"pair": found["pair"], "customer": found["customer_features"], "context": context(seed)}


def context(seed: int) -> np.ndarray:
    """The context columns, an offer at a time."""
    log, offers, _, market_stats = world(seed)
    day, belongs = market_stats.cutoff.day, membership(offers)
    bought = [of_kind(between(columns(log), n, LONG_AGO, day), PURCHASE) for n in range(len(log))]
    customers, rows = sum(events["day"].size > 0 for events in bought), []
    for m in range(len(offers)):
        own = [of_offer(events, belongs, m) for events in bought]
        totals = offer_row(own, day, 14, CONTEXT_WINDOWS)
        ratios = context_ratios(totals, customers)
        sold = any(events["day"].size for events in own)
        rows.append([ratios[name] if sold else np.nan for name in CONFIG.context])
    return np.array(rows)


def column_of(inputs: Any, block: str, name: str) -> np.ndarray:
    values = inputs[block] if isinstance(inputs, dict) else getattr(inputs, FIELDS[block])
    return np.asarray(values)[..., getattr(CONFIG, block).index(name)]


@pytest.mark.parametrize(("block", "name"), COLUMNS)
def test_a_built_in_column_equals_its_plain_definition(block: str, name: str) -> None:
    for seed in SEEDS:
        one, other = (column_of(each, block, name) for each in (inputs(seed), definitions(seed)))
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("block", "name"), COLUMNS)
def test_a_built_in_column_has_its_declared_value_on_an_empty_history(block: str, name: str) -> None:
    """An affinity column is missing, whatever the customer did, for an offer that nobody bought."""
    empty = DECLARED[block, name].empty  # type: ignore[index]
    for seed in SEEDS:
        values, sold = column_of(inputs(seed), block, name), world(seed).market_stats.sold
        assert sold.any() and not sold.all()
        nothing = values[~sold] if block == "context" else values[NOBODY]
        nothing = nothing[sold] if block == "pair" else nothing
        if empty is not None:
            np.testing.assert_array_equal(nothing, np.full(nothing.shape, empty))


@pytest.mark.parametrize(("block", "name"), COLUMNS)
def test_a_built_in_column_is_missing_only_where_it_says_so_and_then_somewhere(block: str, name: str) -> None:
    missing = [np.isnan(column_of(inputs(seed), block, name)).any() for seed in SEEDS]
    assert all(missing) if DECLARED[block, name].missing else not any(missing)  # type: ignore[index]


@pytest.mark.parametrize(("block", "name"), COLUMNS)
def test_nothing_at_or_after_the_cutoff_changes_a_built_in_column(block: str, name: str) -> None:
    for seed in SEEDS:
        one, other = (column_of(each, block, name) for each in (inputs(seed), altered_inputs(seed)))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("column", [each for block in BLOCKS for each in BUILT_IN[block]], ids=lambda each: each.name)
def test_a_declaration_is_complete(column: FeatureColumn) -> None:
    assert column.meaning and not column.meaning.endswith(".")
    assert column.missing or column.empty is None or not math.isnan(column.empty)
    assert column.missing or not column.optional, "a flag for a column that is never missing"
    assert not column.gate or column.block == "pair"
    assert column.compute is None and column.reference is None


def test_names_are_unique_in_a_block_and_roles_are_those_declared() -> None:
    sizes = CONFIG.sizes(Vocabulary(("a",), {}, {}, ()))
    for block in BLOCKS:
        names = getattr(CONFIG, block)
        assert len(set(names)) == len(names) == getattr(sizes, block).columns
    assert [CONFIG.pair[k] for k in sizes.pair.gate] == ["purchase_days", "recency", "masked"]
    assert [CONFIG.pair[k] for k in sizes.pair.optional] == ["recency", "interpurchase_time", "expected"]
    assert [CONFIG.customer[k] for k in sizes.customer.optional] == ["recency", "interpurchase_time"]
    assert [CONFIG.context[k] for k in sizes.context.optional] == ["age"]
    first, last = CONFIG.pair.index("expected"), CONFIG.pair.index("sibling_follow")
    ranked = [column.name for column in CONFIG.columns["pair"][last + 1 :] if column.ranked]
    assert [CONFIG.pair[k] for k in sizes.pair.ranked] == [*CONFIG.pair[first : last + 1], *ranked]


def test_the_page_holds_the_declared_columns() -> None:
    page = PAGE.read_text()
    assert page == update_tables(page), "run python -m propensity.feature.table docs/features.md"
    assert page.count("| `") == sum(map(len, BUILT_IN.values()))


# Extra columns


def documented() -> FeatureColumn:
    """The column that docs/features.md shows."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    module = ModuleType("mine")
    exec(compile(found[1], "mine.py", "exec"), module.__dict__)
    column: FeatureColumn = module.promoted_share(days=182)
    return column


def days_since_payday(payday: int = 25) -> FeatureColumn:
    """A customer column that does not come from the history."""

    def compute(known: PointInTime) -> np.ndarray:
        month_day = int(np.datetime64(known.cutoff.day, "D").astype(object).day)
        return np.full(len(known), (month_day - payday) % 31, float)

    return FeatureColumn(
        "days_since_payday", "days since the last payday", "customer", empty=None, compute=compute, reference=compute
    )


def app_purchases() -> FeatureColumn:
    """A customer column that comes from the history alone."""

    def compute(known: PointInTime) -> np.ndarray:
        hit = (known.events.kind == PURCHASE) & (known.events.channel == 0)
        return np.bincount(known.owner[hit], minlength=len(known)).astype(float)

    def reference(known: PointInTime) -> np.ndarray:
        pairs = zip(known.events.kind.tolist(), known.events.channel.tolist(), strict=True)
        return np.array([sum(kind == PURCHASE and channel == 0 for kind, channel in pairs)])

    return FeatureColumn(
        "app_purchases", "purchase lines through the first channel", "customer", compute=compute, reference=reference
    )


def units_sold() -> FeatureColumn:
    """A context column."""

    def compute(known: PointInTime) -> np.ndarray:
        event, offer = known.offer_events
        own = known.events.kind[event] == PURCHASE
        return np.bincount(offer[own], known.events.quantity[event[own]], minlength=len(known.offers))

    def reference(known: PointInTime) -> np.ndarray:
        belongs = membership(known.offers)
        units = np.zeros(len(known.offers))
        for item, kind, quantity in zip(known.events.item, known.events.kind, known.events.quantity, strict=True):
            if item >= 0 and kind == PURCHASE:
                units += belongs[item] * quantity
        return units

    return FeatureColumn("units_sold", "units sold, all visible", "context", compute=compute, reference=reference)


EXTRA = (documented(), days_since_payday(), app_purchases(), units_sold())
OWN = replace(CONFIG, extra=EXTRA)


@cache
def own_world(seed: int) -> World:
    return World.of(world(seed).log, seed, OWN)


@pytest.mark.parametrize("column", EXTRA, ids=lambda each: each.name)
@pytest.mark.parametrize("seed", SEEDS)
def test_an_extra_column_keeps_its_declaration(column: FeatureColumn, seed: int) -> None:
    one = own_world(seed)
    assert violations(one.features, one.market_stats, np.arange(len(one.log)), [column]) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_extra_columns_are_the_last_of_their_block_and_leave_ours_as_they_were(seed: int) -> None:
    ours, with_extra = inputs(seed), own_world(seed).inputs()
    for name, one, other in zip(Inputs._fields, ours, with_extra, strict=True):
        other = other[..., : np.shape(one)[-1]] if name in (*FIELDS.values(), "standardisation") else other
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert (np.asarray(with_extra.standardisation)[:, :, -1] == 0).all(), "columns of the user's own are not compared"
    known = own_world(seed).known()
    assert OWN.pair[-1] == "promoted_share_182" and OWN.customer[-2:] == ("days_since_payday", "app_purchases")
    np.testing.assert_allclose(with_extra.pair[..., -1], EXTRA[0].compute(known), rtol=1e-6)  # type: ignore[misc]
    np.testing.assert_array_equal(with_extra.customer_features[:, -1], EXTRA[2].compute(known))  # type: ignore[misc]
    assert np.isfinite(np.asarray(with_extra.context)[:, -1]).all() and OWN.context[-1] == "units_sold"


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_at_or_after_the_cutoff_changes_an_extra_column(seed: int) -> None:
    one, other = own_world(seed), World.of(altered(seed).log, seed, OWN)
    for name in FIELDS.values():
        np.testing.assert_array_equal(getattr(one.inputs(), name), getattr(other.inputs(), name))
    known = other.known()
    assert (known.age >= 1).all() and known.events.day.max() < other.cutoff.day


@pytest.mark.parametrize("seed", SEEDS)
def test_an_extra_column_sees_nothing_that_the_mask_hides(seed: int) -> None:
    """Days: as at a log that ends earlier. An offer: its events are gone, and its pairs and context are empty."""
    one, random = own_world(seed), np.random.default_rng(seed)
    n, m = len(one.log), len(one.offers)
    offer, launched = random.integers(-1, m - 1, n), np.array([1])
    mask = HistoryMask(random.choice([0, 30, 100_000], n), offer, launched)
    masked, known, belongs = one.inputs(mask), one.known(mask), membership(one.offers)
    assert (known.age > mask.days[known.owner]).all()
    hidden = offer[known.owner]
    assert not ((known.events.item >= 0) & (hidden >= 0) & belongs[known.events.item, hidden]).any()
    own = np.flatnonzero(offer >= 0)
    assert np.isnan(masked.pair[own, offer[own], -1]).all() and np.isnan(masked.pair[:, 1, -1]).all()
    assert masked.context[1, -1] == 0.0 and (masked.customer_features[mask.days == 100_000, -1] == 0).all()
    plain = one.inputs()
    np.testing.assert_array_equal(masked.context[2:, -1], plain.context[2:, -1])
    free = np.flatnonzero((offer < 0) & (mask.days == 0))
    np.testing.assert_array_equal(masked.pair[free][:, 2:, -1], plain.pair[free][:, 2:, -1])


def test_an_extra_column_has_the_same_value_in_any_block() -> None:
    one = own_world(0)
    everybody = one.inputs()
    for rows in (np.array([NOBODY]), np.array([3, NOBODY, 3]), np.random.default_rng(0).permutation(len(one.log))):
        some = one.features.inputs(one.market_stats, rows)
        np.testing.assert_array_equal(some.pair[..., -1], everybody.pair[rows][..., -1])
        np.testing.assert_array_equal(some.customer_features[:, -2:], everybody.customer_features[rows][:, -2:])


def ones(known: PointInTime) -> np.ndarray:
    return np.ones(len(known))


BROKEN = {
    "differs from its reference": replace(app_purchases(), reference=ones),
    "is 1 on an empty history, but declares empty=0": FeatureColumn(
        "one", "one", "customer", compute=ones, reference=ones
    ),
    "is NaN, but missing is empty": FeatureColumn(
        "none", "none", "customer", empty=None, compute=lambda k: ones(k) * np.nan, reference=lambda k: ones(k) * np.nan
    ),
    "is infinite": FeatureColumn(
        "far", "far", "customer", empty=None, compute=lambda k: ones(k) * np.inf, reference=lambda k: ones(k) * np.inf
    ),
    "returned shape": FeatureColumn("few", "few", "pair", compute=ones, reference=ones),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_column_that_breaks_its_declaration_is_refused_in_a_sentence(sentence: str) -> None:
    one = World.of(world(0).log, 0, replace(CONFIG, extra=(BROKEN[sentence],)))
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        require(one.features, one.market_stats, np.arange(len(one.log)))


def test_a_column_that_looks_at_the_company_differs_from_its_reference() -> None:
    def rank(known: PointInTime) -> np.ndarray:
        return np.arange(len(known), dtype=float)

    column = FeatureColumn("rank", "rank", "customer", empty=None, compute=rank, reference=rank)
    one = world(0)
    found = violations(one.features, one.market_stats, np.arange(len(one.log)), [column])
    assert found == ["column 'rank' of data.feature.extra differs from its reference; correct one of them"]


INCOMPLETE: dict[str, Any] = {
    "two customer columns are called 'recency'": replace(app_purchases(), name="recency"),
    "has no meaning; declare it": replace(app_purchases(), meaning=""),
    "has no compute; declare it": replace(app_purchases(), compute=None),
    "has no reference; declare it": replace(app_purchases(), reference=None),
    "has block='offer'; give one of pair, customer, context": replace(app_purchases(), block="offer"),  # type: ignore[arg-type]
    "has no value for an empty history": replace(units_sold(), empty=None),
    "is NaN on an empty history; say in missing": replace(app_purchases(), empty=math.nan),
    "the gate reads pairs only": replace(app_purchases(), gate=4),
    "has reason='mood'; give one of frequency, recency": replace(app_purchases(), reason="mood"),  # type: ignore[arg-type]
    "has per='window'": replace(app_purchases(), per="window"),
    "data.feature.extra holds a str": "app_purchases",
}


@pytest.mark.parametrize("sentence", INCOMPLETE)
def test_an_incomplete_declaration_is_a_configuration_error(sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        FeatureConfig(extra=(INCOMPLETE[sentence],))


def test_the_roles_of_an_extra_column_follow_ours() -> None:
    column = replace(EXTRA[0], gate=1, ranked=True)
    sizes = block_sizes(replace(CONFIG, extra=(column,)).columns["pair"])
    last = len(CONFIG.pair)
    assert sizes.columns == last + 1 and sizes.optional[-1] == sizes.ranked[-1] == last
    assert [("gate", k) for k in sizes.gate] == [("gate", CONFIG.pair.index("purchase_days")), ("gate", last)] + [
        ("gate", CONFIG.pair.index(name)) for name in ("recency", "masked")
    ]
