"""Laws of the history kernel: the last events of each customer before a cutoff."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.ingest.build import build_log
from propensity.kernel.event import fixed
from propensity.kernel.history import last_events
from propensity.kernel.reference import last_events_reference
from random_log import (
    BUSY,
    NOBODY,
    ONCE,
    around_events,
    columns,
    cut,
    membership,
    random_log,
    random_offers,
    random_tables,
)

WIDTH = 24


def events(
    log: EventLog, offers: Offers, cutoff: int, customer=None, mask_days=None, mask_offer=None, width: int = WIDTH
) -> tuple[np.ndarray, ...]:
    """item, kind, channel, age, amount, length."""
    customer = np.arange(len(log)) if customer is None else customer
    mask_days = np.zeros(customer.size, np.int64) if mask_days is None else mask_days
    mask_offer = np.full(customer.size, -1) if mask_offer is None else mask_offer
    kinds = (np.int32, np.int32, np.int32, np.float32, np.float32)  # of a reused buffer that holds something
    token, *others = (np.full((customer.size, width), 7, kind) for kind in kinds)
    out = (np.stack([token, token], axis=2), *others, np.full(customer.size, 7))
    item_code, channel_code = codes(log)
    last_events(log.events, offers.sets, customer, cutoff, mask_days, mask_offer, item_code, channel_code, out)
    np.testing.assert_array_equal(out[0][:, :, 1], item_code[out[0][:, :, 0], 1])
    return (out[0][:, :, 0], *out[1:])


def codes(log: EventLog) -> tuple[np.ndarray, np.ndarray]:
    """Items under their own number and another code, channels under their own number."""
    items, channels = (np.append(np.arange(size), -1) for size in (log.items.height, len(log.meta["channels"])))
    return fixed(np.stack([items, 3 * items + 5], axis=1).astype(np.int32)), fixed(channels.astype(np.int32))


def assert_same(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("seed", range(10))
def test_the_kernel_equals_its_definition(seed):
    log = random_log(seed)
    offers, random = random_offers(seed, log.items.height), np.random.default_rng(seed)
    customer = random.permutation(len(log))
    mask_days = random.choice([0, 0, 1, 30, 100_000], customer.size)
    mask_offer = random.integers(-1, len(offers), customer.size)
    for cutoff in around_events(log, seed):
        want = last_events_reference(columns(log), membership(offers), customer, cutoff, mask_days, mask_offer, WIDTH)
        assert_same(events(log, offers, cutoff, customer, mask_days, mask_offer), want)


def test_a_long_past_fills_the_width_and_none_leaves_it_empty():
    log = random_log(2)
    offers = random_offers(2, log.items.height)
    item, *_, age, _, length = events(log, offers, log.last_day + 1)
    assert (length[[NOBODY, ONCE, BUSY]] == [0, 1, WIDTH]).all()
    real = np.arange(WIDTH) < length[:, None]
    assert (age[real] >= 1).all() and (age[~real] == 0).all() and (item[~real] == -1).all()
    assert (np.diff(age[BUSY]) <= 0).all()  # oldest first


def test_a_narrow_history_is_the_end_of_a_wide_one():
    log = random_log(3)
    offers = random_offers(3, log.items.height)
    wide, narrow = (events(log, offers, log.last_day - 50, width=width) for width in (200, 9))
    for n in range(len(log)):
        kept = min(wide[-1][n], 9)
        assert narrow[-1][n] == kept
        for one, other in zip(narrow[:-1], wide[:-1], strict=True):
            np.testing.assert_array_equal(one[n, :kept], other[n, wide[-1][n] - kept : wide[-1][n]])


@pytest.mark.parametrize("seed", range(4))
def test_nothing_at_or_after_the_cutoff_matters(seed):
    log = random_log(seed)
    offers, random = random_offers(seed, log.items.height), np.random.default_rng(seed)
    for cutoff in around_events(log, seed):
        later = np.flatnonzero(log.day >= cutoff)
        changed = {name: values.copy() for name, values in columns(log).items()}
        for name in ("item", "kind", "channel", "revenue"):
            changed[name][later] = changed[name][random.permutation(later)]
        altered = EventLog(**(vars(log) | changed))
        assert_same(events(altered, offers, cutoff), events(log, offers, cutoff))


@pytest.mark.parametrize("days", [1, 28, 90])
def test_masking_days_equals_a_log_that_ends_so_many_days_before_the_cutoff(days):
    tables = random_tables(5)
    log, cutoff = build_log(tables), build_log(tables).last_day + 1
    offers, mask_days = random_offers(5, log.items.height), np.full(len(log), days)
    have = events(log, offers, cutoff, mask_days=mask_days)
    assert_same(have, events(build_log(cut(tables, cutoff - days)), offers, cutoff))
    early = events(log, offers, cutoff - days)  # an earlier cutoff sees the same, so many days younger
    real = np.arange(WIDTH) < have[-1][:, None]
    assert_same((*have[:3], have[3] - days * real, *have[4:]), early)


@pytest.mark.parametrize("seed", range(3))
def test_masking_an_offer_equals_a_customer_who_never_met_its_items(seed):
    """An item that is also in other offers is gone with it: the history names items, not offers."""
    log = random_log(seed)
    offers, cutoff = random_offers(seed, log.items.height), log.last_day + 1
    belongs = membership(offers)
    for offer in range(len(offers)):
        kept = ~((log.item >= 0) & belongs[log.item, offer])
        owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
        counts = np.bincount(owner[kept], minlength=len(log))
        short = {name: values[kept] for name, values in columns(log).items() if name != "offsets"}
        without = EventLog(**(vars(log) | short | {"offsets": np.concatenate([[0], np.cumsum(counts)])}))
        have = events(log, offers, cutoff, mask_offer=np.full(len(log), offer))
        assert_same(have, events(without, offers, cutoff))


def test_a_customer_has_the_same_row_in_any_block():
    log = random_log(8)
    offers, cutoff = random_offers(8, log.items.height), log.last_day - 20
    everyone = events(log, offers, cutoff)
    for block in (np.array([BUSY]), np.array([NOBODY, BUSY, NOBODY]), np.random.default_rng(8).permutation(len(log))):
        assert_same(events(log, offers, cutoff, block), tuple(column[block] for column in everyone))
