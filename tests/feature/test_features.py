"""Laws of features: they know the past, all of it is defined, and nobody's depend on anybody else's company."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff, TrainingCutoffs
from propensity.data.event_log import EventLog
from propensity.data.offer import OfferConfig, active_offers
from propensity.data.offer.column import ColumnOffers
from propensity.data.offer.filter import FilterOffers
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError
from propensity.feature.column import AFFINITY, AFFINITY_GROUP, CONTEXT_NAMES, SIBLING_NAMES
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.history_mask import EVERYTHING, HistoryMask
from propensity.feature.market_stats import MarketStatsBuilder, MarketStatsConfig
from propensity.feature.weight import HalfLife
from propensity.ingest.build import build_log
from propensity.ingest.source import Tables
from propensity.task import CutoffData, Task
from random_log import NOBODY, date_of, membership, random_log, random_tables, rewritten

CONFIG = FeatureConfig(history=32)
BY_CATEGORY = ColumnOffers("category", min_buyers=2)


@dataclass
class Delivered:
    """A source that has its tables already."""

    tables: Tables

    def load(self) -> Tables:
        return self.tables


def task(tables: Tables, offer: OfferConfig = BY_CATEGORY, end: str | None = None) -> Task:
    return Task(
        offer, Delivered(tables), end=end, cutoff=TrainingCutoffs(step=14, count=3), weight=HalfLife(rhythm=10.0),
        feature=CONFIG, market_stats=MarketStatsConfig(neighbour_categories=2, references=3, sample=40),
    )  # fmt: skip


def inputs(cutoff_data: CutoffData, customer: np.ndarray | None = None, mask: HistoryMask | None = None) -> Inputs:
    return cutoff_data.features.inputs(
        cutoff_data.market_stats, cutoff_data.row if customer is None else customer, mask
    )


def cutoff_data_of(
    log: EventLog, day: int, vocabulary: Vocabulary | None = None, offer: OfferConfig = BY_CATEGORY
) -> CutoffData:
    """A send date, by default with a vocabulary of that day."""
    names = Vocabulary.fit(log.before(day), offer, day) if vocabulary is None else vocabulary
    return task(random_tables(0), offer).cutoff_data(log, Cutoff(day, 14), names)


def assert_same(one: tuple, other: tuple) -> None:
    for name, mine, theirs in zip(one._fields, one, other, strict=True):  # type: ignore[attr-defined]
        np.testing.assert_array_equal(mine, theirs, err_msg=name)


def from_events(tables: Tables) -> Tables:
    """The same items, taken from the events: not known before their first."""
    assert tables.items is not None
    return tables._replace(items=tables.items.with_columns(known=pl.lit(None, pl.Date)))


@pytest.mark.parametrize("how", ["shuffled", "altered", "deleted"])
@pytest.mark.parametrize("known", ["always", "from events"])
@pytest.mark.parametrize("seed", range(3))
def test_scoring_knows_nothing_at_or_after_the_cutoff(how: str, known: str, seed: int) -> None:
    tables = random_tables(seed) if known == "always" else from_events(random_tables(seed, items=40))
    log = build_log(tables)
    for day in (log.first_day + 20, log.first_day + 200, log.last_day):
        want, have = (cutoff_data_of(each, day) for each in (log, build_log(rewritten(tables, day, seed, how))))
        np.testing.assert_array_equal(have.customer_id, want.customer_id)
        assert have.features.offers.name == want.features.offers.name
        assert have.features.vocabulary == want.features.vocabulary
        assert_same(have.market_stats, want.market_stats)
        assert_same(inputs(have), inputs(want))


@pytest.mark.parametrize("how", ["shuffled", "altered", "deleted"])
@pytest.mark.parametrize("known", ["always", "from events"])
def test_training_knows_nothing_at_or_after_the_end(how: str, known: str) -> None:
    tables = random_tables(0) if known == "always" else from_events(random_tables(0, items=40))
    log = build_log(tables)
    end = int(np.unique(log.day[log.kind == 0])[-40]) + 1  # the day before holds a purchase in any case
    data = task(tables, end=date_of(end).isoformat())
    want, have = (data.training_set(each) for each in (log, build_log(rewritten(tables, end, 1, how))))
    assert have.vocabulary == want.vocabulary and len(have.cutoffs_data) == len(want.cutoffs_data) == 3
    assert have.features.offers.name == want.features.offers.name
    for mine, theirs in zip(have.cutoffs_data, want.cutoffs_data, strict=True):
        assert theirs.market_stats.cutoff.end <= end
        np.testing.assert_array_equal(mine.customer_id, theirs.customer_id)
        assert_same(mine.market_stats, theirs.market_stats)
        assert_same(inputs(mine), inputs(theirs))
        outcomes = [each.features.outcomes(each.market_stats.cutoff, each.row) for each in (mine, theirs)]
        assert_same(outcomes[0], outcomes[1])
    np.testing.assert_array_equal(have.weights, want.weights)


def test_training_and_scoring_see_the_same_customer_alike() -> None:
    """Where both speak of the same offers and items, a training example is what scoring that day would have seen."""
    tables = random_tables(5)
    log = build_log(tables)
    training_set = task(tables, ColumnOffers("category", min_buyers=1, window=400)).training_set(log)
    for then in training_set.cutoffs_data:
        now = task(tables, ColumnOffers("category", min_buyers=1, window=400)).cutoff_data(
            log, then.market_stats.cutoff, training_set.vocabulary
        )
        assert now.features.offers.name == then.features.offers.name
        np.testing.assert_array_equal(now.customer_id, then.customer_id)
        for name, one, other in zip(Inputs._fields, inputs(now), inputs(then), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("seed", range(3))
def test_inputs_do_not_depend_on_who_else_is_in_the_block(seed: int) -> None:
    """To the bit, but for the two matrix products, whose sums a block's size may order otherwise."""
    log = random_log(seed)
    cutoff_data = cutoff_data_of(log, log.last_day)
    everyone, random = inputs(cutoff_data), np.random.default_rng(seed)
    products = [
        CONFIG.pair.index(name) for name in (*(column.name for column in (*AFFINITY, *AFFINITY_GROUP)), *SIBLING_NAMES)
    ]
    for size in (1, 7, cutoff_data.row.size):
        place = random.permutation(cutoff_data.row.size)[:size]
        block = inputs(cutoff_data, cutoff_data.row[place])
        for name in ("token", "kind", "channel", "age", "amount", "length", "customer_features"):
            np.testing.assert_array_equal(getattr(block, name), getattr(everyone, name)[place], err_msg=name)
        one, other = np.array(block.pair), np.array(everyone.pair)[place]
        np.testing.assert_allclose(one[:, :, products], other[:, :, products], rtol=1e-4, atol=1e-5)
        one[:, :, products] = other[:, :, products] = 0.0
        np.testing.assert_array_equal(one, other)
        for name in ("context", "season", "offer", "attribute", "standardisation"):
            np.testing.assert_array_equal(getattr(block, name), getattr(everyone, name), err_msg=name)


