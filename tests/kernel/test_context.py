"""Laws of the context kernel: what the market did with each offer before a cutoff."""

from __future__ import annotations

import numpy as np
import pytest

from kernel.laws import assert_days_before_1970_are_like_any_other, assert_the_future_does_not_matter
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.kernel.context import context_columns, line_limits, offer_context
from propensity.kernel.reference import context_reference
from random_log import around_events, columns, membership, random_log, random_offers

WINDOWS = (7, 28, 91, 364)
NAMES = context_columns(WINDOWS)


def market(log: EventLog, offers: Offers, cutoff: int, customer=None, horizon: int = 14) -> np.ndarray:
    customer = np.arange(len(log)) if customer is None else customer
    out = np.full((len(offers), len(NAMES)), 7.7)  # what a reused buffer may hold
    limits = line_limits(log.events, offers.sets, len(offers), customer, cutoff)
    offer_context(log.events, offers.sets, customer, cutoff, horizon, np.array(WINDOWS), limits, out)
    return out


@pytest.mark.parametrize("seed", range(10))
def test_the_kernel_equals_its_definition(seed):
    log = random_log(seed, customers=25, days=450 + 300 * (seed % 2))
    offers, random = random_offers(seed, log.items.height), np.random.default_rng(seed)
    horizon = int(random.integers(1, 60))
    customer = random.choice(len(log), 18, replace=False)
    for cutoff in around_events(log, seed):
        want = context_reference(columns(log), membership(offers), customer, cutoff, horizon, WINDOWS, NAMES)
        have = market(log, offers, cutoff, customer, horizon)
        np.testing.assert_allclose(have, want, rtol=1e-6, atol=1e-6, err_msg=str(NAMES))


def test_days_before_1970_are_days_like_any_other():
    assert_days_before_1970_are_like_any_other(market)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_at_or_after_the_cutoff_matters(seed):
    assert_the_future_does_not_matter(market, seed, ("item", "kind"))


def test_the_order_of_customers_does_not_matter_and_their_counts_add_up():
    log = random_log(8)
    offers, cutoff = random_offers(8, log.items.height), log.last_day - 20
    mixed = np.random.default_rng(8).permutation(len(log))
    everyone = market(log, offers, cutoff)
    np.testing.assert_allclose(market(log, offers, cutoff, mixed), everyone, rtol=1e-12)
    halves = market(log, offers, cutoff, mixed[:20]) + market(log, offers, cutoff, mixed[20:])
    counts = [k for k, name in enumerate(NAMES) if name not in ("interpurchase_time", "age")]
    np.testing.assert_allclose(halves[:, counts], everyone[:, counts], rtol=1e-12)
