"""Laws of registrants of the synthetic market: their truth holds, and they change nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from propensity.ingest.source.synthetic import Synthetic
from propensity.simulate.registrant import SOURCE_RATE, draw_registrants, first_purchase

MARKET = Synthetic(customers=30, items=12, categories=4, days=300, registrants=6000)


def test_registrants_leave_the_other_customers_as_they_are() -> None:
    few, without = replace(MARKET, registrants=50), replace(MARKET, registrants=0)
    tables, plain = few.load(), without.load()
    assert tables.customers is not None and plain.customers is not None
    assert_frame_equal(tables.events.filter(pl.col("customer") < 30), plain.events)
    own = tables.customers.collect()
    assert_frame_equal(own.head(30).drop("acquired_day", "acquired_channel"), plain.customers.collect())
    assert own.height == 80 and own["acquired_day"].null_count() == 30
    dated = tables.events.join(tables.customers, on="customer").filter(pl.col("customer") >= 30).collect()
    assert (dated["day"] >= dated["acquired_day"]).all() and set(dated["kind"]) == {"view", "open", "cart", "purchase"}


def test_first_purchases_agree_with_the_truth_in_each_tenth_of_it() -> None:
    people, expected, happened = draw_registrants(MARKET), [], []
    for cutoff in range(60, 280, 20):
        truth = first_purchase(MARKET, cutoff, 20)
        expected.append(truth.probability)
        happened.append(people.first[truth.customer - MARKET.customers] < cutoff + 20)
    chance, bought = np.concatenate(expected), np.concatenate(happened)
    for part in np.array_split(np.argsort(chance), 10):
        error = np.sqrt((chance[part] * (1 - chance[part])).sum())
        assert abs(bought[part].sum() - chance[part].sum()) < 4 * error


def test_a_better_source_and_more_views_make_a_first_purchase_likelier() -> None:
    people, truth = draw_registrants(MARKET), first_purchase(MARKET, 200, 14)
    row = truth.customer - MARKET.customers
    means = [truth.probability[people.source[row] == source].mean() for source in np.argsort(SOURCE_RATE)]
    assert means == sorted(means)
    viewed = MARKET.load().events.filter(pl.col("kind") == "view", pl.col("customer").is_in(truth.customer.tolist()))
    before = viewed.filter(pl.col("day").to_physical() < MARKET.epoch_day(200)).collect()["customer"].unique()
    active = np.isin(truth.customer, before.to_numpy())
    assert truth.probability[active].mean() > 1.5 * truth.probability[~active].mean()
