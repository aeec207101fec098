"""What a bundle computes in plain NumPy, and what the service computes by kernels, is what training saw."""

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
from propensity.serving.inputs import KINDS, event_columns, rebuild
from propensity.serving.point_in_time import PointInTimeFeatures, rule_of, tables_of
from propensity.task import CutoffData
from random_log import random_tables


class World:
    """A random market at a date, and its customers as raw events."""

    def __init__(self, seed: int) -> None:
        tables = random_tables(seed, customers=14, days=400, busy=90)
        self.log = build_log(tables)
        self.day = self.log.last_day - 40
        offer = ColumnOffers("category", min_buyers=1)
        offers = offers_before(self.log, offer, self.day)
        vocabulary = Vocabulary.fit(self.log.before(self.day), offer, self.day)
        rule = FeatureConfig(history=24)
        features = Features(self.log, offers, vocabulary, rule)
        market_stats = MarketStatsBuilder(self.log, offers, 14, MarketStatsConfig(references=3)).at(
            Cutoff(self.day, 14)
        )
        self.cutoff_data = CutoffData(features, market_stats, np.arange(len(self.log)))
        self.rule, self.tables = rule_of(rule, vocabulary, 14), tables_of(self.cutoff_data)
        self.market = PointInTimeFeatures(self.tables, self.rule, vocabulary)
        events = tables.events.collect().sort("day", maintain_order=True)
        self.customers: list[list[dict[str, Any]]] = [
            events.filter(pl.col("customer") == each).drop("customer").to_dicts()
            for each in self.log.customers["customer"]
        ]


@pytest.fixture(params=range(4))
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def same(found: Any, expected: Inputs) -> None:
    for name in Inputs._fields:
        np.testing.assert_allclose(found[name], getattr(expected, name), rtol=2e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("launched", [[], [0, 2]])
def test_the_bundled_definition_equals_the_kernels(world: World, launched: list[int]) -> None:
    mask = HistoryMask.nothing(len(world.log))._replace(launched=np.array(launched, int))
    expected = world.cutoff_data.features.inputs(world.cutoff_data.market_stats, np.arange(len(world.log)), mask)
    code = {item: number for number, item in enumerate(world.tables["item"].tolist())}
    columns = event_columns(world.customers, code, world.rule["channels"])
    same(rebuild(columns, world.rule, world.tables, launched), expected)


def test_the_tables_of_a_date_serve_raw_events_as_a_log_would(world: World) -> None:
    expected = world.cutoff_data.features.inputs(world.cutoff_data.market_stats, np.arange(len(world.log)))
    same(world.market.asked(world.customers)._asdict(), expected)


def test_a_later_day_moves_what_depends_on_it_alone(world: World) -> None:
    later = world.day + 3
    market_stats = world.cutoff_data.market_stats._replace(cutoff=Cutoff(later, 14))
    expected = world.cutoff_data.features.inputs(market_stats, np.arange(len(world.log)))
    same(world.market.asked(world.customers, later)._asdict(), expected)


def test_unknown_items_and_channels_count_as_none() -> None:
    day = (EPOCH + timedelta(days=100)).isoformat()
    events: list[dict[str, Any]] = [
        {"day": day, "kind": "purchase", "item": "b", "channel": "web", "order": 7},
        {"day": day, "kind": "purchase", "item": "?", "channel": "?", "order": 8, "quantity": 2.0, "revenue": 3.0},
        {"day": day, "kind": "view"},
        {"day": "1970-01-02", "kind": "purchase", "item": "a"},
    ]
    nobody: list[dict[str, Any]] = []
    found = event_columns([nobody, events], {"a": 0, "b": 1}, ["store", "web"])
    np.testing.assert_array_equal(found["offsets"], [0, 0, 4])
    np.testing.assert_array_equal(found["day"], [1, 100, 100, 100])
    np.testing.assert_array_equal(found["item"], [0, 1, -1, -1])
    np.testing.assert_array_equal(found["channel"], [-1, 1, -1, -1])
    np.testing.assert_array_equal(found["order"], [0, 1, 2, -1])
    np.testing.assert_array_equal(found["quantity"], [1, 1, 2, 1])
    assert [KINDS[kind] for kind in found["kind"]] == ["purchase", "purchase", "purchase", "view"]