ONE_DAY = {
    "recency",
    "since_first",
    "orders_since",
    "order_share",
    "spend_mean",
    "spend_last",
    "units_mean",
    "discount_share",
    *("trips_since", "rate_first", "trips_due", "own_hazard", "longer_intervals"),
    *("units_last", "units_last_ratio", "units_rate", "products"),
}
TWO_DAYS = {  # ... and from two
    "interpurchase_time",
    "interpurchase_std",
    "interpurchase_last",
    "recency_ratio",
    *("interval_last_ratio", "interval_longest", "recency_longest"),
}
THREE_DAYS = {"interval_before", "interval_variation"}
RANKS = {"rank_182", "rank_share_182"}
SHRUNK = {"recency_shrunk", "until_due"}


@pytest.mark.parametrize("seed", range(3))
def test_inputs_are_missing_only_where_they_mean_nothing(seed: int) -> None:
    log = random_log(seed)
    for day in (log.first_day + 10, log.last_day):
        cutoff_data = cutoff_data_of(
            log, day, offer=FilterOffers({"own": "brand = 'own'", "never met": "item = 'item 000'"})
        )
        everybody = np.arange(len(cutoff_data.features.log))
        have = inputs(cutoff_data, everybody)
        pair, person = np.asarray(have.pair), np.asarray(have.customer_features)
        bought = pair[:, :, CONFIG.pair.index("purchase_days")]
        for k, name in enumerate(CONFIG.pair):
            missing = bought < 1 if name in ONE_DAY else (bought < 2) & (name in TWO_DAYS)
            missing |= (bought < 3) & (name in THREE_DAYS)
            missing |= (pair[:, :, CONFIG.pair.index("days_182")] == 0) & (name in RANKS)
            once = np.isnan(cutoff_data.market_stats.interpurchase_time)
            missing |= ((bought < 1) | once) & (name in SHRUNK)
            missing |= ~cutoff_data.market_stats.sold & (name in CONFIG.market)
            np.testing.assert_array_equal(np.isnan(pair[:, :, k]), missing, err_msg=name)
        shopped = np.isin(everybody, cutoff_data.row)
        repeated = ~np.isnan(person[:, CONFIG.customer.index("interpurchase_time")])
        assert (shopped | ~repeated).all()
        for k, name in enumerate(CONFIG.customer):
            missing = ~shopped if name == "recency" else ~repeated & (name in TWO_DAYS)
            np.testing.assert_array_equal(np.isnan(person[:, k]), missing, err_msg=name)
        sold = np.asarray(have.context)[cutoff_data.market_stats.sold]
        assert not sold.size or np.isfinite(np.delete(sold, CONTEXT_NAMES.index("interpurchase_time"), axis=1)).all()
        assert np.isnan(np.asarray(have.context)[~cutoff_data.market_stats.sold]).all()
        for name in set(Inputs._fields) - {"pair", "customer_features", "context"}:
            assert np.isfinite(getattr(have, name)).all(), name
        assert not np.isinf(pair).any() and not np.isinf(person).any()


