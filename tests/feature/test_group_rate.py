"""Laws of group rates: what customers of the same value of an attribute buy."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError
from propensity.feature.empty_customer import empty_customer
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.group_rate import GROUP_RATE_WINDOWS, LEAST, customer_groups, group_codes, group_rate_name
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import MarketStats, MarketStatsBuilder, MarketStatsConfig
from propensity.feature.new_offer import NewOfferFeatures
from propensity.feature.new_offer_stats import NewOfferStatsBuilder
from propensity.kernel.event import PURCHASE
from propensity.serving.inputs import rebuild_inputs
from propensity.serving.point_in_time import PointInTimeFeatures, cutoff_tables, feature_settings
from propensity.task import CutoffData
from random_log import columns, membership, random_log, random_offers, with_another_future

CUSTOMERS, NAMES = 60, ("tier", "age")
CONFIG = FeatureConfig(history=8, group_rates=NAMES)
TIERS = ["gold", "blue", None]
OWN = [group_rate_name(window, name) for name in NAMES for window in GROUP_RATE_WINDOWS]


def log_of(seed: int = 1, tiers: list[str | None] = TIERS) -> EventLog:
    """A log with a tier of three customers in a row, unknown for a third, and an age."""
    log = random_log(seed, customers=CUSTOMERS)
    known = pl.DataFrame(
        {"tier": [tiers[n % 3] for n in range(CUSTOMERS)], "age": [None, *(20.0 + n for n in range(1, CUSTOMERS))]}
    )
    return replace(log, customers=pl.concat([log.customers, known], how="horizontal"))


def of(log: EventLog, config: FeatureConfig = CONFIG, day: int | None = None) -> tuple[Features, MarketStats]:
    offers = random_offers(1, log.items.height)
    settings = MarketStatsConfig(neighbour_categories=2, references=2, shrink_group=3.0)
    features = Features(log, offers, Vocabulary(offers.name, {}, {}, ("app", "store")), config)
    builder = MarketStatsBuilder(log, offers, 14, settings, *config.market_groups)
    return features, builder.at(Cutoff(log.first_day + 300 if day is None else day, 14))


def rates(inputs: Inputs, config: FeatureConfig = CONFIG) -> np.ndarray:
    return np.asarray(inputs.pair)[..., [config.pair.index(name) for name in OWN]]


def everybody(log: EventLog) -> np.ndarray:
    features, stats = of(log)
    return rates(features.inputs(stats, np.arange(len(log))))


def test_a_rate_is_the_log_ratio_of_buyers_and_expected_buyers_of_the_group():
    """By its words, over the customers with a purchase before the cutoff."""
    log = log_of()
    features, stats = of(log)
    have, day, belongs = everybody(log), stats.cutoff.day, membership(features.offers)
    rows, tier = log.purchasers(day), log.customers["tier"].to_list()
    for w, window in enumerate(GROUP_RATE_WINDOWS):
        bought = np.zeros((len(log), len(features.offers)), bool)
        for n in range(len(log)):
            own = slice(log.offsets[n], log.offsets[n + 1])
            recent = (log.kind[own] == PURCHASE) & (log.day[own] < day) & (log.day[own] >= day - window)
            items = log.item[own][recent & (log.item[own] >= 0)]
            bought[n] = belongs[items].any(axis=0)
        for n in range(len(log)):
            group = [k for k in rows if tier[k] == tier[n]]
            expected = len(group) * bought[rows].mean(axis=0)
            want = np.log((bought[group].sum(axis=0) + 3.0) / (expected + 3.0))
            np.testing.assert_allclose(have[n, stats.sold, w], want[stats.sold], rtol=1e-5, atol=1e-6)
    assert stats.sold.any() and not stats.sold.all() and np.isnan(have[:, ~stats.sold]).all()


def test_nothing_at_or_after_the_cutoff_changes_a_rate():
    log = log_of()
    day = log.first_day + 300
    other = with_another_future(log, day, np.random.default_rng(1), ("item", "kind", "quantity"))
    other = replace(other, order=np.where(other.kind == PURCHASE, np.maximum(other.order, 0), -1))
    np.testing.assert_array_equal(everybody(other), everybody(log))


def test_a_customer_alone_has_the_rates_that_he_has_among_others_in_any_order():
    log = log_of()
    features, stats = of(log)
    have, mixed = everybody(log), np.random.default_rng(2).permutation(len(log))
    np.testing.assert_array_equal(rates(features.inputs(stats, mixed)), have[mixed])
    for n in (0, 7, 31):
        np.testing.assert_array_equal(rates(features.inputs(stats, np.array([n])))[0], have[n])


def test_other_names_of_the_values_and_other_rows_of_the_table_change_no_rate():
    """The log of the same customers in another order."""
    log = log_of()
    np.testing.assert_array_equal(everybody(log_of(tiers=["aaa", "zzz", None])), everybody(log))
    order = np.random.default_rng(3).permutation(len(log))
    events = np.concatenate([np.arange(log.offsets[n], log.offsets[n + 1]) for n in order])
    sizes = np.diff(log.offsets)[order]
    moved_events: dict[str, Any] = {name: np.ascontiguousarray(getattr(log, name)[events]) for name in log.column_types}
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    moved = replace(log, offsets=offsets, customers=log.customers[order], **moved_events)
    np.testing.assert_array_equal(everybody(moved), everybody(log)[order])


def test_unknown_is_a_group_and_a_rare_or_unheard_value_is_another():
    tiers = ["gold"] * LEAST + ["rare"] * (LEAST - 1) + [None] * 3 + [" "]
    table = pl.DataFrame({"tier": tiers})
    groups = customer_groups(table, ["tier"])
    assert groups.label.tolist() == ["", "", "gold"]
    codes = group_codes(pl.DataFrame({"tier": ["gold", " gold ", "rare", "unheard", None, "", "  "]}), ["tier"], groups)
    assert codes[:, 0].tolist() == [2, 2, 1, 1, 0, 0, 0]
    nothing = customer_groups(pl.DataFrame({"tier": [None, None]}), ["tier"])
    assert group_codes(pl.DataFrame({"tier": ["gold", None]}), ["tier"], nothing)[:, 0].tolist() == [1, 0]


def test_numbers_and_dates_are_ranges_between_quantiles():
    table = pl.DataFrame({"age": [*range(100), None, None, float("nan")]}, strict=False)
    groups = customer_groups(table, ["age"])
    codes = group_codes(table, ["age"], groups)[:, 0]
    assert codes[-3:].tolist() == [0, 0, 0] and groups.numeric.all()
    np.testing.assert_array_equal(np.bincount(codes[:-3])[1:], np.full(10, 10))
    assert group_codes(pl.DataFrame({"age": [-5, 1_000, 10]}), ["age"], groups)[:, 0].tolist() == [1, 10, 2]
    days = pl.DataFrame({"since": [date(2020, 1, 1)] * 5 + [date(2021, 1, 1)] * 5 + [None]})
    assert group_codes(days, ["since"], customer_groups(days, ["since"]))[:, 0].tolist() == [1] * 5 + [2] * 5 + [0]
    few = pl.DataFrame({"children": [0, 0, 0, 1, 1, 2, 2, 2]})
    assert group_codes(few, ["children"], customer_groups(few, ["children"]))[:, 0].tolist() == [1, 1, 1, 2, 2, 3, 3, 3]


def test_without_attributes_the_columns_are_as_they_were():
    log = log_of()
    features, stats = of(log, replace(CONFIG, group_rates=()))
    with_rates, _ = of(log)
    plain = features.inputs(stats, np.arange(len(log)))
    more = with_rates.inputs(of(log)[1], np.arange(len(log)))
    assert CONFIG.pair == (*features.config.pair, *OWN) and stats.group_rate.size == 0
    for name, one, other in zip(Inputs._fields, plain, more, strict=True):
        other = other[..., : -len(OWN)] if name in ("pair", "standardisation") else other
        np.testing.assert_array_equal(one, other, err_msg=name)
    off = replace(CONFIG, groups=("expect",))
    assert off.used_group_rates == () and not set(OWN) & set(off.pair)


def test_a_launched_offer_has_no_rate():
    log = log_of()
    features, stats = of(log)
    sold, rows = int(np.flatnonzero(stats.sold)[0]), np.arange(len(log))
    mask = HistoryMask.nothing(len(log))._replace(launched=np.array([sold]))
    assert np.isnan(rates(features.inputs(stats, rows, mask))[:, sold]).all()


def test_a_new_offer_has_the_rates_of_its_items():
    """New offers with the items of trained ones have theirs."""
    log = log_of()
    features, stats = of(log)
    builder = MarketStatsBuilder(log, features.offers, 14, MarketStatsConfig(shrink_group=3.0), *CONFIG.market_groups)
    tables = NewOfferStatsBuilder(builder, features.offers).at(builder.at(stats.cutoff))
    new = NewOfferFeatures(features, stats, features.offers, tables, features.offer_code)
    have = rates(new.inputs(tables.market_stats, np.arange(len(log))))[:, : len(features.offers)]
    np.testing.assert_array_equal(have, everybody(log))


def test_a_bundle_and_its_definition_have_the_rates_of_the_log():
    log = log_of()
    features, stats = of(log)
    rows = np.arange(len(log))
    settings = feature_settings(CONFIG, features.vocabulary, 14)
    tables = cutoff_tables(CutoffData(features, stats, rows))
    bundled = PointInTimeFeatures(tables, settings, features.vocabulary)
    posted = bundled.from_events(log.events, groups=features.groups_of(stats))
    np.testing.assert_array_equal(rates(posted), everybody(log))
    unknown, plain = bundled.from_events(log.events), rebuild_inputs(columns(log), settings, tables, ())
    index = [CONFIG.pair.index(name) for name in OWN]
    np.testing.assert_array_equal(plain["pair"][..., index], rates(unknown))
    np.testing.assert_array_equal(rates(empty_customer(features, stats))[0], rates(unknown)[0])
    have = everybody(log)
    np.testing.assert_array_equal(rates(unknown)[2, :, :2], have[2, :, :2])  # whose tier is not known
    before = {name: each for name, each in tables.items() if not name.startswith("group_")}
    old = feature_settings(replace(CONFIG, group_rates=()), features.vocabulary, 14)
    old = {name: each for name, each in old.items() if not name.startswith("group_rate")}
    assert PointInTimeFeatures(before, old, features.vocabulary).config.used_group_rates == ()


def test_a_column_that_customers_do_not_have_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="customers have no column 'teir'; .* such as 'tier'"):
        of(log_of(), replace(CONFIG, group_rates=("teir",)))
