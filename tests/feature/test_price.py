"""Laws of the columns of prices and discounts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.vocabulary import Vocabulary
from propensity.feature.column import DEFAULT_GROUPS
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import MarketStats, MarketStatsBuilder, MarketStatsConfig
from propensity.feature.new_offer import NewOfferFeatures
from propensity.feature.new_offer_stats import NewOfferStatsBuilder
from propensity.feature.price import PRICE_NAMES
from propensity.kernel.event import PURCHASE
from propensity.serving.inputs import rebuild_inputs
from propensity.serving.point_in_time import PointInTimeFeatures, cutoff_tables, feature_settings
from propensity.task import CutoffData
from random_log import NOBODY, columns, random_log, random_offers, with_another_future

CONFIG = FeatureConfig(history=8, groups=(*DEFAULT_GROUPS, "prices"))
INDEX = [CONFIG.pair.index(name) for name in PRICE_NAMES]


def of(
    log: EventLog, seed: int = 1, config: FeatureConfig = CONFIG
) -> tuple[Features, MarketStatsBuilder, MarketStats]:
    offers = random_offers(seed, log.items.height)
    settings = MarketStatsConfig(neighbour_categories=2, references=2)
    builder = MarketStatsBuilder(log, offers, 14, settings, *config.market_groups)
    features = Features(log, offers, Vocabulary(offers.name, {}, {}, ("app", "store")), config)
    return features, builder, builder.at(Cutoff(log.first_day + 300, 14))


def priced(inputs: Inputs) -> np.ndarray:
    return np.asarray(inputs.pair)[..., INDEX]


def everybody(log: EventLog, seed: int = 1) -> np.ndarray:
    features, _, stats = of(log, seed)
    return priced(features.inputs(stats, np.arange(len(log))))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_kernel_a_bundle_and_the_definition_agree(seed: int) -> None:
    log = random_log(seed, customers=30)
    features, _, stats = of(log, seed)
    settings = json.loads(json.dumps(feature_settings(CONFIG, features.vocabulary, 14)))
    tables = cutoff_tables(CutoffData(features, stats, np.arange(len(log))))
    have = everybody(log, seed)
    plain = rebuild_inputs(columns(log), settings, tables, ())["pair"][..., INDEX]
    np.testing.assert_allclose(plain, have, rtol=2e-4, atol=2e-5)
    posted = PointInTimeFeatures(tables, settings, features.vocabulary).from_events(log.events)
    np.testing.assert_array_equal(priced(posted), have)
    for k in range(len(PRICE_NAMES)):
        assert 0 < np.isnan(have[..., k]).mean() < 1
    assert np.isnan(have[NOBODY, :, :4]).all()


def test_prices_of_a_unit_and_shares_of_discounted_lines_are_as_on_paper() -> None:
    """Customer 2 pays 3.00 a unit where all pay 4.00 now; one of two lines had a discount."""
    log = random_log(1, customers=30)
    features, _, stats = of(log)
    have = everybody(log)
    day, sets = stats.cutoff.day, features.offers.sets
    priced_lines = (log.kind == PURCHASE) & (log.item >= 0) & (log.revenue > 0) & (log.day < day)
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    for m in range(len(features.offers)):
        inside = np.array([m in sets.offer[sets.offsets[i] : sets.offsets[i + 1]] for i in range(log.items.height)])
        line = priced_lines & inside[log.item] & (log.day >= day - 364)
        own, now = line & (owner == 2), line & (log.day >= day - 28)
        if own.any() and now.any():
            prices = [log.revenue[each].sum() / log.quantity[each].sum() for each in (now, own)]
            np.testing.assert_allclose(have[2, m, 0], np.log(prices[0] / prices[1]), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(have[2, m, 1], (log.discount[own] > 0).mean(), rtol=1e-5)
            np.testing.assert_allclose(have[2, m, 4], (log.discount[now] > 0).mean(), rtol=1e-5)


def test_prices_have_no_future_no_company_and_no_order() -> None:
    log = random_log(1, customers=30)
    features, _, stats = of(log)
    have, mixed = everybody(log), np.random.default_rng(1).permutation(len(log))
    np.testing.assert_array_equal(priced(features.inputs(stats, mixed)), have[mixed])
    names = ("item", "kind", "quantity", "discount")
    other = with_another_future(log, stats.cutoff.day, np.random.default_rng(1), names)
    other = replace(other, order=np.where(other.kind == PURCHASE, np.maximum(other.order, 0), -1))
    np.testing.assert_array_equal(everybody(other), have)


def test_masked_offers_and_launched_ones_have_no_price_of_their_own() -> None:
    log = random_log(1, customers=30)
    features, _, stats = of(log)
    rows, launched = np.arange(len(log)), int(np.flatnonzero(stats.sold)[0])
    nothing = HistoryMask.nothing(len(log))
    offer = np.full(len(log), int(np.flatnonzero(stats.sold)[1]))
    masked = priced(features.inputs(stats, rows, nothing._replace(offer=offer)))
    assert np.isnan(masked[:, offer[0], :2]).all()
    assert np.isnan(
        priced(features.inputs(stats, rows, nothing._replace(launched=np.array([launched]))))[:, launched]
    ).all()


def test_the_group_is_off_by_default_and_leaves_the_others_as_they_were() -> None:
    log = random_log(1, customers=30)
    rows, plain = np.arange(len(log)), FeatureConfig(history=8)
    features, _, stats = of(log, config=plain)
    assert stats.price_now.size == 0 and CONFIG.pair == (*plain.pair, *PRICE_NAMES)
    priced_features, _, priced_stats = of(log)
    more = np.asarray(priced_features.inputs(priced_stats, rows).pair)
    np.testing.assert_array_equal(more[..., : len(plain.pair)], features.inputs(stats, rows).pair)


def test_an_offer_given_anew_has_the_prices_of_its_items() -> None:
    log = random_log(1, customers=30)
    features, builder, stats = of(log)
    tables = NewOfferStatsBuilder(builder, features.offers).at(stats)
    new = NewOfferFeatures(features, stats, features.offers, tables, features.offer_code)
    have = priced(new.inputs(tables.market_stats, np.arange(len(log))))[:, : len(features.offers)]
    np.testing.assert_allclose(have[..., [0, 1, 4]], everybody(log)[..., [0, 1, 4]], rtol=1e-5)
