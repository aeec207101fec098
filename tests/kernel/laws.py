"""Laws that every kernel of customers obeys, and the arguments that the tests of kernels share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from propensity.data.event_log import EventLog
from random_log import BUSY, NOBODY, around_1970, around_events, random_log, random_offers, with_another_future

Compute = Callable[..., np.ndarray]  # from a log, offers, a cutoff and customers (B,), by default all, to (B, ...)


def visible(
    log: EventLog, customer: np.ndarray | None, mask_days: np.ndarray | None, mask_offer: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Customers (B,) with their masked days (B,) and offer (B,); by default everybody, and nothing is masked."""
    customer = np.arange(len(log)) if customer is None else customer
    mask_days = np.zeros(customer.size, np.int64) if mask_days is None else mask_days
    return customer, mask_days, np.full(customer.size, -1) if mask_offer is None else mask_offer


def unwritten(*shape: int) -> np.ndarray:
    """What a reused buffer may hold, float32."""
    return np.full(shape, 7.7, np.float32)


def assert_days_before_1970_are_like_any_other(compute: Compute, days: Iterable[int] = (100, 300)) -> None:
    """Moving the log changes nothing at cutoffs around 1970 and on further days."""
    log = random_log(3)
    old, shift = around_1970(log)
    offers = random_offers(3, log.items.height)
    for cutoff in (*range(-3, 4), *days):
        np.testing.assert_array_equal(compute(old, offers, cutoff), compute(log, offers, cutoff + shift))


def assert_the_future_does_not_matter(compute: Compute, seed: int, names: tuple[str, ...]) -> None:
    """Permuting the columns `names` at or after a cutoff changes nothing."""
    log = random_log(seed)
    offers, random = random_offers(seed, log.items.height), np.random.default_rng(seed)
    for cutoff in around_events(log, seed):
        altered = with_another_future(log, cutoff, random, names)
        np.testing.assert_array_equal(compute(altered, offers, cutoff), compute(log, offers, cutoff))


def assert_a_row_is_the_same_in_any_block(compute: Compute) -> None:
    """Other customers of a call change nothing."""
    log = random_log(8)
    offers, cutoff = random_offers(8, log.items.height), log.last_day - 20
    everyone = compute(log, offers, cutoff)
    for block in (np.array([BUSY]), np.array([NOBODY, BUSY, NOBODY]), np.random.default_rng(8).permutation(len(log))):
        np.testing.assert_array_equal(compute(log, offers, cutoff, block), everyone[block])
