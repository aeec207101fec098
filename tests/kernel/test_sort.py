"""Rows are sorted stably by customer and day, and orders are numbered by first appearance."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.kernel.sort import by_customer_and_day, number_orders


@pytest.mark.parametrize("days", [1, 30, 1_000_000])
@pytest.mark.parametrize("rows", [0, 1, 5_000])
def test_rows_are_sorted_by_customer_and_day_and_keep_their_order(rows: int, days: int) -> None:
    random = np.random.default_rng(rows)
    customer = random.integers(0, 40, rows).astype(np.int32)
    day = random.integers(-days, days, rows).astype(np.int32)
    expected = np.lexsort((np.arange(rows), day, customer))
    np.testing.assert_array_equal(by_customer_and_day(customer, day, 40), expected)


@pytest.mark.parametrize("seed", range(5))
def test_orders_are_numbered_as_a_dictionary_would(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = np.array([0, 1, 200_000, 500, 0, 30])  # one customer outgrows the table that remembers orders
    offsets, rows = np.concatenate([[0], np.cumsum(count)]), int(count.sum())
    key, day = random.integers(-(2**62), 2**62, 300)[random.integers(0, 300, rows)], random.integers(0, 9, rows)
    key[random.random(rows) < 0.3] = 7  # an order's id may look like a day
    named, purchase = random.random(rows) < 0.7, random.random(rows) < 0.8
    expected = np.full(rows, -1)
    for start, end in zip(offsets[:-1], offsets[1:], strict=True):
        numbers: dict[tuple[bool, int, int], int] = {}
        for r in range(start, end):
            if purchase[r]:
                order = (bool(named[r]), int(key[r]) if named[r] else 0, int(day[r]))
                expected[r] = numbers.setdefault(order, len(numbers))
    number = number_orders(offsets, purchase, named, key, day.astype(np.int32))
    np.testing.assert_array_equal(number, expected)
