"""Laws of the pair kernel: what each customer did with each offer before a cutoff."""

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
from propensity.kernel.pair import pair_columns, pair_windows
from propensity.kernel.reference import pair_reference
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

WINDOWS, HALF_LIVES = (7, 28, 91, 364), (10, 90, 3000)
NAMES = pair_columns(WINDOWS, HALF_LIVES)
AGES = ("recency", "since_first", "recency_ratio")  # and every window and decay: what is measured from the cutoff


def pairs(log: EventLog, offers: Offers, cutoff: int, customer=None, mask_days=None, mask_offer=None) -> np.ndarray:
    customer, mask_days, mask_offer = visible(log, customer, mask_days, mask_offer)
    out = unwritten(customer.size, len(offers), len(NAMES))
    windows, half_lives = np.array(WINDOWS), np.array(HALF_LIVES)
    pair_windows(log.events, offers.sets, customer, cutoff, mask_days, mask_offer, windows, half_lives, out)
    return out


def random_mask(seed: int, customers: int, offers: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.choice([0, 0, 1, 30, 100_000], customers), random.integers(-1, offers, customers)


@pytest.mark.parametrize("seed", range(10))
def test_the_kernel_equals_its_definition(seed):
    log = random_log(seed, customers=12, days=450 + 300 * (seed % 2), busy=80)
    offers = random_offers(seed, log.items.height, offers=4)
    customer = np.random.default_rng(seed).permutation(len(log))
    mask_days, mask_offer = random_mask(seed, customer.size, len(offers))
    for cutoff in around_events(log, seed):
        want = pair_reference(
            columns(log), membership(offers), customer, cutoff, mask_days, mask_offer, WINDOWS, HALF_LIVES, NAMES
        )
        have = pairs(log, offers, cutoff, customer, mask_days, mask_offer)
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5, err_msg=str(NAMES))


def test_days_before_1970_are_days_like_any_other():
    assert_days_before_1970_are_like_any_other(pairs)


def test_an_order_counts_once_whatever_the_order_of_its_lines():
    """On one day, the lines of orders 0 to 3 arrive as 0 1 2 3 1, and the offer is in the last two of them."""
    log = random_log(0)
    item = np.array([5, 5, 5, 6, 6], np.int32)
    events = {
        "offsets": np.array([0, 5]), "day": np.full(5, 100, np.int32), "item": item, "kind": np.zeros(5, np.int8),
        "order": np.array([0, 1, 2, 3, 1], np.int32),
    }  # fmt: skip
    offers = Offers(("it",), (np.arange(15) > 6).astype(np.int64), np.zeros(1, np.int32), np.array([-1]))
    short = EventLog(**(vars(log) | {name: log_column[:5] for name, log_column in columns(log).items()} | events))
    row = dict(zip(NAMES, pairs(short, offers, 101, np.array([0]))[0, 0], strict=True))
    assert row["order_share"] == np.float32(2 / 3) and row["orders_since"] == 0.0 and row["purchase_days"] == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_nothing_at_or_after_the_cutoff_matters(seed):
    assert_the_future_does_not_matter(pairs, seed, ("item", "kind", "order", "quantity", "revenue", "discount"))


@pytest.mark.parametrize("days", [1, 28, 90, 100_000])
def test_masking_days_equals_a_log_that_ends_so_many_days_before_the_cutoff(days):
    tables = random_tables(5)
    log = build_log(tables)
    offers, cutoff = random_offers(5, log.items.height), log.last_day + 1
    have = pairs(log, offers, cutoff, mask_days=np.full(len(log), days))
    assert (have[:, :, -1] == 1.0).all()
    if cutoff - days > log.first_day:
        earlier = build_log(cut(tables, cutoff - days))
        np.testing.assert_array_equal(have[:, :, :-1], pairs(earlier, offers, cutoff)[:, :, :-1])
    else:
        nothing = np.broadcast_to(pairs(log, offers, log.first_day), have.shape)
        np.testing.assert_array_equal(have[:, :, :-1], nothing[:, :, :-1])


@pytest.mark.parametrize("days", [28, 90])
def test_masking_days_equals_an_earlier_cutoff_but_for_ages(days):
    """Windows keep their end at the cutoff, and ages grow by the masked days; views are those of 28 days, a window."""
    log = random_log(6)
    offers, cutoff = random_offers(6, log.items.height), log.last_day + 1
    late = pairs(log, offers, cutoff, mask_days=np.full(len(log), days))
    have, early = (
        dict(zip(NAMES, np.moveaxis(out, 2, 0), strict=True)) for out in (late, pairs(log, offers, cutoff - days))
    )
    windowed = {name for name in NAMES if name.rsplit("_", 1)[-1].isdigit()} | {*AGES, "views", "masked"}
    for name in set(NAMES) - windowed:
        np.testing.assert_array_equal(have[name], early[name], err_msg=name)
    for name in ("recency", "since_first"):
        np.testing.assert_array_equal(have[name], early[name] + days, err_msg=name)
    for half_life in HALF_LIVES[:2]:
        name = f"decayed_{half_life}"
        np.testing.assert_allclose(have[name], early[name] * 0.5 ** (days / half_life), rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_masking_an_offer_leaves_a_pair_without_a_past_and_all_others_as_they_were(seed):
    log = random_log(seed)
    offers, cutoff = random_offers(seed, log.items.height), log.last_day + 1
    mask_offer = np.random.default_rng(seed).integers(0, len(offers), len(log))
    plain, have = pairs(log, offers, cutoff), pairs(log, offers, cutoff, mask_offer=mask_offer)
    mine = np.zeros(plain.shape[:2], bool)
    mine[np.arange(len(log)), mask_offer] = True
    np.testing.assert_array_equal(have[~mine], plain[~mine])
    never = plain[NOBODY, 0]
    np.testing.assert_array_equal(have[mine][:, :-1], np.broadcast_to(never[:-1], have[mine][:, :-1].shape))
    assert (have[mine][:, -1] == 1.0).all() and (plain[:, :, -1] == 0.0).all()


def test_a_customer_has_the_same_row_in_any_block():
    assert_a_row_is_the_same_in_any_block(pairs)
