"""Laws of the groups of customer columns: shopping days and behaviour."""

from __future__ import annotations

import numpy as np
import pytest

from kernel.laws import (
    assert_a_row_is_the_same_in_any_block,
    assert_days_before_1970_are_like_any_other,
    assert_the_future_does_not_matter,
    unwritten,
    visible,
)
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.ingest.build import build_log
from propensity.kernel.column import names
from propensity.kernel.customer_group import BEHAVIOUR, SHOPPING, median_order
from propensity.kernel.group import GroupTables, windows_and_groups
from propensity.kernel.pair import pair_columns
from propensity.kernel.pair_group import BasicColumns, OfferMarket
from propensity.kernel.reference import LONG_AGO, between, customer_group_reference, of_kind, total
from random_log import (
    NOBODY,
    around_events,
    columns,
    cut,
    membership,
    random_log,
    random_offers,
    random_tables,
)

WINDOWS, HALF_LIVES, HORIZON, ORDER_SIZE = (7, 28), (10, 90, 3000), 14, 9.0
NAMES = names((*SHOPPING, *BEHAVIOUR), (), HALF_LIVES)
START = np.array([0, len(HALF_LIVES)])
CHANNELS = np.array([1, 2, 0])  # the codes of a log's two channels, and of none


def people(
    log: EventLog, offers: Offers, cutoff: int, customer=None, days=None, horizon=HORIZON, start=START, code=CHANNELS
) -> np.ndarray:
    customer, days, mask_offer = visible(log, customer, days)
    out = unwritten(customer.size, len(NAMES))
    market, basic = OfferMarket(*np.zeros((3, len(offers)))), BasicColumns(0, 0, 0, 0, 0)
    pair = np.empty((customer.size, len(offers), len(pair_columns(WINDOWS, HALF_LIVES))), np.float32)
    windows_and_groups(
        *(log.events, offers.sets, customer, cutoff, horizon, days, mask_offer),
        *(np.array(WINDOWS), np.array(HALF_LIVES)),
        GroupTables(market, basic, np.array([-1, -1, -1]), start, ORDER_SIZE, code),
        *(pair, out),
    )
    return out


@pytest.mark.parametrize("seed", range(8))
def test_the_kernel_equals_its_definition(seed):
    log = random_log(seed, customers=25, days=450 + 300 * (seed % 2))
    offers, random = random_offers(seed, log.items.height), np.random.default_rng(seed)
    customer, horizon = random.permutation(len(log)), int(random.integers(1, 60))
    days, code = random.choice([0, 0, 1, 30, 100_000], customer.size), np.array([seed % 2, 2, 0])
    for cutoff in around_events(log, seed):
        want = customer_group_reference(
            *(columns(log), membership(offers), customer, cutoff, horizon, days, HALF_LIVES, ORDER_SIZE, code, NAMES)
        )
        have = people(log, offers, cutoff, customer, days, horizon, code=code)
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5, err_msg=str(NAMES))


def test_the_median_order_is_that_of_the_orders_of_all_customers():
    log = random_log(2)
    for cutoff in around_events(log, 2):
        orders = []
        for n in range(len(log)):
            bought = of_kind(between(columns(log), n, max(cutoff - 91, LONG_AGO), cutoff), 0)
            orders += [total(bought["revenue"][bought["order"] == order]) for order in np.unique(bought["order"])]
        want = np.median(orders) if orders else 0.0
        np.testing.assert_allclose(median_order(log.events, np.arange(len(log)), cutoff), want)


def test_a_group_that_is_off_is_not_written():
    log = random_log(1)
    offers, cutoff, at = random_offers(1, log.items.height), log.last_day, len(HALF_LIVES)
    whole = people(log, offers, cutoff)
    np.testing.assert_array_equal(people(log, offers, cutoff, start=np.array([0, -1]))[:, :at], whole[:, :at])
    have = people(log, offers, cutoff, start=np.array([-1, at]))
    np.testing.assert_array_equal(have[:, at:], whole[:, at:])
    assert (have[:, :at] == np.float32(7.7)).all()


def test_days_before_1970_are_days_like_any_other():
    assert_days_before_1970_are_like_any_other(people, days=(100,))


@pytest.mark.parametrize("seed", range(3))
def test_nothing_at_or_after_the_cutoff_matters(seed):
    assert_the_future_does_not_matter(people, seed, ("item", "kind", "order", "channel", "revenue"))


@pytest.mark.parametrize("days", [1, 28, 100_000])
def test_masking_days_equals_a_log_that_ends_so_many_days_before_the_cutoff(days):
    tables = random_tables(5)
    log = build_log(tables)
    offers, cutoff = random_offers(5, log.items.height), log.last_day + 1
    have = people(log, offers, cutoff, days=np.full(len(log), days))
    if cutoff - days > log.first_day:
        np.testing.assert_array_equal(have, people(build_log(cut(tables, cutoff - days)), offers, cutoff))
    else:
        np.testing.assert_array_equal(have, people(log, offers, cutoff, np.full(len(log), NOBODY)))


def test_a_customer_has_the_same_row_in_any_block():
    assert_a_row_is_the_same_in_any_block(people)
