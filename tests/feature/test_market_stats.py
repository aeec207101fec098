"""Laws of market statistics: the market at a cutoff, and nothing later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.feature.column import CONTEXT_NAMES
from propensity.feature.hazard import CELLS, RECENCY_EDGES, hazard_cell
from propensity.feature.market_stats import TENURES, MarketStats, MarketStatsBuilder, MarketStatsConfig
from propensity.ingest.build import build_log
from random_log import random_log, random_offers, random_tables, rewritten

CONFIG = MarketStatsConfig(references=4, step=14)


def market_stats(log: EventLog, day: int, config: MarketStatsConfig = CONFIG) -> MarketStats:
    return MarketStatsBuilder(log, random_offers(0, log.items.height), 14, config).at(Cutoff(day, 14))


def assert_same(one: MarketStats, other: MarketStats) -> None:
    for name, mine, theirs in zip(MarketStats._fields, one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=name)


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_shares_and_an_offer_is_not_evidence_for_itself(seed: int) -> None:
    log = random_log(seed)
    for day in (log.first_day + 1, log.first_day + 60, log.last_day + 1, log.last_day + 500):
        now = market_stats(log, day)
        assert now.hazard.shape == (6, CELLS) and ((now.hazard > 0) & (now.hazard < 1)).all()
        for affinity in (*now.similar, *now.together, now.sibling):
            assert affinity.shape == (6, 6) and (np.diag(affinity) == 0).all()
        assert now.follow.shape == (2, 13, 6) and now.cohort.shape == (TENURES, 2)
        assert (now.rate >= 0).all() and (now.interpurchase_time[~np.isnan(now.interpurchase_time)] >= 1).all()
        assert now.context.shape == (6, len(CONTEXT_NAMES))
        assert np.isnan(now.context[~now.sold]).all()
        assert np.isfinite(np.delete(now.context[now.sold], CONTEXT_NAMES.index("interpurchase_time"), axis=1)).all()
        assert not np.isinf(now.context).any()
        for table in (now.similar, now.together, now.follow, now.sibling, now.cohort, now.rate):
            assert np.isfinite(table).all()


@pytest.mark.parametrize("how", ["shuffled", "deleted"])
@pytest.mark.parametrize("sample", [50_000, 12])
def test_nothing_at_or_after_the_date_matters(how: str, sample: int) -> None:
    """Also not for which customers are sampled, though the whole log has more of them."""
    config = replace(CONFIG, sample=sample)
    tables = random_tables(1, customers=60)
    log = build_log(tables)
    for day in (log.first_day + 50, log.first_day + 200, log.last_day):
        want = market_stats(log.before(day), day, config)
        assert_same(market_stats(log, day, config), want)
        other = build_log(rewritten(tables, day, 3, how))
        assert_same(market_stats(other, day, config), want)


def test_a_builder_that_has_seen_other_dates_gives_the_same_snapshot() -> None:
    log = random_log(2)
    builder = MarketStatsBuilder(log, random_offers(0, log.items.height), 14, CONFIG)
    for day in (log.last_day, log.first_day + 100, log.last_day - 14, log.last_day):
        assert_same(builder.at(Cutoff(day, 14)), market_stats(log, day))


def test_a_sample_of_everybody_is_everybody_and_a_smaller_one_is_not() -> None:
    log = random_log(3)
    everybody = log.purchasers(log.last_day).size
    assert_same(market_stats(log, log.last_day, replace(CONFIG, sample=everybody)), market_stats(log, log.last_day))
    few = market_stats(log, log.last_day, replace(CONFIG, sample=10))
    assert (few.hazard != market_stats(log, log.last_day).hazard).any()


def test_a_hazard_is_the_share_of_a_cell_that_bought() -> None:
    """Without shrinkage, the hazards of a date give back the purchases that followed its reference dates."""
    log = random_log(4, customers=200)
    offers = random_offers(0, log.items.height)
    config = MarketStatsConfig(references=1, shrink=1e-9)
    builder, day = MarketStatsBuilder(log, offers, 14, config), log.last_day + 1
    hazard = builder.at(Cutoff(day, 14)).hazard
    rows = log.purchasers(day - 14)
    column = builder.purchases(rows, day - 14)[1]
    cell = hazard_cell(column["recency"], column["purchase_days"])
    expected = hazard[np.arange(len(offers)), cell].sum(axis=0)
    np.testing.assert_allclose(expected, builder.bought(rows, day - 14).sum(axis=0), atol=1e-3)


def test_cells_tell_recency_and_count_apart_and_know_the_never_bought() -> None:
    recency = np.array([np.nan, 1, 3, 4, 300, 1, 1])
    count = np.array([0, 1, 1, 1, 1, 2, 99])
    cells = hazard_cell(recency, count)
    assert cells[0] == 0 and cells[1] == cells[2] and len(set(cells)) == 6
    assert cells.max() < CELLS


def test_a_cell_that_nobody_was_in_goes_on_from_the_last_that_somebody_was_in() -> None:
    """A silence longer than the log had seen is no better a sign than the longest it had."""
    log = random_log(3)
    first = log.first_day + 60
    overall = (
        market_stats(log, first, MarketStatsConfig(2, 7)).hazard.mean(axis=0)[1:].reshape(RECENCY_EDGES.size + 1, -1)
    )
    unseen = np.concatenate([[0], RECENCY_EDGES]) > 60
    last = np.flatnonzero(~unseen)[-1]
    np.testing.assert_allclose(overall[unseen], np.broadcast_to(overall[last], overall[unseen].shape))
