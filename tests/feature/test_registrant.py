"""Laws of registrants: who they are, what is known of them as of a cutoff, and that other logs do not change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.data.cutoff import Cutoff, TrainingCutoffs
from propensity.data.event_log import EPOCH, EventLog
from propensity.data.offer.column import ColumnOffers
from propensity.data.registrant import (
    GUEST,
    LATER,
    NOT_TRAINED,
    OBJECTS,
    REGISTERED,
    SOURCE,
    UNKNOWN,
    known_before,
    not_scored,
    registrants,
)
from propensity.data.vocabulary import Vocabulary
from propensity.evaluation.labels import labels
from propensity.evaluation.leakage import changed_inputs
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import MarketStatsBuilder, MarketStatsConfig
from propensity.feature.registrant import REGISTRANT, REGISTRANT_PAIR, group_rates, overall_rate
from propensity.ingest.build import build_log
from propensity.ingest.source.synthetic import Synthetic
from propensity.kernel.event import PURCHASE
from propensity.metric.slice import NO_PURCHASE
from propensity.serving.inputs import REGISTRATION, event_columns, rebuild_inputs
from propensity.serving.point_in_time import PointInTimeFeatures, cutoff_tables, feature_settings
from propensity.task import CutoffData, Task
from random_log import random_log, random_offers

MARKET = Synthetic(customers=40, items=12, categories=4, days=200, registrants=160)
TASK = Task(
    ColumnOffers("category", min_buyers=1),
    feature=FeatureConfig(history=8),
    cutoff=TrainingCutoffs(count=2),
    market_stats=MarketStatsConfig(references=3),
    registrants=True,
)
DAY = MARKET.epoch_day(150)


@pytest.fixture(scope="module")
def log() -> EventLog:
    return build_log(MARKET.load())


@pytest.fixture(scope="module")
def cutoff_data(log: EventLog) -> CutoffData:
    past = log.before(DAY)
    return TASK.cutoff_data(log, Cutoff(DAY, 14), Vocabulary.fit(past, TASK.offer, DAY))


def test_a_registrant_is_known_by_a_registration_or_an_event_and_has_no_purchase(log: EventLog) -> None:
    expected = []
    registered = log.customers[REGISTERED].to_list()
    for row in range(len(log)):
        own = slice(log.offsets[row], log.offsets[row + 1])
        bought = ((log.kind[own] == PURCHASE) & (log.day[own] < DAY)).any()
        assert log.engagement is not None
        others = log.engagement.day[log.engagement.offsets[row] : log.engagement.offsets[row + 1]]
        known = registered[row] is not None and (registered[row] - EPOCH).days < DAY
        if not bought and (known or (log.day[own] < DAY).any() or (others < DAY).any()):
            expected.append(row)
    np.testing.assert_array_equal(registrants(log, DAY), expected)
    parts = [registrants(log, DAY, start, start + 70) for start in range(0, len(log), 70)]
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    assert len(expected) > 60


def test_every_customer_has_a_score_or_one_reason(log: EventLog) -> None:
    flags = pl.DataFrame({"guest": np.arange(len(log)) % 50 == 0, "consent_profiling": np.arange(len(log)) % 50 != 1})
    marked = replace(log, customers=log.customers.hstack(flags))
    scored, table = TASK.scored_rows(marked, DAY), not_scored(marked, DAY, trained_on=True)
    ids = np.concatenate([marked.customer_id[scored], table["customer_id"].to_numpy()])
    np.testing.assert_array_equal(np.sort(ids), marked.customer_id)
    assert set(table["reason"]) == {GUEST, OBJECTS, LATER, UNKNOWN}
    of_purchasers = not_scored(marked, DAY, trained_on=False)
    assert of_purchasers.height == len(log) - marked.purchasers(DAY).size and NOT_TRAINED in set(
        of_purchasers["reason"]
    )


def test_logs_without_dates_of_registration_have_the_columns_of_before(log: EventLog) -> None:
    automatic = replace(TASK, registrants=None)
    without = replace(log, customers=log.customers.drop(REGISTERED, SOURCE))
    assert automatic.for_log(log).registrants and not automatic.for_log(without).registrants
    assert automatic.for_log(random_log(3)).feature == FeatureConfig(history=8)
    plain, own = automatic.feature, TASK.feature
    assert set(own.pair) - set(plain.pair) == {each.name for each in REGISTRANT_PAIR}
    assert set(own.customer) - set(plain.customer) == {each.name for each in REGISTRANT}
    assert "registrants" not in plain.groups and plain.with_registrants(True) == own
    off = replace(TASK, feature=FeatureConfig(history=8, groups=plain.groups))
    assert off.feature.pair == plain.pair and off.feature.registrants


def test_columns_of_purchasers_do_not_depend_on_registrants(log: EventLog, cutoff_data: CutoffData) -> None:
    features, stats, row = cutoff_data
    names = features.config.customer
    own = features.inputs(stats, row)
    plain = replace(TASK, registrants=False).cutoff_data(log, Cutoff(DAY, 14), features.vocabulary)
    expected: Any = plain.features.inputs(plain.market_stats, plain.row)
    mine: Any = own
    bought = np.isin(cutoff_data.customer_id, plain.customer_id)
    np.testing.assert_array_equal(cutoff_data.customer_id[bought], plain.customer_id)
    kept = [names.index(name) for name in plain.features.config.customer]
    np.testing.assert_array_equal(mine.customer_features[bought][:, kept], expected.customer_features)
    pair = [features.config.pair.index(name) for name in plain.features.config.pair]
    np.testing.assert_array_equal(mine.pair[bought][:, :, pair], expected.pair)
    others = [names.index(each.name) for each in REGISTRANT]
    assert (mine.customer_features[bought][:, others] == 0).all()
    assert (mine.customer_features[~bought][:, names.index("registrant")] == 1).all()


def raw_events(log: EventLog) -> list[list[dict[str, Any]]]:
    """The customers of a log as raw events, with their registrations and engagement."""
    events = MARKET.load().events.collect().sort("day", maintain_order=True)
    people = []
    for customer, registered, source in log.customers.select("customer", REGISTERED, SOURCE).iter_rows():
        own = events.filter(pl.col("customer") == customer).drop("customer").to_dicts()
        if registered is not None:
            own.append({"day": registered, "kind": REGISTRATION, "channel": source})
        people.append(own)
    return people


def test_the_plain_definition_and_raw_events_have_the_inputs_of_the_log(log: EventLog, cutoff_data: CutoffData) -> None:
    launched = [1]
    features, stats, _ = cutoff_data
    known = Features(log, features.offers, features.vocabulary, features.config)
    mask = HistoryMask.nothing(len(log))._replace(launched=np.array(launched, int))
    expected: Any = known.inputs(stats, np.arange(len(log)), mask)
    settings, tables = feature_settings(features.config, features.vocabulary, 14), cutoff_tables(cutoff_data)
    people = raw_events(log)
    code = {item: number for number, item in enumerate(tables["item"].tolist())}
    plain = rebuild_inputs(event_columns(people, code, settings["channels"]), settings, tables, launched)
    posted: Any = PointInTimeFeatures(tables, settings, features.vocabulary).from_raw_events(people, mask=mask)
    for name in ("customer_features", "pair", "length"):
        np.testing.assert_allclose(plain[name], getattr(expected, name), rtol=2e-5, atol=2e-5, err_msg=name)
        np.testing.assert_allclose(getattr(posted, name), getattr(expected, name), rtol=2e-5, atol=2e-5, err_msg=name)
    values = expected.customer_features[:, features.config.customer.index("registrant_opens_28")]
    assert (
        values.max() > 0
        and np.unique(expected.pair[:, :, features.config.pair.index("registrant_source_offer")]).size > 4
    )


def with_another_registry(log: EventLog, day: int) -> EventLog:
    """The log with other registrations, sources and engagement from a day on."""
    later = (pl.col(REGISTERED) - pl.lit(EPOCH)).dt.total_days() >= day
    customers = log.customers.with_columns(
        pl.when(later).then(pl.col(REGISTERED) + timedelta(days=9)).otherwise(REGISTERED).alias(REGISTERED),
        pl.when(later).then(pl.lit("another source")).otherwise(SOURCE).alias(SOURCE),
    )
    engagement = log.engagement
    assert engagement is not None
    kind = np.where(engagement.day >= day, (engagement.kind - 4) % 4 + 5, engagement.kind).astype(np.int8)
    return replace(log, customers=customers, engagement=replace(engagement, kind=kind))


def test_nothing_of_the_cutoff_or_later_changes_customers_or_inputs(log: EventLog, cutoff_data: CutoffData) -> None:
    vocabulary, cutoff = cutoff_data.features.vocabulary, Cutoff(DAY, 14)

    def scored(other: EventLog) -> CutoffData:
        return TASK.cutoff_data(with_another_registry(other, DAY) if other is not log else other, cutoff, vocabulary)

    assert changed_inputs(scored, log, DAY, seed=1) == []

    def trained(other: EventLog) -> CutoffData:  # the log holds the label window
        own = with_another_registry(other, DAY) if other is not log else other
        offers = cutoff_data.features.offers
        builder = MarketStatsBuilder(own, offers, 14, TASK.market_stats, *TASK.feature.market_groups)
        features = Features(own, offers, vocabulary, TASK.feature)
        return CutoffData(features, builder.at(cutoff), TASK.scored_rows(own, DAY))

    assert changed_inputs(trained, log, DAY, seed=2) == []
    assert (known_before(with_another_registry(log, DAY), DAY) == known_before(log, DAY)).all()


def test_training_takes_at_most_as_many_registrants_as_purchasers(log: EventLog) -> None:
    purchasers, everybody = log.purchasers(DAY), TASK.scored_rows(log, DAY)
    rows = TASK.training_rows(log, DAY)
    assert everybody.size > 2 * purchasers.size == rows.size
    assert np.isin(purchasers, rows).all() and np.isin(rows, everybody).all()
    assert (TASK.training_rows(log, DAY - 7) != rows[: TASK.training_rows(log, DAY - 7).size]).any()
    training_set = replace(TASK, end=str(Cutoff(DAY, 14))).training_set(log)
    for each in training_set.cutoffs_data:
        drawn = registrants(each.features.log, each.market_stats.cutoff.day)
        assert 0 < np.isin(each.row, drawn).sum() <= each.row.size / 2


def test_customers_without_a_purchase_are_a_slice_of_an_evaluation(log: EventLog, cutoff_data: CutoffData) -> None:
    mask = labels(log, cutoff_data).slices[NO_PURCHASE]
    past = cutoff_data.features.log
    np.testing.assert_array_equal(mask[:, 0], np.isin(cutoff_data.row, registrants(past, DAY)))
    assert mask.any() and not mask.all() and (mask == mask[:, :1]).all()


def test_rates_of_groups_are_shrunk_to_those_of_all_registrants() -> None:
    overall = overall_rate(np.array([30.0, 0.0, 30.0]), 1000.0)
    hits, trials = np.array([[20.0, 0.0, 20.0], [0.0, 0.0, 0.0]]), np.array([200.0, 0.0])
    rates = np.exp(group_rates(hits, trials, overall))
    np.testing.assert_allclose(rates[1], overall, rtol=1e-5)
    np.testing.assert_allclose(rates[0, 0], 22 / (200 + 2 / overall[0]), rtol=1e-5)
    assert overall[0] < rates[0, 0] < 0.1 and 0 < rates[0, 1] < overall[1] < 0.001


def test_a_log_without_registrants_has_the_tables_of_before() -> None:
    log, offers = random_log(5, customers=20), random_offers(5, 14)
    config = FeatureConfig(history=8)
    stats = MarketStatsBuilder(log, offers, 14, MarketStatsConfig(references=2), config.groups).at(
        Cutoff(log.last_day, 14)
    )
    features = Features(log, offers, Vocabulary(offers.name, {}, {}, ("app", "store")), config)
    tables = cutoff_tables(CutoffData(features, stats, np.arange(20)))
    assert not [name for name in tables if "registrant" in name]
    assert "registrant" not in feature_settings(config, features.vocabulary, 14)
