"""Windows of many cutoffs in one pass are those of each cutoff alone, and know nothing of what comes later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.feature.rolling import RollingRequest, rolling_customer, rolling_pair
from propensity.kernel.customer import customer_columns, customer_windows
from propensity.kernel.event import PURCHASE
from propensity.kernel.pair import pair_columns, pair_windows
from propensity.kernel.reference import customer_reference, pair_reference
from propensity.kernel.rolling_customer import rolling_customer_columns
from propensity.kernel.rolling_pair import rolling_pair_columns
from random_log import columns, membership, random_log, random_offers, with_another_future

WINDOWS, HALF_LIVES = (7, 14, 28, 56, 91, 182, 365), (10, 30, 90)
ITEMS = 14


def days_of(log: EventLog) -> list[int]:
    """Before, on and after the day of every event, the first and the last of all, and long after them."""
    every = np.unique(log.day)
    return sorted({*(every - 1).tolist(), *every.tolist(), *(every + 1).tolist(), log.last_day + 3000})


def dense(log: EventLog, seed: int, asked: RollingRequest, room: int) -> np.ndarray:
    """Rolling windows of pairs as (N, M, F, D), including pairs without a purchase."""
    offers, everyone = random_offers(seed, ITEMS), np.arange(len(log))
    out = np.zeros((len(log), len(offers), len(rolling_pair_columns(*asked[1:])), len(asked.cutoffs)), np.float32)
    at = out.shape[2] - 3
    out[:, :, at : at + 2] = np.nan
    seen = np.zeros(out.shape[:2], int)
    for block in rolling_pair(log, offers, asked, everyone, room):
        out[block.owner, block.offer] = block.column
        np.add.at(seen, (block.owner, block.offer), 1)
    assert seen.max() == 1
    return out


@pytest.mark.parametrize("seed", range(4))
def test_one_pass_equals_a_pass_for_each_cutoff_to_the_last_bit(seed: int) -> None:
    log, offers = random_log(seed, items=ITEMS), random_offers(seed, ITEMS)
    asked, everyone = RollingRequest(days_of(log)[seed::4], WINDOWS, HALF_LIVES), np.arange(len(log))
    nothing, no_offer = np.zeros(len(log), np.int64), np.full(len(log), -1)
    shared = np.array(WINDOWS), np.array(HALF_LIVES)
    own, pairs = rolling_customer(log, asked, everyone), dense(log, seed, asked, room=1)
    names, at = customer_columns(WINDOWS, HALF_LIVES), 2 * len(WINDOWS) + len(HALF_LIVES)
    whole = np.empty((len(log), len(names)), np.float32)
    grid = np.empty((len(log), len(offers), len(pair_columns(WINDOWS, HALF_LIVES))), np.float32)
    for d, day in enumerate(asked.cutoffs):
        customer_windows(log.events, offers.sets, len(offers), everyone, day, 14, nothing, *shared, whole)
        np.testing.assert_array_equal(own[:, : at + 1, d], whole[:, : at + 1])
        tenure = np.minimum(np.nan_to_num(own[:, at + 1, d]), 364)
        np.testing.assert_array_equal(tenure, whole[:, names.index("tenure")])
        pair_windows(log.events, offers.sets, everyone, day, nothing, no_offer, *shared, grid)
        np.testing.assert_array_equal(pairs[:, :, :, d], grid[:, :, : at + 3])


@pytest.mark.parametrize("seed", range(3))
def test_rolling_windows_match_the_plain_definitions(seed: int) -> None:
    log, offers = random_log(seed, customers=20, items=ITEMS), random_offers(seed, ITEMS)
    asked = RollingRequest(days_of(log)[seed :: len(days_of(log)) // 5], WINDOWS, HALF_LIVES)
    everyone, nothing, no_offer = np.arange(20), np.zeros(20, np.int64), np.full(20, -1)
    own, pairs = rolling_customer(log, asked, everyone), dense(log, seed, asked, room=40)
    at, table, belongs = own.shape[1] - 1, columns(log), membership(offers)
    shared = WINDOWS, HALF_LIVES, customer_columns(WINDOWS, HALF_LIVES)
    shared_pairs = WINDOWS, HALF_LIVES, pair_columns(WINDOWS, HALF_LIVES)
    for d, day in enumerate(asked.cutoffs):
        want = customer_reference(table, belongs, everyone, day, 14, nothing, *shared)
        np.testing.assert_allclose(own[:, :at, d], want[:, :at], rtol=1e-5, atol=1e-5)
        pair = pair_reference(table, belongs, everyone, day, nothing, no_offer, *shared_pairs)
        np.testing.assert_allclose(pairs[:, :, :, d], pair[:, :, : at + 2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_at_or_after_a_cutoff_moves_what_is_known_before_it(seed: int) -> None:
    log = random_log(seed, items=ITEMS)
    days = days_of(log)
    middle = len(days) // 2
    asked, everyone = RollingRequest(days[middle - 8 : middle + 1], WINDOWS, HALF_LIVES), np.arange(len(log))
    other = with_another_future(log, days[middle], np.random.default_rng(seed), ("item", "kind", "revenue", "quantity"))
    other = replace(other, order=np.where((other.day >= days[middle]) & (other.kind != PURCHASE), -1, other.order))
    for make in (lambda x: rolling_customer(x, asked, everyone), lambda x: dense(x, seed, asked, 60)):
        np.testing.assert_array_equal(make(log), make(other))


def test_a_customer_with_a_hundred_thousand_events_is_no_exception() -> None:
    log, offers = random_log(1, customers=6, items=ITEMS, busy=100_000), random_offers(1, ITEMS)
    asked = RollingRequest([log.first_day, log.last_day - 30, log.last_day + 1], WINDOWS, HALF_LIVES)
    everyone, at = np.arange(len(log)), 2 * len(WINDOWS) + len(HALF_LIVES)
    own, pairs = rolling_customer(log, asked, everyone), dense(log, 1, asked, room=1)
    shared = np.zeros(6, np.int64), np.array(WINDOWS), np.array(HALF_LIVES)
    whole = np.empty((6, len(customer_columns(WINDOWS, HALF_LIVES))), np.float32)
    grid = np.empty((6, len(offers), len(pair_columns(WINDOWS, HALF_LIVES))), np.float32)
    for d, day in enumerate(asked.cutoffs):
        customer_windows(log.events, offers.sets, len(offers), everyone, day, 14, *shared, whole)
        pair_windows(log.events, offers.sets, everyone, day, shared[0], np.full(6, -1), *shared[1:], grid)
        np.testing.assert_array_equal(own[:, : at + 1, d], whole[:, : at + 1])
        np.testing.assert_array_equal(pairs[:, :, :, d], grid[:, :, : at + 3])


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    log = random_log(2)
    asked, everyone = RollingRequest(days_of(log)[::9], WINDOWS, HALF_LIVES), np.arange(len(log))
    out = np.full((len(log), len(rolling_customer_columns(WINDOWS, HALF_LIVES)), len(asked.cutoffs)), 7.0, np.float32)
    made = rolling_customer(log, asked, everyone, threads, out)
    assert made is out
    np.testing.assert_array_equal(made, rolling_customer(log, asked, everyone))


@pytest.mark.parametrize("cutoffs", [[], [5, 5]])
def test_cutoffs_that_make_no_course_are_a_configuration_error(cutoffs: list[int]) -> None:
    log = random_log(0)
    with pytest.raises(ConfigurationError, match=r"cutoffs=\[.*\] must be one or more distinct days"):
        rolling_customer(log, RollingRequest(cutoffs, WINDOWS, HALF_LIVES), np.arange(len(log)))
