"""Laws of new offers: they are compared with the trained ones, and are what a trained offer with the same items is."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from propensity.data.cutoff import Cutoff
from propensity.data.offer import build_offers, offers_before
from propensity.data.offer.column import ColumnOffers
from propensity.data.vocabulary import Vocabulary
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.market_stats import AFFINITY_HALF_LIVES, MarketStats, MarketStatsBuilder, MarketStatsConfig
from propensity.feature.new_offer import NewOfferFeatures
from propensity.feature.new_offer_stats import NewOfferStatsBuilder, overlap, regress
from propensity.kernel.event import Events, fixed
from propensity.kernel.market import MarketColumns, profiles
from random_log import random_log

CATEGORY = ColumnOffers("category", min_buyers=1)
CONFIG = FeatureConfig(history=16)
MARKET = MarketStatsConfig(references=4, step=14, neighbour_categories=2)


def built(seed: int, groups: tuple[str, ...] | None = None) -> tuple[Features, MarketStats, MarketStatsBuilder]:
    """Features, statistics and builder of the categories at the end of a random log."""
    log = random_log(seed)
    config = CONFIG if groups is None else FeatureConfig(history=16, groups=groups)
    day = log.last_day + 1
    offers = offers_before(log, CATEGORY, day)
    vocabulary = Vocabulary.fit(log, CATEGORY, day)
    builder = MarketStatsBuilder(log, offers, 14, MARKET, config.groups)
    return Features(log, offers, vocabulary, config), builder.at(Cutoff(day, 14)), builder


@pytest.mark.parametrize("groups", [None, (), ("affinity",), ("units", "expect")])
@pytest.mark.parametrize("seed", range(3))
def test_a_new_offer_with_the_items_of_a_trained_one_has_its_columns(seed: int, groups: tuple[str, ...] | None) -> None:
    features, market, builder = built(seed, groups)
    place = np.array([0, 2, 3])
    new = features.offers.take(place)
    tables = NewOfferStatsBuilder(builder, new).at(market)
    twin = NewOfferFeatures(features, market, new, tables, features.offer_code[place])
    rows = features.log.purchasers(market.cutoff.day)
    want, got = features.inputs(market, rows), twin.inputs(tables.market_stats, rows)
    for k, name in enumerate(features.config.pair):
        np.testing.assert_allclose(got.pair[:, :-1, k], want.pair[:, place, k], atol=2e-4, err_msg=name)
    np.testing.assert_allclose(got.context[:-1], want.context[place])
    np.testing.assert_array_equal(got.customer_features, want.customer_features)
    for half_life in features.config.half_lives:
        column = features.config.pair.index(f"decayed_{half_life}")
        totals = [np.asarray(each.pair)[:, :, column].sum(axis=1) for each in (want, got)]
        np.testing.assert_allclose(totals[1], totals[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_purchases_of_trained_offers_are_those_of_their_columns(seed: int) -> None:
    features, market, builder = built(seed)
    new = features.offers.take(np.array([1]))
    twin = NewOfferFeatures(features, market, new, NewOfferStatsBuilder(builder, new).at(market), np.zeros(1, np.int64))
    rows, names = np.arange(len(features.log)), features.config.pair
    want = np.asarray(features.inputs(market, rows).pair)
    twin.inputs(twin.tables.market_stats, rows)
    assert twin.state is not None
    for got, each in zip(twin.state, profiles(want, MarketColumns.of(names, AFFINITY_HALF_LIVES)), strict=False):
        np.testing.assert_array_equal(got, each)
    np.testing.assert_array_equal(twin.state.days, want[:, :, names.index("days_182")])
    for place, half_life in enumerate(features.config.half_lives):
        total = want[:, :, names.index(f"decayed_{half_life}")].sum(axis=1)
        np.testing.assert_allclose(twin.state.decayed[:, place], total, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_customers_given_by_their_events_have_the_inputs_of_the_log(seed: int) -> None:
    features, market, builder = built(seed)
    new = features.offers.take(np.array([0, 2]))
    twin = NewOfferFeatures(features, market, new, NewOfferStatsBuilder(builder, new).at(market), np.zeros(2, np.int64))
    events, row = features.log.events, int(np.argmax(np.diff(features.log.offsets)))
    own = slice(events.offsets[row], events.offsets[row + 1])
    alone = copy.copy(twin)
    columns = (np.array([0, own.stop - own.start]), *(each[own] for each in events[1:]))
    alone.events = Events(*map(fixed, columns))
    want = twin.inputs(twin.tables.market_stats, np.array([row]))
    for got, each in zip(alone.inputs(twin.tables.market_stats, np.zeros(1, np.int64)), want, strict=True):
        np.testing.assert_allclose(got, each, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_an_offer_without_a_purchase_has_columns(seed: int) -> None:
    features, market, builder = built(seed)
    new = build_offers(
        ("launch", "all"), np.array([0, *range(14)]), np.array([0, *[1] * 14]), features.log.items.height
    )
    tables = NewOfferStatsBuilder(builder, new).at(market)
    assert not tables.market_stats.sold[0] and tables.market_stats.sold[1]
    twin = NewOfferFeatures(features, market, new, tables, np.zeros(2, np.int64))
    inputs = twin.inputs(tables.market_stats, features.log.purchasers(market.cutoff.day))
    assert not np.isinf(inputs.pair).any() and np.isnan(inputs.pair[:, 0, features.config.pair.index("similar")]).all()


def test_trained_offers_that_are_mostly_the_new_one_are_no_evidence_for_it() -> None:
    features, market, builder = built(1)
    share, covered = overlap(features.log, features.offers, features.offers, market.cutoff.day)
    assert (np.diag(covered) > 0.999).all() and (np.diag(share) > 0.999).all() and (share <= 1 + 1e-9).all()
    tables = NewOfferStatsBuilder(builder, features.offers).at(market)
    for table in (*tables.market_stats.similar, *tables.market_stats.together, tables.market_stats.cosine):
        assert (np.abs(table[covered > 0.5]) == 0).all()


def test_regression_on_the_allowed_offers_solves_their_equations() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 3))
    others = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1]], bool)
    weights = regress(x.T @ x, x.T @ y, others, (0.3,))[0]
    ridge = 0.3 * (np.trace(x.T @ x) / 5 + 1e-3)
    for k in range(3):
        own = x[:, others[:, k]]
        want = np.linalg.solve(own.T @ own + ridge * np.eye(own.shape[1]), own.T @ y[:, k])
        np.testing.assert_allclose(weights[others[:, k], k], want, rtol=1e-5)
        assert (weights[~others[:, k], k] == 0).all()
