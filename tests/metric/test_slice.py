"""Slices: who is new, lapsed, repeat, dormant and light."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.errors import DataError
from propensity.metric.slice import CELLS, GROUPS, MARGINS, partition, slices

EVER = np.array([[1, 0], [1, 1], [0, 0], [1, 0], [0, 1]], bool)
RECENT = np.array([[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]], bool)
LIVE = np.array([True, True, False, False, True])
ORDERS = np.array([9, 3, 0, 3, 3])
CUSTOMER = np.array([10, 30, 50, 20, 40])


def test_a_market_of_five():
    result = slices(EVER, RECENT, LIVE, ORDERS, CUSTOMER)
    assert list(result) == ["all", "never-bought", "lapsed", "repeat", "dormant", "light"]
    assert result["lapsed"].tolist() == [[0, 0], [1, 0], [0, 0], [1, 0], [0, 1]]
    assert result["dormant"][:, 0].tolist() == [0, 0, 1, 1, 0]
    assert result["light"][:, 0].tolist() == [0, 0, 1, 1, 0]  # two of five; at three orders, 20 is the smallest id


def test_new_and_repeat_part_the_pairs_and_lapsed_lies_in_repeat():
    result = slices(EVER, RECENT, LIVE, ORDERS, CUSTOMER)
    assert (result["never-bought"] ^ result["repeat"]).all() and result["all"].all()
    assert not (result["lapsed"] & ~result["repeat"]).any()


def test_the_order_of_customers_does_not_matter():
    mixed = np.array([3, 1, 4, 0, 2])
    result = slices(EVER, RECENT, LIVE, ORDERS, CUSTOMER)
    again = slices(EVER[mixed], RECENT[mixed], LIVE[mixed], ORDERS[mixed], CUSTOMER[mixed])
    assert all((again[name] == result[name][mixed]).all() for name in result)


def test_ids_may_be_words():
    words = np.array(["j", "x", "z", "k", "y"])
    assert slices(EVER, RECENT, LIVE, ORDERS, words)["light"][:, 0].tolist() == [0, 0, 1, 1, 0]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"ever \(5, 2\) and recent91 \(5, 1\) must both be customers x offers"):
        slices(EVER, RECENT[:, :1], LIVE, ORDERS, CUSTOMER)
    with pytest.raises(DataError, match="must each hold the 5 customers of ever"):
        slices(EVER, RECENT, LIVE, ORDERS[:4], CUSTOMER)


TENURE = np.array([89.0, 400.0, 30.0, 90.0, 91.0])
LIGHT = np.array([False, True, True, True, False])
AGE = np.array([89.0, np.nan])


def parted(rows=slice(None)):
    return partition(TENURE[rows], LIVE[rows], LIGHT[rows], EVER[rows], RECENT[rows], AGE)


def test_every_pair_has_exactly_one_place():
    result = parted()
    assert list(result) == [*CELLS, *MARGINS] and len(CELLS) == 24
    assert (sum(result[name].astype(int) for name in CELLS) == 1).all()


def test_the_first_group_that_fits_is_a_customer_s_own():
    result = parted()
    where = {group: np.flatnonzero(result[f"{group} / any / any"].all(axis=1)).tolist() for group in GROUPS}
    assert where == {"new customer": [0, 2], "dormant": [3], "light": [1], "regular": [4]}


def test_cells_hold_what_their_names_say():
    result = parted()
    assert np.argwhere(result["new customer / repeat / new offer"]).tolist() == [[0, 0]]
    assert np.argwhere(result["light / lapsed / new offer"]).tolist() == [[1, 0]]
    assert np.argwhere(result["regular / lapsed / known offer"]).tolist() == [[4, 1]]


def test_a_margin_is_the_sum_of_its_cells():
    result = parted()
    for name in MARGINS:
        words = {word for word in name.split(" / ") if word != "any"}
        cells = [result[cell] for cell in CELLS if words <= set(cell.split(" / "))]
        np.testing.assert_array_equal(result[name], np.any(cells, axis=0))


def test_the_partition_does_not_depend_on_the_order_of_customers():
    mixed = np.array([3, 1, 4, 0, 2])
    result, again = parted(), parted(mixed)
    assert all((again[name] == result[name][mixed]).all() for name in result)


def test_a_partition_of_shapes_that_do_not_fit_is_refused():
    with pytest.raises(DataError, match=r"age \(3,\) must hold the 2 offers of ever"):
        partition(TENURE, LIVE, LIGHT, EVER, RECENT, np.zeros(3))
    with pytest.raises(DataError, match="must each hold the 5 customers of ever"):
        partition(TENURE[:4], LIVE, LIGHT, EVER, RECENT, AGE)
