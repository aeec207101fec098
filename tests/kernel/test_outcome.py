"""Laws of the outcome kernel: what happened in `cutoff <= day < cutoff + horizon`."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.kernel.outcome import outcomes, purchase_channels
from propensity.kernel.reference import outcomes_reference, purchase_channels_reference
from random_log import BUSY, NOBODY, around_events, columns, membership, random_log, random_offers


def labels(log: EventLog, offers: Offers, cutoff: int, horizon: int, customer=None) -> tuple[np.ndarray, ...]:
    customer = np.arange(len(log)) if customer is None else customer
    bought = np.ones((customer.size, len(offers)), bool)  # what a reused buffer may hold
    money, visit = np.full(bought.shape, 7.7, np.float32), np.ones(customer.size, bool)
    outcomes(log.events, offers.sets, customer, cutoff, horizon, bought, money, visit)
    return bought, money, visit


@pytest.mark.parametrize("seed", range(10))
def test_the_kernel_equals_its_definition(seed):
    log = random_log(seed, customers=25)
    offers, horizon = random_offers(seed, log.items.height), 1 + 5 * seed
    customer = np.random.default_rng(seed).permutation(len(log))
    for cutoff in [log.first_day - 3, *around_events(log, seed)]:
        want = outcomes_reference(columns(log), membership(offers), customer, cutoff, horizon)
        for one, other in zip(labels(log, offers, cutoff, horizon, customer), want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_only_what_is_bought_brings_money_and_only_visitors_buy():
    log = random_log(1)
    offers = random_offers(1, log.items.height)
    for cutoff in around_events(log, 1):
        bought, money, visit = labels(log, offers, cutoff, 30)
        assert (money >= 0).all() and (money[~bought] == 0).all()
        assert visit[bought.any(axis=1)].all()
        assert not bought[NOBODY].any() and not visit[NOBODY]


@pytest.mark.parametrize("seed", range(4))
def test_nothing_before_the_cutoff_or_after_the_horizon_matters(seed):
    log = random_log(seed)
    offers, random = random_offers(seed, log.items.height), np.random.default_rng(seed)
    for cutoff in around_events(log, seed):
        outside = np.flatnonzero((log.day < cutoff) | (log.day >= cutoff + 20))
        changed = {name: values.copy() for name, values in columns(log).items()}
        for name in ("item", "kind"):
            changed[name][outside] = changed[name][random.permutation(outside)]
        changed["revenue"][outside] += 1e6
        altered = EventLog(**(vars(log) | changed))
        for one, other in zip(labels(altered, offers, cutoff, 20), labels(log, offers, cutoff, 20), strict=True):
            np.testing.assert_array_equal(one, other)


def test_two_horizons_make_a_longer_one():
    log = random_log(4)
    offers, cutoff = random_offers(4, log.items.height), log.first_day + 100
    first, second, both = (labels(log, offers, c, h) for c, h in ((cutoff, 30), (cutoff + 30, 60), (cutoff, 90)))
    np.testing.assert_array_equal(first[0] | second[0], both[0])
    np.testing.assert_array_equal(first[2] | second[2], both[2])


def test_a_customer_has_the_same_row_in_any_block():
    log = random_log(8)
    offers = random_offers(8, log.items.height)
    everyone = labels(log, offers, log.first_day + 200, 60)
    for block in (np.array([BUSY]), np.array([NOBODY, BUSY, NOBODY]), np.random.default_rng(8).permutation(len(log))):
        for one, other in zip(labels(log, offers, log.first_day + 200, 60, block), everyone, strict=True):
            np.testing.assert_array_equal(one, other[block])


@pytest.mark.parametrize("code", [[0, 1, -1], [-1, 0, -1], [1, 0, 2], [-1, -1, -1]])
def test_channels_are_those_of_purchase_lines_in_the_horizon(code):
    log = random_log(6, customers=25)
    place, channels = np.array(code, np.int32), max(code) + 1
    customer = np.random.default_rng(6).permutation(len(log))
    for cutoff in [log.first_day - 3, *around_events(log, 6)]:
        count = np.full((customer.size, channels), 7.7, np.float32)  # what a reused buffer may hold
        purchase_channels(log.events, customer, cutoff, 30, place, count)
        want = purchase_channels_reference(columns(log), customer, cutoff, 30, place, channels)
        np.testing.assert_array_equal(count, want)