def test_shapes_are_the_sizes_promised() -> None:
    log = random_log(1)
    cutoff_data = cutoff_data_of(log, log.last_day)
    have, n, m = inputs(cutoff_data), cutoff_data.row.size, len(cutoff_data.features.offers)
    sizes = CONFIG.sizes(cutoff_data.features.vocabulary)
    assert have.token.shape == (n, 32, len(sizes.tokens)) and have.pair.shape == (n, m, sizes.pair.columns)
    assert have.customer_features.shape == (n, sizes.customer.columns) and have.context.shape == (
        m,
        sizes.context.columns,
    )
    assert have.season.shape == (sizes.season,) and have.attribute.shape == (m, sizes.attributes)
    assert (np.asarray(have.token).max(axis=(0, 1)) < sizes.tokens).all()
    assert np.asarray(have.channel).max() < sizes.channels and np.asarray(have.offer).max() < sizes.offers


def test_slots_without_an_event_say_so() -> None:
    log = random_log(1)
    have = inputs(cutoff_data_of(log, log.first_day + 100))
    empty = np.arange(32) >= np.asarray(have.length)[:, None]
    assert empty.any() and not empty.all()
    for name in ("token", "kind", "channel", "age", "amount"):
        assert (getattr(have, name)[empty] == 0).all(), name


def test_names_that_the_vocabulary_does_not_know_are_code_0() -> None:
    log = random_log(2)
    few = Vocabulary(("category 1", "gone"), {"brand": ("own",), "shelf": ("a", "b")}, {"brand": ("own",)}, ("app",))
    have = inputs(cutoff_data_of(log, log.last_day, few))
    assert have.offer.tolist() == [0, 1, 0, 0]
    assert np.unique(have.token[:, :, 0]).tolist() == [0, 1] and (have.token[:, :, 1] == 0).all()
    assert np.unique(have.channel).tolist() == [0, 1]
    assert have.attribute.shape == (4, few.attribute_size)


def test_new_customers_items_and_offers_have_inputs() -> None:
    """What a model fitted in spring is asked in summer: all of them met for the first time after the fit."""
    tables = random_tables(3)
    fitted = build_log(tables).first_day + 100
    late = rewritten(tables, fitted, 3, "altered")
    assert late.items is not None
    stock = pl.concat([late.items.collect(), pl.DataFrame({"item": "another item", "category": "new"})], how="diagonal")
    log = build_log(late._replace(items=stock.lazy()))
    spring = Vocabulary.fit(log.before(fitted), BY_CATEGORY, fitted)
    summer = cutoff_data_of(log, fitted + 40, spring)
    assert "new" not in spring.offers and "another channel" not in spring.channels
    place = summer.features.offers.name.index("new")
    new = np.flatnonzero(~np.isin(summer.customer_id, log.before(fitted).customer_id))
    have = inputs(summer)
    assert have.offer[place] == 0 and (np.delete(have.offer, place) > 0).all()
    assert new.size > 5 and (have.length[new] > 0).all()
    market = slice(CONFIG.pair.index("hazard"), CONFIG.pair.index("sibling_follow") + 1)
    assert np.isfinite(have.pair[:, place, market]).all()
    assert (have.pair[:, place, CONFIG.pair.index("purchase_days")] > 0).any()


def test_a_customer_whose_everything_is_hidden_looks_like_one_without_a_past() -> None:
    log = random_log(4)
    cutoff, offers = Cutoff(log.last_day, 14), active_offers(log, BY_CATEGORY, Cutoff(log.last_day, 14))
    features = Features(log, offers, Vocabulary.fit(log, BY_CATEGORY, cutoff.day), CONFIG)
    market_stats = MarketStatsBuilder(log, offers, 14, MarketStatsConfig(neighbour_categories=2, references=2)).at(
        cutoff
    )
    everybody = np.arange(len(log))
    everything = HistoryMask.nothing(len(log))._replace(days=np.full(len(log), EVERYTHING))
    masked = features.inputs(market_stats, everybody, everything)
    nobody = features.inputs(market_stats, np.full(len(log), NOBODY))
    pair, person = CONFIG.pair.index("masked"), CONFIG.customer.index("masked")
    assert (masked.pair[:, :, pair] == 1).all() and (masked.customer_features[:, person] == EVERYTHING).all()
    masked.pair[:, :, pair], masked.customer_features[:, person] = 0, 0
    assert_same(masked, nobody)


