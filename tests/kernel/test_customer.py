"""Laws of the customer kernel: what each customer did overall before a cutoff."""

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
from propensity.kernel.customer import customer_columns, customer_windows
from propensity.kernel.event import MESSAGE, PURCHASE, VIEW
from propensity.kernel.reference import customer_reference
from random_log import (
    around_events,
    columns,
    cut,
    membership,
    random_log,
    random_offers,
    random_tables,
)

WINDOWS, HALF_LIVES, HORIZON = (7, 28, 91, 364), (10, 90, 3000), 14
NAMES = customer_columns(WINDOWS, HALF_LIVES)


def people(log: EventLog, offers: Offers, cutoff: int, customer=None, mask_days=None, horizon=HORIZON) -> np.ndarray:
    customer, mask_days, _ = visible(log, customer, mask_days)
    out = unwritten(customer.size, len(NAMES))
    customer_windows(
        *(log.events, offers.sets, len(offers), customer, cutoff, horizon, mask_days),
        *(np.array(WINDOWS), np.array(HALF_LIVES), out),
    )
    return out


@pytest.mark.parametrize("seed", range(10))
def test_the_kernel_equals_its_definition(seed):
    log = random_log(seed, customers=25, days=450 + 300 * (seed % 2))
    offers, random = random_offers(seed, log.items.height), np.random.default_rng(seed)
    customer = random.permutation(len(log))
    mask_days = random.choice([0, 0, 1, 30, 100_000], customer.size)
    horizon = int(random.integers(1, 60))
    for cutoff in around_events(log, seed):
        want = customer_reference(
            columns(log), membership(offers), customer, cutoff, horizon, mask_days, WINDOWS, HALF_LIVES, NAMES
        )
        have = people(log, offers, cutoff, customer, mask_days, horizon)
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5, err_msg=str(NAMES))


def story(kinds: list[int], days: list[int]) -> EventLog:
    """One customer's events of item 0, each purchase an order of its own."""
    log, n = random_log(0), len(days)
    kind, order = np.array(kinds, np.int8), np.cumsum(np.array(kinds) == PURCHASE) - 1
    short = {name: values[:n] for name, values in columns(log).items()}
    mine = {"offsets": np.array([0, n]), "day": np.array(days, np.int32), "kind": kind, "item": np.zeros(n, np.int32)}
    return EventLog(**(vars(log) | short | mine | {"order": order.astype(np.int32)}))


@pytest.mark.parametrize(
    ("kinds", "days", "share"),
    [
        ([MESSAGE, PURCHASE], [50, 57], 1.0),  # on the seventh day
        ([MESSAGE, PURCHASE], [50, 58], 0.0),
        ([PURCHASE, MESSAGE], [50, 50], 0.0),  # the purchase came first
        ([MESSAGE, MESSAGE, PURCHASE], [50, 51, 52], 1.0),  # one purchase follows both
        ([MESSAGE, MESSAGE, VIEW, PURCHASE, PURCHASE], [40, 51, 52, 53, 54], 0.5),
    ],
)
def test_response_is_the_share_of_messages_that_a_purchase_follows_within_a_week(kinds, days, share):
    row = people(story(kinds, days), random_offers(0, 14), 60, np.array([0]))[0]
    assert row[NAMES.index("response")] == share


def test_days_before_1970_are_days_like_any_other():
    assert_days_before_1970_are_like_any_other(people)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_at_or_after_the_cutoff_matters(seed):
    assert_the_future_does_not_matter(people, seed, ("item", "kind", "order", "revenue", "discount"))


@pytest.mark.parametrize("days", [1, 28, 90, 100_000])
def test_masking_days_equals_a_log_that_ends_so_many_days_before_the_cutoff(days):
    tables = random_tables(5)
    log = build_log(tables)
    offers, cutoff = random_offers(5, log.items.height), log.last_day + 1
    have = people(log, offers, cutoff, mask_days=np.full(len(log), days))
    assert (have[:, -1] == days).all()
    if cutoff - days > log.first_day:
        earlier = build_log(cut(tables, cutoff - days))
        np.testing.assert_array_equal(have[:, :-1], people(earlier, offers, cutoff)[:, :-1])
    else:
        nothing = np.broadcast_to(people(log, offers, log.first_day), have.shape)
        np.testing.assert_array_equal(have[:, :-1], nothing[:, :-1])


@pytest.mark.parametrize("days", [28, 90])
def test_masking_days_equals_an_earlier_cutoff_but_for_what_is_measured_from_the_cutoff(days):
    """Interpurchase times, what was ever bought and returned stay; recency grows by the masked days."""
    log = random_log(6)
    offers, cutoff = random_offers(6, log.items.height), log.last_day + 1
    have = people(log, offers, cutoff, mask_days=np.full(len(log), days))
    early = people(log, offers, cutoff - days)
    for name in ("interpurchase_time", "interpurchase_std", "interpurchase_last", "penetration", "return_rate"):
        np.testing.assert_array_equal(have[:, NAMES.index(name)], early[:, NAMES.index(name)], err_msg=name)
    recency = NAMES.index("recency")
    np.testing.assert_array_equal(have[:, recency], early[:, recency] + days)


def test_a_customer_has_the_same_row_in_any_block():
    assert_a_row_is_the_same_in_any_block(people)
