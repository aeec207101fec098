"""Laws of the kernel that counts the buyers of each offer in groups of customers."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.kernel.group_rate import buyers_by_group, buyers_by_group_reference
from random_log import around_1970, around_events, random_log, random_offers, with_another_future

WINDOWS = np.array([28, 364])
GROUPS = 7  # of two attributes, of 4 and 3 values


def groups(customers: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, 4, customers), random.integers(4, GROUPS, customers)], axis=1)


def buyers(log: EventLog, offers: Offers, cutoff: int, count=buyers_by_group, rows=None) -> np.ndarray:
    rows = np.arange(len(log)) if rows is None else rows
    out = np.full((WINDOWS.size, GROUPS, len(offers)), 77)  # what a reused buffer may hold
    return count(log.events, offers.sets, rows, groups(len(log))[rows], cutoff, WINDOWS, out)


@pytest.mark.parametrize("seed", range(6))
def test_the_kernel_equals_its_definition(seed):
    log = random_log(seed, customers=20, days=450 + 300 * (seed % 2))
    offers = random_offers(seed, log.items.height)
    for cutoff in around_events(log, seed)[:4]:
        want = buyers(log, offers, cutoff, buyers_by_group_reference)
        np.testing.assert_array_equal(buyers(log, offers, cutoff), want)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_at_or_after_the_cutoff_matters(seed):
    log, random = random_log(seed), np.random.default_rng(seed)
    offers = random_offers(seed, log.items.height)
    for cutoff in around_events(log, seed)[:4]:
        altered = with_another_future(log, cutoff, random, ("item", "kind"))
        np.testing.assert_array_equal(buyers(altered, offers, cutoff), buyers(log, offers, cutoff))


def test_days_before_1970_are_days_like_any_other():
    log = random_log(3)
    old, shift = around_1970(log)
    offers = random_offers(3, log.items.height)
    for cutoff in (-1, 0, 1, 300):
        np.testing.assert_array_equal(buyers(old, offers, cutoff), buyers(log, offers, cutoff + shift))


def test_the_order_of_customers_does_not_matter_and_every_buyer_is_in_one_group_of_each_attribute():
    log = random_log(8)
    offers, cutoff = random_offers(8, log.items.height), log.last_day - 20
    have = buyers(log, offers, cutoff)
    mixed = np.random.default_rng(8).permutation(len(log))
    np.testing.assert_array_equal(buyers(log, offers, cutoff, rows=mixed), have)
    np.testing.assert_array_equal(have[:, :4].sum(axis=1), have[:, 4:].sum(axis=1))
    assert (have[1] >= have[0]).all() and have[0].any()