def test_an_offer_on_the_day_of_its_launch_looks_like_one_that_nobody_bought() -> None:
    """What is computed of it with its past hidden is what would be computed had its items never been sold."""
    log = random_log(4)
    cutoff, offers = Cutoff(log.last_day, 14), active_offers(log, BY_CATEGORY, Cutoff(log.last_day, 14))
    vocabulary = Vocabulary.fit(log, BY_CATEGORY, cutoff.day)
    belongs = np.append(membership(offers)[:, 0], False)
    unsold = replace(log, item=np.where(belongs[log.item], -1, log.item))
    got, want = (
        Features(one, offers, vocabulary, CONFIG).inputs(
            MarketStatsBuilder(one, offers, 14, MarketStatsConfig(neighbour_categories=2, references=2)).at(cutoff),
            np.arange(len(log)),
            mask,
        )
        for one, mask in (
            (log, HistoryMask.nothing(len(log))._replace(launched=np.array([0]))),
            (unsold, None),
        )
    )
    siblings = [
        k for k, name in enumerate(CONFIG.pair) if name != "sibling_follow"
    ]  # a regression with one variable less
    np.testing.assert_allclose(got.pair[:, 0, siblings], want.pair[:, 0, siblings], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got.context[0], want.context[0])
    assert got.offer[0] == 0 and np.isfinite(got.pair[:, 0, CONFIG.pair.index("sibling_follow")]).all()


def test_a_vocabulary_travels_as_plain_containers() -> None:
    log = random_log(5)
    fitted = Vocabulary.fit(log, BY_CATEGORY, log.last_day)
    assert fitted.channels == ("app", "store") and set(fitted.items) == {"category", "brand"}
    assert Vocabulary.from_state(json.loads(json.dumps(fitted.state()))) == fitted
    older = {name: kept for name, kept in fitted.state().items() if name != "sold_through"}
    assert Vocabulary.from_state(older) == replace(fitted, sold_through=())


def test_channels_that_only_messages_used_or_that_came_later_sell_nothing() -> None:
    log = random_log(5)
    day = log.last_day - 100
    paid = (log.kind == 0) & (log.day < day)
    names = log.meta["channels"]
    silent = replace(log, channel=np.where(paid & (log.channel == names.index("app")), -1, log.channel))
    fitted = Vocabulary.fit(silent, BY_CATEGORY, day)
    assert fitted.channels == ("app", "store") and fitted.sold_through == ("store",)
    assert CONFIG.sizes(fitted).sold_through == (2,)


def test_features_need_the_window_and_half_life_that_rates_and_affinities_are_computed_from() -> None:
    for config in ({"windows": (7, 28)}, {"windows": (7, 182)}, {"half_lives": (10,)}):
        with pytest.raises(ConfigurationError, match="features need the windows 28, 91, 182 and the half-lives 30, 90"):
            replace(CONFIG, **config)
    assert FeatureConfig(windows=(364, 28, 182, 91)).windows == (28, 91, 182, 364)


def test_nobody_to_score_is_a_configuration_error() -> None:
    log = random_log(6)
    with pytest.raises(ConfigurationError, match="(nobody bought anything|no offer was ever bought) before"):
        cutoff_data_of(log, log.first_day)


@pytest.mark.parametrize("seed", range(2))
def test_customers_are_compared_with_all_customers_at_the_cutoff_in_any_currency(seed: int) -> None:
    """Among a sample by the hash of the id, not among those of a block, and not by what happens later."""
    log = random_log(seed)
    table = np.asarray(inputs(cutoff_data_of(log, log.last_day)).standardisation)
    assert np.isfinite(table).all() and (table[:, 1] >= 0).all() and (table[:, 1] > 0).any()
    dear = replace(log, revenue=log.revenue * 256, discount=log.discount * 256)
    np.testing.assert_array_equal(np.asarray(inputs(cutoff_data_of(dear, log.last_day)).standardisation), table)
    cutoff_data = cutoff_data_of(log, log.last_day)
    launched = HistoryMask.nothing(3)._replace(launched=np.array([1]))
    masked = np.asarray(
        cutoff_data.features.inputs(cutoff_data.market_stats, cutoff_data.row[:3], launched).standardisation
    )
    assert (masked[1] == 0).all()
    np.testing.assert_array_equal(np.delete(masked, 1, axis=0), np.delete(table, 1, axis=0))
    off = replace(CONFIG, groups=("expect",))
    features = Features(log, cutoff_data.features.offers, cutoff_data.features.vocabulary, off)
    assert features.standardisation(cutoff_data.market_stats).shape == (len(features.offers), 2, 0)
