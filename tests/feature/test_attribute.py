"""Laws of attributes: numbers in what is known of customers, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from propensity.data.cutoff import Cutoff
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError
from propensity.feature.attribute import attribute_numbers
from propensity.feature.empty_customer import empty_customer
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.market_stats import MarketStatsBuilder, MarketStatsConfig
from propensity.serving.inputs import rebuild_inputs
from propensity.serving.point_in_time import PointInTimeFeatures, cutoff_tables, feature_settings
from propensity.task import CutoffData
from random_log import columns, random_log, random_offers

CONFIG = FeatureConfig(history=8, attributes=("income", "children"))


def test_a_text_is_the_mean_of_its_numbers_and_nothing_without_one() -> None:
    income = ["Under 15K", "15-24K", "250K+", "unknown", None]
    table = pl.DataFrame({"income": income, "children": [0, 1, None, 3, 2], "member": [True, False, None, True, True]})
    numbers = attribute_numbers(table, ["income", "children", "member"])
    np.testing.assert_array_equal(numbers[:, 0], np.array([15, 19.5, 250, np.nan, np.nan], np.float32))
    np.testing.assert_array_equal(numbers[:, 1], np.array([0, 1, np.nan, 3, 2], np.float32))
    np.testing.assert_array_equal(numbers[:, 2], np.array([1, 0, np.nan, 1, 1], np.float32))
    assert attribute_numbers(table, []).shape == (5, 0)


def test_a_column_that_customers_do_not_have_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="customers have no column 'incme'; .* such as 'income'"):
        attribute_numbers(pl.DataFrame({"customer": [1], "income": ["1"]}), ["incme"])


def test_attributes_are_customer_columns_of_the_log_and_of_a_bundle() -> None:
    log = random_log(1, customers=20)
    known = pl.DataFrame({"income": [f"{10 * n}-{10 * n + 4}K" for n in range(20)], "children": [None, *range(19)]})
    log = replace(log, customers=pl.concat([log.customers, known], how="horizontal"))
    offers, day = random_offers(1, log.items.height), log.last_day
    vocabulary, rows = Vocabulary(offers.name, {}, {}, ("app", "store")), np.arange(20)[::-1]
    features = Features(log, offers, vocabulary, CONFIG)
    stats = MarketStatsBuilder(log, offers, 14, MarketStatsConfig(neighbour_categories=2, references=2)).at(
        Cutoff(day, 14)
    )
    have = features.inputs(stats, rows).customer_features
    first = CONFIG.customer.index("attribute_income")
    np.testing.assert_array_equal(have[:, first], 10.0 * rows + 2)
    assert np.isnan(have[-1, first + 1]) and have[0, first + 1] == 18 and first + 2 == len(CONFIG.customer)
    assert np.isnan(empty_customer(features, stats).customer_features[0, first:]).all()
    off = replace(CONFIG, groups=("expect",))
    assert "attribute_income" not in off.customer
    settings, tables = feature_settings(CONFIG, vocabulary, 14), cutoff_tables(CutoffData(features, stats, rows))
    bundled = PointInTimeFeatures(tables, settings, vocabulary)
    posted = bundled.from_events(log.events, attributes=features.attributes)
    np.testing.assert_array_equal(posted.customer_features[rows], have)
    unknown = bundled.from_events(log.events).customer_features
    np.testing.assert_array_equal(unknown[:, :first], posted.customer_features[:, :first])
    plain = rebuild_inputs(columns(log), settings, tables, ())["customer_features"]
    assert np.isnan(unknown[:, first:]).all() and np.isnan(plain[:, first:]).all()
