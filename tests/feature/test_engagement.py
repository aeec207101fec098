"""Laws of the group engagement: what its columns count, that later events do not matter, and that no other moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.data.cutoff import Cutoff, TrainingCutoffs
from propensity.data.event_log import EventLog
from propensity.data.offer.column import ColumnOffers
from propensity.data.registrant import REGISTERED, SOURCE
from propensity.data.vocabulary import Vocabulary
from propensity.evaluation.leakage import changed_inputs
from propensity.feature.column import DEFAULT_GROUPS
from propensity.feature.engagement import ENGAGEMENT, ENGAGEMENT_CUSTOMER, ENGAGEMENT_PAIR
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import MarketStatsConfig
from propensity.ingest.build import build_log
from propensity.ingest.source.synthetic import Synthetic
from propensity.serving.inputs import REGISTRATION, event_columns, rebuild_inputs
from propensity.serving.point_in_time import PointInTimeFeatures, cutoff_tables, feature_settings
from propensity.task import CutoffData, Task

MARKET = Synthetic(customers=40, items=12, categories=4, days=200, registrants=120)
TASK = Task(
    ColumnOffers("category", min_buyers=1),
    feature=FeatureConfig(history=8, groups=(*DEFAULT_GROUPS, ENGAGEMENT)),
    cutoff=TrainingCutoffs(count=2),
    market_stats=MarketStatsConfig(references=3),
    registrants=True,
)
DAY = MARKET.epoch_day(150)
NAMES = [each.name for each in ENGAGEMENT_CUSTOMER], [each.name for each in ENGAGEMENT_PAIR]


@pytest.fixture(scope="module")
def log() -> EventLog:
    return build_log(MARKET.load())


@pytest.fixture(scope="module")
def cutoff_data(log: EventLog) -> CutoffData:
    return TASK.cutoff_data(log, Cutoff(DAY, 14), Vocabulary.fit(log.before(DAY), TASK.offer, DAY))


def columns_of(features: Features, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """The customer columns (B, F) and pair columns (B, M, P) of the group."""
    at = [
        [names.index(name) for name in own]
        for names, own in zip((features.config.customer, features.config.pair), NAMES, strict=True)
    ]
    return np.asarray(inputs.customer_features)[:, at[0]], np.asarray(inputs.pair)[:, :, at[1]]


def test_columns_count_the_events_of_their_windows(log: EventLog, cutoff_data: CutoffData) -> None:
    features, stats, row = cutoff_data
    customer, pair = columns_of(features, features.inputs(stats, row))
    events = MARKET.load().events.collect().with_columns(age=DAY - pl.col("day").dt.epoch("d"))
    events = events.filter(pl.col("age").is_between(1, 91))
    category = dict(log.items.select("item", "category").iter_rows())
    offer = {name: k for k, name in enumerate(features.offers.name)}
    for b, name in enumerate(cutoff_data.customer_id.tolist()):
        own = events.filter(pl.col("customer") == name)
        counts = {
            (kind, days): own.filter((pl.col("kind") == kind) & (pl.col("age") <= days))
            for kind in ("view", "cart", "open")
            for days in (7, 28, 91)
        }
        assert customer[b, :6].tolist() == [
            counts[each].height
            for each in (("view", 7), ("view", 91), ("cart", 7), ("cart", 28), ("open", 28), ("open", 91))
        ]
        active = own.filter(pl.col("kind").is_in(["view", "cart", "open"]))
        np.testing.assert_equal(customer[b, 9], active["age"].min() if active.height else np.nan)
        expected = np.zeros((len(offer), 4))
        for k, each in enumerate((("view", 7), ("view", 91), ("cart", 7), ("cart", 28))):
            for item in counts[each]["item"].drop_nulls().to_list():
                expected[offer[category[item]], k] += 1
        np.testing.assert_array_equal(pair[b], expected)
    assert (pair.sum(axis=(0, 1)) > 0).all() and (customer[:, :6].sum(axis=0) > 0).all()


def test_the_plain_definition_and_raw_events_have_the_inputs_of_the_log(log: EventLog, cutoff_data: CutoffData) -> None:
    launched = [1]
    features, stats, _ = cutoff_data
    mask = HistoryMask.nothing(len(log))._replace(launched=np.array(launched, int))
    expected: Any = Features(log, features.offers, features.vocabulary, features.config).inputs(
        stats, np.arange(len(log)), mask
    )
    settings, tables = feature_settings(features.config, features.vocabulary, 14), cutoff_tables(cutoff_data)
    events, people = MARKET.load().events.collect().sort("day", maintain_order=True), []
    for customer, registered, source in log.customers.select("customer", REGISTERED, SOURCE).iter_rows():
        own: list[dict[str, Any]] = events.filter(pl.col("customer") == customer).drop("customer").to_dicts()
        people.append(
            own + ([] if registered is None else [{"day": registered, "kind": REGISTRATION, "channel": source}])
        )
    code = {item: number for number, item in enumerate(tables["item"].tolist())}
    plain = rebuild_inputs(event_columns(people, code, settings["channels"]), settings, tables, launched)
    posted: Any = PointInTimeFeatures(tables, settings, features.vocabulary).from_raw_events(people, mask=mask)
    for name in ("customer_features", "pair"):
        np.testing.assert_allclose(plain[name], getattr(expected, name), rtol=2e-5, atol=2e-5, err_msg=name)
        np.testing.assert_allclose(getattr(posted, name), getattr(expected, name), rtol=2e-5, atol=2e-5, err_msg=name)


def test_nothing_of_the_cutoff_or_later_changes_the_inputs(log: EventLog, cutoff_data: CutoffData) -> None:
    vocabulary = cutoff_data.features.vocabulary

    def scored(other: EventLog) -> CutoffData:
        engagement = other.engagement
        assert engagement is not None
        if other is not log:  # the events of the cutoff and later are of other kinds and items
            later, rng = engagement.day >= DAY, np.random.default_rng(5)
            kind = np.where(later, rng.permutation(engagement.kind), engagement.kind).astype(np.int8)
            item = np.where(later, rng.integers(0, 12, later.size), engagement.item).astype(np.int32)
            other = replace(other, engagement=replace(engagement, kind=kind, item=item))
        return TASK.cutoff_data(other, Cutoff(DAY, 14), vocabulary)

    assert changed_inputs(scored, log, DAY, seed=1) == []


def test_a_customer_has_the_columns_that_he_has_among_others(cutoff_data: CutoffData) -> None:
    features, stats, row = cutoff_data
    together = columns_of(features, features.inputs(stats, row))
    for b in range(0, row.size, 17):
        for one, all_rows in zip(columns_of(features, features.inputs(stats, row[[b]])), together, strict=True):
            np.testing.assert_array_equal(one[0], all_rows[b])


def test_the_history_mask_hides_days_and_an_offer(cutoff_data: CutoffData) -> None:
    features, stats, row = cutoff_data
    nothing = HistoryMask.nothing(row.size)
    customer, pair = columns_of(features, features.inputs(stats, row))
    hidden = columns_of(features, features.inputs(stats, row, nothing._replace(days=np.full(row.size, 91))))
    assert (hidden[0][:, :9] == 0).all() and np.isnan(hidden[0][:, 9]).all() and (hidden[1] == 0).all()
    of_one = columns_of(features, features.inputs(stats, row, nothing._replace(offer=np.full(row.size, 2))))[1]
    assert pair[:, 2].any() and not of_one[:, 2].any()
    np.testing.assert_array_equal(np.delete(of_one, 2, axis=1), np.delete(pair, 2, axis=1))


@pytest.mark.parametrize("registrants", [True, False])
def test_all_other_columns_are_those_of_a_run_without_the_group(
    registrants: bool, log: EventLog, cutoff_data: CutoffData
) -> None:
    tasks = [
        replace(TASK, registrants=registrants, feature=FeatureConfig(history=8, groups=groups))
        for groups in (TASK.feature.named_groups, DEFAULT_GROUPS)
    ]
    (features, stats, row), plain = (
        each.cutoff_data(log, Cutoff(DAY, 14), cutoff_data.features.vocabulary) for each in tasks
    )
    mine: Any = features.inputs(stats, row)
    expected: Any = plain.features.inputs(plain.market_stats, plain.row)
    kept = [features.config.customer.index(name) for name in plain.features.config.customer]
    np.testing.assert_array_equal(mine.customer_features[:, kept], expected.customer_features)
    kept = [features.config.pair.index(name) for name in plain.features.config.pair]
    np.testing.assert_array_equal(mine.pair[:, :, kept], expected.pair)
    np.testing.assert_array_equal(mine.standardisation[:, :, kept], expected.standardisation)
    assert set(features.config.pair) - set(plain.features.config.pair) == set(NAMES[1])
