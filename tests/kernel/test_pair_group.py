"""Laws of the groups of pair columns: expected purchases, renewal and units."""

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
from propensity.kernel.group import GroupTables, windows_and_groups
from propensity.kernel.pair import PAIR
from propensity.kernel.pair_group import EXPECT, RENEWAL, UNITS, BasicColumns, OfferMarket
from propensity.kernel.purchase_day import shopping_days
from propensity.kernel.reference import LONG_AGO, between, of_kind, pair_group_reference
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

WINDOWS, HALF_LIVES, HORIZON = (7, 28, 91, 182), (10, 90, 3000), 14
BASIC, GROUPS = (
    names(PAIR, WINDOWS, HALF_LIVES),
    [names(group, WINDOWS, HALF_LIVES) for group in (EXPECT, RENEWAL, UNITS)],
)
NAMES = tuple(name for group in GROUPS for name in group)
OWN = tuple(
    c.name.format(h) for c in (*EXPECT, *RENEWAL, *UNITS) if c.definition for h in (HALF_LIVES if c.per else [0])
)
START = np.cumsum([len(BASIC), len(GROUPS[0]), len(GROUPS[1])])


def market(offers: int) -> OfferMarket:
    random = np.random.default_rng(offers)
    return OfferMarket(random.random(offers), np.where(np.arange(offers) == 1, np.nan, 30.0), 3 * random.random(offers))


def pairs(
    log: EventLog, offers: Offers, cutoff: int, customer=None, mask_days=None, mask_offer=None, horizon=HORIZON,
    start=START,
) -> np.ndarray:  # fmt: skip
    customer, *mask = visible(log, customer, mask_days, mask_offer)
    out, half_lives = unwritten(customer.size, len(offers), len(BASIC) + len(NAMES)), np.array(HALF_LIVES)
    places = BasicColumns.of(BASIC, HALF_LIVES), start, np.array([-1, -1])
    windows_and_groups(
        *(log.events, offers.sets, customer, cutoff, horizon, mask[0], mask[1], np.array(WINDOWS), half_lives),
        *(GroupTables(market(len(offers)), *places, 0.0, np.zeros(1, np.int64)), out, unwritten(customer.size, 0)),
    )
    return out[:, :, len(BASIC) :]


@pytest.mark.parametrize("seed", range(8))
def test_the_kernel_equals_its_definition(seed):
    log = random_log(seed, customers=12, days=450 + 300 * (seed % 2), busy=80)
    offers, random = random_offers(seed, log.items.height, offers=4), np.random.default_rng(seed)
    customer, horizon = random.permutation(len(log)), int(random.integers(1, 60))
    mask = random.choice([0, 0, 1, 30, 100_000], customer.size), random.integers(-1, len(offers), customer.size)
    for cutoff in around_events(log, seed):
        want = pair_group_reference(columns(log), membership(offers), customer, cutoff, horizon, *mask, HALF_LIVES, OWN)
        have = pairs(log, offers, cutoff, customer, *mask, horizon)
        for k, name in enumerate(OWN):
            np.testing.assert_allclose(have[:, :, NAMES.index(name)], want[:, :, k], rtol=1e-5, atol=1e-5, err_msg=name)


def test_shopping_days_are_the_distinct_days_of_each_customer():
    log = random_log(2)
    for cutoff in around_events(log, 2):
        bought = [of_kind(between(columns(log), n, LONG_AGO, cutoff), 0)["day"] for n in range(len(log))]
        want = sum(np.unique(days[days >= cutoff - 91]).size for days in bought)
        assert shopping_days(log.events, np.arange(len(log)), cutoff, 91) == want


def test_a_group_that_is_off_is_not_written():
    log = random_log(1)
    offers, cutoff = random_offers(1, log.items.height), log.last_day
    whole = pairs(log, offers, cutoff)
    for k, group in enumerate(GROUPS):
        have, on = pairs(log, offers, cutoff, start=np.where(np.arange(3) == k, START, -1)), np.isin(NAMES, group)
        np.testing.assert_array_equal(have, np.where(on, whole, unwritten(*whole.shape)))


def test_days_before_1970_are_days_like_any_other():
    assert_days_before_1970_are_like_any_other(pairs, days=(100,))


@pytest.mark.parametrize("seed", range(3))
def test_nothing_at_or_after_the_cutoff_matters(seed):
    assert_the_future_does_not_matter(pairs, seed, ("item", "kind", "order", "quantity", "revenue"))


@pytest.mark.parametrize("days", [1, 28, 100_000])
def test_masking_days_equals_a_log_that_ends_so_many_days_before_the_cutoff(days):
    tables = random_tables(5)
    log = build_log(tables)
    offers, cutoff = random_offers(5, log.items.height), log.last_day + 1
    have = pairs(log, offers, cutoff, mask_days=np.full(len(log), days))
    if cutoff - days > log.first_day:
        np.testing.assert_array_equal(have, pairs(build_log(cut(tables, cutoff - days)), offers, cutoff))
    else:
        np.testing.assert_array_equal(have, pairs(log, offers, cutoff, np.full(len(log), NOBODY)))


@pytest.mark.parametrize("seed", range(3))
def test_masking_an_offer_leaves_a_pair_without_a_past_and_all_others_as_they_were_but_for_ranks(seed):
    log = random_log(seed)
    offers, cutoff = random_offers(seed, log.items.height), log.last_day + 1
    mask_offer = np.random.default_rng(seed).integers(0, len(offers), len(log))
    plain, have = pairs(log, offers, cutoff), pairs(log, offers, cutoff, mask_offer=mask_offer)
    mine = np.zeros((len(log), len(offers)), bool)
    mine[np.arange(len(log)), mask_offer] = True
    rank, of_trips = np.char.startswith(NAMES, "rank_"), np.array(NAMES) == "expected_trips"
    np.testing.assert_array_equal(have[~mine][:, ~rank], plain[~mine][:, ~rank])
    never = np.broadcast_to(plain[NOBODY, 0], have[mine].shape)
    np.testing.assert_array_equal(have[mine][:, ~of_trips], never[:, ~of_trips])


def test_a_rank_does_not_depend_on_the_order_of_offers():
    log = random_log(4)
    offers, cutoff = random_offers(4, log.items.height), log.last_day
    order = np.random.default_rng(4).permutation(len(offers))
    place = np.argsort(order)[offers.item_offer].astype(np.int32)
    other = Offers(offers.name, offers.item_offsets, place, offers.parent)
    rank = np.char.startswith(NAMES, "rank_")
    have, want = pairs(log, other, cutoff), pairs(log, offers, cutoff)[:, order]
    np.testing.assert_array_equal(have[:, :, rank], want[:, :, rank])


def test_a_customer_has_the_same_row_in_any_block():
    assert_a_row_is_the_same_in_any_block(pairs)
