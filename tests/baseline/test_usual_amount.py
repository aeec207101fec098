"""Laws of usual amounts: what a buyer of an offer pays on a purchase day."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from propensity.baseline.pair_table import usual_amount
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.vocabulary import Vocabulary
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.market_stats import MarketStatsBuilder, MarketStatsConfig
from propensity.ingest.build import build_log
from propensity.task import CutoffData
from random_log import random_offers, random_tables

CONFIG = FeatureConfig(history=8, groups=("expect",))


def usual_amounts(log: EventLog) -> np.ndarray:
    """Of all customers at the end of a log, (N, M)."""
    offers, cutoff = random_offers(0, log.items.height), Cutoff(log.last_day + 1, 14)
    builder = MarketStatsBuilder(log, offers, 14, MarketStatsConfig(references=2), CONFIG.groups)
    features = Features(log, offers, Vocabulary(offers.name, {}, {}, ("app", "store")), CONFIG)
    cutoff_data = CutoffData(features, builder.at(cutoff), np.arange(len(log)))
    return usual_amount(cutoff_data, features.inputs(cutoff_data.market_stats, cutoff_data.row))


@pytest.mark.parametrize("revenue", [38_970.0, 1e9])
def test_an_enormous_line_of_one_customer_moves_no_other_customers_amounts(revenue: float) -> None:
    tables = random_tables(0, customers=300)
    events = tables.events.collect().with_row_index("row")
    log = build_log(tables)
    of_offers = log.items["item"].gather(np.unique(random_offers(0, log.items.height).item)).cast(pl.String)
    lines = events.filter(pl.col("kind") == "purchase", pl.col("item").is_in(of_offers.implode()))
    last = lines.sort("day", maintain_order=True).row(-1, named=True)
    enormous = pl.when(pl.col("row") == last["row"]).then(revenue).otherwise("revenue").alias("revenue")
    before = usual_amounts(log)
    after = usual_amounts(build_log(tables._replace(events=events.with_columns(enormous).drop("row").lazy())))
    other = np.flatnonzero(log.customer_id.astype(str) != str(last["customer"]))
    assert before.min() > 0 and other.size == len(log) - 1
    np.testing.assert_allclose(after[other], before[other], rtol=0.01)
    assert (after > 2 * before).any()
