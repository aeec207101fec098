"""Laws of the groups of pair columns: expected purchases, renewal and units."""

from __future__ import annotations

import numpy as np
import pytest

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
    BUSY,
    NOBODY,
    around_1970,
    around_events,
    columns,
    cut,
    membership,
    random_log,
    random_offers,
    random_tables,
    with_another_future,
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
) -> dict[str, np.ndarray]:  # fmt: skip
    customer = np.arange(len(log)) if customer is None else customer
    mask_days = np.zeros(customer.size, np.int64) if mask_days is None else mask_days
    mask_offer = np.full(customer.size, -1) if mask_offer is None else mask_offer
    out = np.full((customer.size, len(offers), len(BASIC) + len(NAMES)), 7.7, np.float32)
    mask, half_lives = (mask_days, mask_offer), np.array(HALF_LIVES)
    places = BasicColumns.of(BASIC, HALF_LIVES), start, np.array([-1, -1])
    windows_and_groups(
        *(log.events, offers.sets, customer, cutoff, horizon, *mask, np.array(WINDOWS), half_lives),
        GroupTables(market(len(offers)), *places, 0.0, np.zeros(1, np.int64)),
        *(out, np.empty((customer.size, 0), np.float32)),
    )
    return dict(zip(NAMES, np.moveaxis(out[:, :, len(BASIC) :], 2, 0), strict=True))


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def at(block: dict[str, np.ndarray], place: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[place] for name, values in block.items()}


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
            np.testing.assert_allclose(have[name], want[:, :, k], rtol=1e-5, atol=1e-5, err_msg=name)


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
        start = np.where(np.arange(3) == k, START, -1)
        have = pairs(log, offers, cutoff, start=start)
        for name in NAMES:
            want = whole[name] if name in group else np.full(whole[name].shape, 7.7, np.float32)
            np.testing.assert_array_equal(have[name], want, err_msg=name)


def test_days_before_1970_are_days_like_any_other():
    log = random_log(3)
    old, shift = around_1970(log)
    offers = random_offers(3, log.items.height)
    for cutoff in (*range(-3, 4), 100):
        assert_same(pairs(old, offers, cutoff), pairs(log, offers, cutoff + shift))


@pytest.mark.parametrize("seed", range(3))
def test_nothing_at_or_after_the_cutoff_matters(seed):
    log = random_log(seed)
    offers, random = random_offers(seed, log.items.height), np.random.default_rng(seed)
    for cutoff in around_events(log, seed):
        altered = with_another_future(log, cutoff, random, ("item", "kind", "order", "quantity", "revenue"))
        assert_same(pairs(altered, offers, cutoff), pairs(log, offers, cutoff))


@pytest.mark.parametrize("days", [1, 28, 100_000])
def test_masking_days_equals_a_log_that_ends_so_many_days_before_the_cutoff(days):
    tables = random_tables(5)
    log = build_log(tables)
    offers, cutoff = random_offers(5, log.items.height), log.last_day + 1
    have = pairs(log, offers, cutoff, mask_days=np.full(len(log), days))
    if cutoff - days > log.first_day:
        assert_same(have, pairs(build_log(cut(tables, cutoff - days)), offers, cutoff))
    else:
        nobody = pairs(log, offers, cutoff, np.array([NOBODY]))
        assert_same(have, {name: np.repeat(values, len(log), axis=0) for name, values in nobody.items()})


@pytest.mark.parametrize("seed", range(3))
def test_masking_an_offer_leaves_a_pair_without_a_past_and_all_others_as_they_were_but_for_ranks(seed):
    log = random_log(seed)
    offers, cutoff = random_offers(seed, log.items.height), log.last_day + 1
    mask_offer = np.random.default_rng(seed).integers(0, len(offers), len(log))
    plain, have = pairs(log, offers, cutoff), pairs(log, offers, cutoff, mask_offer=mask_offer)
    mine = np.zeros((len(log), len(offers)), bool)
    mine[np.arange(len(log)), mask_offer] = True
    for name in NAMES:
        if not name.startswith("rank_"):
            np.testing.assert_array_equal(have[name][~mine], plain[name][~mine], err_msg=name)
        if name != "expected_trips":
            never = np.full(mine.sum(), plain[name][NOBODY, 0])
            np.testing.assert_array_equal(have[name][mine], never, err_msg=name)


def test_a_rank_does_not_depend_on_the_order_of_offers():
    log = random_log(4)
    offers, cutoff = random_offers(4, log.items.height), log.last_day
    order = np.random.default_rng(4).permutation(len(offers))
    place = np.argsort(order)[offers.item_offer].astype(np.int32)
    other = Offers(offers.name, offers.item_offsets, place, offers.parent)
    for name in ("rank_182", "rank_share_182"):
        np.testing.assert_array_equal(pairs(log, other, cutoff)[name], pairs(log, offers, cutoff)[name][:, order])


def test_a_customer_has_the_same_row_in_any_block():
    log = random_log(8)
    offers, cutoff = random_offers(8, log.items.height), log.last_day - 20
    everyone = pairs(log, offers, cutoff)
    for block in (np.array([BUSY]), np.array([NOBODY, BUSY, NOBODY]), np.random.default_rng(8).permutation(len(log))):
        assert_same(pairs(log, offers, cutoff, block), at(everyone, block))
