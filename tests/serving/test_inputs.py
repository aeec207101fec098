"""Inputs computed in plain NumPy and inputs of the service equal those of training."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EPOCH
from propensity.data.offer import offers_before
from propensity.data.offer.column import ColumnOffers
from propensity.data.vocabulary import Vocabulary
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import MarketStatsBuilder, MarketStatsConfig
from propensity.ingest.build import build_log
from propensity.serving.inputs import KINDS, event_columns, rebuild_inputs
from propensity.serving.point_in_time import PointInTimeFeatures, cutoff_tables, feature_settings
from propensity.task import CutoffData
from random_log import random_tables


class Case:
    """Data of a random log at a cutoff, and its customers as raw events."""

    def __init__(self, seed: int) -> None:
        tables = random_tables(seed, customers=14, days=400, busy=90)
        self.log = build_log(tables)
        self.day = self.log.last_day - 40
        offer = ColumnOffers("category", min_buyers=1)
        offers = offers_before(self.log, offer, self.day)
        vocabulary = Vocabulary.fit(self.log.before(self.day), offer, self.day)
        config = FeatureConfig(history=24)
        features = Features(self.log, offers, vocabulary, config)
        market_stats = MarketStatsBuilder(self.log, offers, 14, MarketStatsConfig(references=3)).at(
            Cutoff(self.day, 14)
        )
        self.cutoff_data = CutoffData(features, market_stats, np.arange(len(self.log)))
        self.settings, self.tables = feature_settings(config, vocabulary, 14), cutoff_tables(self.cutoff_data)
        self.features = PointInTimeFeatures(self.tables, self.settings, vocabulary)
        events = tables.events.collect().sort("day", maintain_order=True)
        self.customers: list[list[dict[str, Any]]] = [
            events.filter(pl.col("customer") == each).drop("customer").to_dicts()
            for each in self.log.customers["customer"]
        ]


@pytest.fixture(params=range(4))
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def assert_equal(actual: Any, expected: Inputs) -> None:
    for name in Inputs._fields:
        np.testing.assert_allclose(actual[name], getattr(expected, name), rtol=2e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("launched", [[], [0, 2]])
def test_the_numpy_definition_equals_the_kernels(case: Case, launched: list[int]) -> None:
    mask = HistoryMask.nothing(len(case.log))._replace(launched=np.array(launched, int))
    expected = case.cutoff_data.features.inputs(case.cutoff_data.market_stats, np.arange(len(case.log)), mask)
    code = {item: number for number, item in enumerate(case.tables["item"].tolist())}
    columns = event_columns(case.customers, code, case.settings["channels"])
    assert_equal(rebuild_inputs(columns, case.settings, case.tables, launched), expected)


def test_raw_events_with_stored_tables_have_the_inputs_of_the_log(case: Case) -> None:
    expected = case.cutoff_data.features.inputs(case.cutoff_data.market_stats, np.arange(len(case.log)))
    assert_equal(case.features.from_raw_events(case.customers)._asdict(), expected)


def test_a_later_cutoff_changes_only_what_depends_on_it(case: Case) -> None:
    later = case.day + 3
    market_stats = case.cutoff_data.market_stats._replace(cutoff=Cutoff(later, 14))
    expected = case.cutoff_data.features.inputs(market_stats, np.arange(len(case.log)))
    assert_equal(case.features.from_raw_events(case.customers, later)._asdict(), expected)


def test_unknown_items_and_channels_count_as_missing() -> None:
    day = (EPOCH + timedelta(days=100)).isoformat()
    events: list[dict[str, Any]] = [
        {"day": day, "kind": "purchase", "item": "b", "channel": "web", "order": 7},
        {"day": day, "kind": "purchase", "item": "?", "channel": "?", "order": 8, "quantity": 2.0, "revenue": 3.0},
        {"day": day, "kind": "view"},
        {"day": "1970-01-02", "kind": "purchase", "item": "a"},
    ]
    empty: list[dict[str, Any]] = []
    columns = event_columns([empty, events], {"a": 0, "b": 1}, ["store", "web"])
    np.testing.assert_array_equal(columns["offsets"], [0, 0, 4])
    np.testing.assert_array_equal(columns["day"], [1, 100, 100, 100])
    np.testing.assert_array_equal(columns["item"], [0, 1, -1, -1])
    np.testing.assert_array_equal(columns["channel"], [-1, 1, -1, -1])
    np.testing.assert_array_equal(columns["order"], [0, 1, 2, -1])
    np.testing.assert_array_equal(columns["quantity"], [1, 1, 2, 1])
    assert [KINDS[kind] for kind in columns["kind"]] == ["purchase", "purchase", "purchase", "view"]
