"""Demand where a customer has at most one contact a day."""

import numpy as np
import pytest

from propensity.kernel.contact_cap import EDGE, Calendar
from propensity.kernel.daily_demand import is_daily
from propensity.kernel.plan import demand

CUSTOMERS, SLOTS, DAYS = 300, 12, 10


def calendar(random: np.random.Generator, week_cap: int, plain: bool) -> Calendar:
    day = np.sort(random.integers(0, DAYS, SLOTS))
    return Calendar(
        campaign=np.arange(SLOTS) if plain else random.integers(0, SLOTS, SLOTS),
        weight=np.ones(SLOTS) if plain else random.uniform(0.5, 1.5, SLOTS),
        start=np.searchsorted(day, np.arange(DAYS + 1)).astype(np.int64),
        week=(np.arange(-EDGE, DAYS + EDGE) + 70) // 7,
        clash=np.zeros((0, 0), bool),
        day_cap=1,
        week_cap=week_cap,
        rolling=False,
    )


@pytest.mark.parametrize("week_cap", [0, 1, 3, 7])
@pytest.mark.parametrize("tie_break", [0.0, 1e-3])
@pytest.mark.parametrize("levels", [True, False])
@pytest.mark.parametrize("promises", [True, False])
def test_the_kernel_of_one_contact_a_day_equals_the_general_one_to_the_last_bit(
    week_cap: int, tie_break: float, levels: bool, promises: bool
) -> None:
    random = np.random.default_rng(week_cap + 10 * levels)
    value = random.normal(0.3, 0.5, (CUSTOMERS, SLOTS)).astype(np.float32)
    value = np.round(value * 4) / np.float32(4) if levels else value
    value[random.random(value.shape) < 0.2] = -np.inf
    used = (random.random((CUSTOMERS if promises else 1, DAYS + 2 * EDGE)) < 0.1 * promises).astype(np.uint8)
    daily = calendar(random, week_cap, plain=promises)
    general = daily._replace(clash=np.zeros((SLOTS, SLOTS), bool))  # no two slots exclude each other
    assert is_daily(daily)
    assert not is_daily(general)
    price, bandwidth = random.uniform(0, 0.5, SLOTS), random.uniform(0.01, 0.3, SLOTS)
    results = []
    for each in (daily, general):
        load, slope = np.empty(SLOTS), np.empty((SLOTS + 1, SLOTS + 1))
        picks, regret = np.empty((CUSTOMERS, 14), np.int16), np.empty(CUSTOMERS)
        total = demand(value, used, each, price, bandwidth, load, slope, picks, regret, tie_break)
        results.append((total, load, slope, picks, regret))
    for own, other in zip(*results, strict=True):
        np.testing.assert_array_equal(own, other)
