"""Slices: who is new, lapsed, repeat, dormant and light."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.errors import DataError
from propensity.metric.slice import slices

EVER = np.array([[1, 0], [1, 1], [0, 0], [1, 0], [0, 1]], bool)
RECENT = np.array([[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]], bool)
LIVE = np.array([True, True, False, False, True])
ORDERS = np.array([9, 3, 0, 3, 3])
CUSTOMER = np.array([10, 30, 50, 20, 40])


def test_a_market_of_five():
    made = slices(EVER, RECENT, LIVE, ORDERS, CUSTOMER)
    assert list(made) == ["all", "new", "lapsed", "repeat", "dormant", "light"]
    assert made["lapsed"].tolist() == [[0, 0], [1, 0], [0, 0], [1, 0], [0, 1]]
    assert made["dormant"][:, 0].tolist() == [0, 0, 1, 1, 0]
    assert made["light"][:, 0].tolist() == [0, 0, 1, 1, 0]  # two of five; at three orders, 20 is the smallest id


def test_new_and_repeat_part_the_pairs_and_lapsed_lies_in_repeat():
    made = slices(EVER, RECENT, LIVE, ORDERS, CUSTOMER)
    assert (made["new"] ^ made["repeat"]).all() and made["all"].all()
    assert not (made["lapsed"] & ~made["repeat"]).any()


def test_the_order_of_customers_does_not_matter():
    mixed = np.array([3, 1, 4, 0, 2])
    made = slices(EVER, RECENT, LIVE, ORDERS, CUSTOMER)
    again = slices(EVER[mixed], RECENT[mixed], LIVE[mixed], ORDERS[mixed], CUSTOMER[mixed])
    assert all((again[name] == made[name][mixed]).all() for name in made)


def test_ids_may_be_words():
    words = np.array(["j", "x", "z", "k", "y"])
    assert slices(EVER, RECENT, LIVE, ORDERS, words)["light"][:, 0].tolist() == [0, 0, 1, 1, 0]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"ever \(5, 2\) and recent91 \(5, 1\) must both be customers x offers"):
        slices(EVER, RECENT[:, :1], LIVE, ORDERS, CUSTOMER)
    with pytest.raises(DataError, match="must each hold the 5 customers of ever"):
        slices(EVER, RECENT, LIVE, ORDERS[:4], CUSTOMER)
