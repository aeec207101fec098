"""Laws of the reference customers: nobody is his own neighbour, alone or in the base, masked or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

import propensity.feature.neighbour as module
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.data.offer.column import ColumnOffers
from propensity.data.vocabulary import Vocabulary
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.history_mask import EVERYTHING, HistoryMask
from propensity.feature.market_stats import MarketStats, MarketStatsBuilder, MarketStatsConfig
from propensity.feature.neighbour import (
    Level,
    category_sets,
    finest_level,
    neighbours,
    nested_columns,
    nested_levels,
)
from propensity.ingest.build import build_log
from propensity.kernel.event import fixed
from propensity.kernel.neighbour import NEAREST, Neighbours, neighbour_shares, signatures
from propensity.serving.inputs import rebuild_inputs
from propensity.serving.point_in_time import PointInTimeFeatures, cutoff_tables, feature_settings
from propensity.task import CutoffData
from random_log import NOBODY, columns, random_log, random_offers, random_tables

NAMES = "neighbours_short", "neighbours_middle", "neighbours_long"
CONFIG = FeatureConfig(history=8)
WINDOWS = 14, 56, 182


def tables(log: EventLog, offers: Offers, rows: np.ndarray, day: int) -> Neighbours:
    return neighbours(log.events, offers, offers.sets, len(offers), rows, day, WINDOWS)


def shares(
    log: EventLog, offers: Offers, reference: Neighbours, cutoff: int, rows=None, days=None, mask_offer=None
) -> np.ndarray:
    rows = np.arange(len(log)) if rows is None else rows
    days = np.zeros(rows.size, np.int64) if days is None else days
    mask_offer = np.full(rows.size, -1) if mask_offer is None else mask_offer
    out = np.full((rows.size, len(offers), 3), 7.7, np.float32)
    reference = Neighbours(reference.day, *map(fixed, reference[1:]))
    return neighbour_shares(log.events, offers.sets, offers.sets, rows, cutoff, days, mask_offer, reference, out)


def market(log: EventLog, offers: Offers, day: int, most: int = 10_000) -> MarketStats:
    config = MarketStatsConfig(references=2, neighbours=most, neighbour_categories=1)
    return MarketStatsBuilder(log, offers, 14, config).at(Cutoff(day, 14))


def of(features: Features, pair: Any) -> np.ndarray:
    return np.asarray(pair)[:, :, [features.config.pair.index(name) for name in NAMES]]


@pytest.mark.parametrize("most", [10_000, 40])
def test_a_customer_alone_has_the_neighbours_that_he_has_in_the_base(most: int) -> None:
    """Given as events, as at scoring online, and a row of the log; in the reference sample or not; also days later."""
    source = random_tables(3, customers=150, days=300)
    log = build_log(source)
    day, offers = log.last_day - 10, random_offers(3, log.items.height)
    assert log.purchasers(day).size > NEAREST
    features = Features(log, offers, Vocabulary(offers.name, {}, {}, ("app", "store")), CONFIG)
    stats, everybody = market(log, offers, day, most), np.arange(len(log))
    bundled = cutoff_tables(CutoffData(features, stats, everybody))
    settings = feature_settings(CONFIG, features.vocabulary, 14)
    online = PointInTimeFeatures(bundled, settings, features.vocabulary)
    events = source.events.collect().sort("day", maintain_order=True)
    assert stats.neighbour_signature.size == min(most, log.purchasers(day).size)
    for cutoff in (day, day + 5):
        later = stats._replace(cutoff=Cutoff(cutoff, 14))
        base = of(features, features.inputs(later, everybody).pair)
        assert (base > 0).any()
        for row in range(0, len(log), 7):
            alone = of(features, features.inputs(later, np.array([row])).pair)
            np.testing.assert_array_equal(alone[0], base[row])
            own = events.filter(pl.col("customer") == log.customer_id[row]).drop("customer").to_dicts()
            raw = of(features, online.from_raw_events([own], cutoff).pair)
            np.testing.assert_array_equal(raw[0], base[row])
    plain = rebuild_inputs(columns(log), settings, bundled, ())["pair"]
    np.testing.assert_allclose(of(features, plain), of(features, features.inputs(stats, everybody).pair), atol=2e-5)


@pytest.mark.parametrize("days", [0, 30, EVERYTHING])
def test_nobody_is_a_neighbour_of_himself_even_where_a_mask_hides_a_part(days: int) -> None:
    """With one reference customer, he has no neighbour, and some others have him."""
    log = random_log(1)
    offers, cutoff = random_offers(1, log.items.height), log.last_day
    for row in (2, 5, 9):
        reference = tables(log, offers, np.array([row]), cutoff)
        hidden = np.full(len(log), days)
        for mask_offer in (-1, 0):
            have = shares(log, offers, reference, cutoff, None, hidden, np.full(len(log), mask_offer))
            assert (have[row] == 0).all() and set(np.unique(have)) <= {0.0, 1.0}
            assert (have > 0).any() == (days < EVERYTHING)


def test_a_customer_with_the_same_purchases_is_a_neighbour() -> None:
    source = random_tables(2)
    twin = source.events.filter(pl.col("customer") == 105).with_columns(customer=pl.lit(999).cast(pl.Int64))
    log = build_log(source._replace(events=pl.concat([source.events, twin]), customers=None, read=None))
    offers, cutoff = random_offers(2, log.items.height), log.last_day
    pair = np.flatnonzero(np.isin(log.customer_id, [105, 999]))
    have = shares(log, offers, tables(log, offers, pair, cutoff), cutoff, pair)
    np.testing.assert_array_equal(have[0], have[1])
    sign = signatures(log.events, offers.sets, offers.sets, len(offers), np.arange(len(log)), cutoff)
    assert pair.size == 2 and sign[pair[0]] == sign[pair[1]] and have.max() == 1.0
    assert np.unique(sign).size >= log.purchasers(cutoff).size - 3 and sign[NOBODY] == 0


def test_shares_are_shares_and_grow_with_the_window() -> None:
    log = random_log(4, customers=150)
    offers, cutoff = random_offers(4, log.items.height), log.last_day
    have = shares(log, offers, tables(log, offers, log.purchasers(cutoff), cutoff), cutoff)
    assert (np.diff(have, axis=2) >= 0).all() and (have >= 0).all() and (have <= 1 + 1e-5).all()
    assert (have[NOBODY] == 0).all() and np.unique(have).size > 100


def test_the_order_of_the_reference_customers_changes_nothing() -> None:
    log = random_log(5, customers=150)
    offers, cutoff = random_offers(5, log.items.height), log.last_day
    rows = log.purchasers(cutoff)
    one, other = (tables(log, offers, each, cutoff) for each in (rows, rows[::-1]))
    np.testing.assert_array_equal(one.signature, other.signature)
    np.testing.assert_allclose(shares(log, offers, one, cutoff), shares(log, offers, other, cutoff), atol=1e-6)


def test_masking_an_offer_equals_a_log_without_its_purchases_by_this_customer() -> None:
    """His profile lacks them; those of others do not."""
    log = random_log(6, customers=60)
    offers, cutoff, row = random_offers(6, log.items.height), log.last_day, 7
    reference = tables(log, offers, np.delete(np.arange(len(log)), row), cutoff)
    belongs = np.zeros(log.items.height + 1, bool)
    belongs[:-1] = np.isin(np.arange(log.items.height), offers.item[offers.item_offer == 1])
    own = np.arange(log.day.size)
    hidden = belongs[log.item] & (own >= log.offsets[row]) & (own < log.offsets[row + 1])
    other = EventLog(**(vars(log) | {"item": np.where(hidden, -1, log.item).astype(np.int32)}))
    have = shares(log, offers, reference, cutoff, np.array([row]), None, np.array([1]))
    np.testing.assert_array_equal(have, shares(other, offers, reference, cutoff, np.array([row])))


def test_the_level_is_the_finest_nested_column_with_enough_buyers_or_else_the_offers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = random_log(7, customers=200)
    offers = ColumnOffers("category", min_buyers=1).all(log)
    rows, day = log.purchasers(log.last_day), log.last_day
    assert nested_columns(log.items, offers) == ["item", "category"]
    by_item = finest_level(log, offers, nested_levels(log.items, offers), rows, day)
    assert by_item.column == "item" and list(by_item.value) == sorted(by_item.value) and by_item.value.size > 4
    monkeypatch.setattr(module, "CATEGORIES", by_item.value.size - 1)
    by_offer = finest_level(log, offers, nested_levels(log.items, offers), rows, day)
    assert by_offer.column == "" and tuple(by_offer.value) == offers.name
    sets = category_sets(log.items, offers, by_item)
    for k, name in enumerate(by_item.value):
        item = log.items["item"].to_list().index(name)
        assert sets.offer[sets.offsets[item] : sets.offsets[item + 1]].tolist() == [k]
    assert category_sets(log.items, offers, Level("", by_offer.value)) is not None


def test_a_group_that_is_off_has_no_columns_and_no_tables() -> None:
    log = random_log(8)
    offers, day = random_offers(8, log.items.height), log.last_day
    config = FeatureConfig(history=8, groups=("expect",))
    stats = MarketStatsBuilder(
        log, offers, 14, MarketStatsConfig(neighbour_categories=2, references=2), config.groups
    ).at(Cutoff(day, 14))
    assert stats.neighbour_signature.size == stats.svd.size == stats.ease.size == 0
    vocabulary = Vocabulary(offers.name, {}, {}, ("app", "store"))
    few, rows = Features(log, offers, vocabulary, config), np.arange(len(log))
    whole = Features(log, offers, vocabulary, CONFIG).inputs(market(log, offers, day), rows)
    mask = HistoryMask.nothing(len(log))
    have = few.inputs(stats, rows, mask)
    assert not set(NAMES) & set(config.pair) and "expected_trips" in config.pair
    for k, name in enumerate(config.pair):
        np.testing.assert_array_equal(have.pair[:, :, k], whole.pair[:, :, CONFIG.pair.index(name)], err_msg=name)
    settings = feature_settings(config, vocabulary, 14)
    plain = rebuild_inputs(columns(log), settings, cutoff_tables(CutoffData(few, stats, rows)), ())
    np.testing.assert_allclose(plain["pair"], have.pair, rtol=2e-5, atol=2e-5)


def test_the_nearest_in_the_tables_are_those_that_a_search_finds() -> None:
    """Masking an offer without items hides nothing, and searches."""
    log = random_log(9, customers=150)
    offers, cutoff = random_offers(9, log.items.height), log.last_day
    rows = log.purchasers(cutoff)
    reference = tables(log, offers, rows, cutoff)
    sizes = np.diff(reference.nearest_offsets)
    assert rows.size > NEAREST + 1 and sizes.max() >= NEAREST
    searched = shares(log, offers, reference, cutoff, mask_offer=np.full(len(log), len(offers) - 1))
    np.testing.assert_array_equal(searched, shares(log, offers, reference, cutoff))


def test_few_categories_give_nobody_a_neighbour() -> None:
    log = build_log(random_tables(3, customers=60, days=300))
    offers = random_offers(3, log.items.height)
    few, enough = (
        MarketStatsBuilder(log, offers, 14, MarketStatsConfig(references=1, neighbour_categories=count))
        for count in (len(offers) + 1, 1)
    )
    day = Cutoff(log.last_day - 10, 14)
    assert few.at(day).neighbour_signature.size == 0 < enough.at(day).neighbour_signature.size
