"""Slices of the pairs of customer and offer, which may overlap, and a partition in which every pair has one cell."""

from __future__ import annotations

import numpy as np

from propensity.errors import DataError

NEW_DAYS = 90  # a customer or an offer is new until so many days after the first purchase
GROUPS = ("new customer", "dormant", "light", "regular")  # the first that fits
HISTORIES = ("never-bought", "lapsed", "repeat")
ITEMS = ("new offer", "known offer")
ANY = "any"
NO_PURCHASE = "no purchase yet"  # customers who have never bought anything; only where the model scores them
CELLS = tuple(f"{group} / {history} / {item}" for group in GROUPS for history in HISTORIES for item in ITEMS)
MARGINS = (
    *(f"{group} / {ANY} / {ANY}" for group in GROUPS),
    *(f"{ANY} / {history} / {ANY}" for history in HISTORIES),
    *(f"{ANY} / {ANY} / {item}" for item in ITEMS),
)


def slices(
    ever: np.ndarray, recent91: np.ndarray, live28: np.ndarray, orders: np.ndarray, customer: np.ndarray
) -> dict[str, np.ndarray]:
    """Masks (N,M) of the pairs in each slice, from what is known before the cutoff.

    Parameters
    ----------
    ever : array (N,M), bool
        Whether the customer has bought the offer.
    recent91 : array (N,M), bool
        Whether within the last 91 days.
    live28 : array (N,), bool
        Whether the customer has bought anything within the last 28 days.
    orders : array (N,)
        Distinct orders before the cutoff.
    customer : array (N,)
        Ids.

    Returns
    -------
    dict
        `all`; `never-bought` and `repeat` by `ever`; `lapsed`, bought but not recently; `dormant`, customers who are
        not live; `light`, the floor(N/2) customers with the fewest orders, ties by smaller id.

    Raises
    ------
    DataError
        If the shapes do not fit.
    """
    ever, recent91, live28 = (np.asarray(mask).astype(bool) for mask in (ever, recent91, live28))
    orders, customer = np.asarray(orders), np.asarray(customer)
    _check_shapes(ever, recent91, live28, orders, customer)
    light = np.zeros(customer.size, dtype=bool)
    light[np.lexsort((customer, orders))[: customer.size // 2]] = True
    everyone = np.ones_like(ever)
    return {
        "all": everyone,
        "never-bought": ~ever,
        "lapsed": ever & ~recent91,
        "repeat": ever.copy(),
        "dormant": everyone & ~live28[:, None],
        "light": everyone & light[:, None],
    }


def partition(
    tenure: np.ndarray, live28: np.ndarray, light: np.ndarray, ever: np.ndarray, recent91: np.ndarray, age: np.ndarray
) -> dict[str, np.ndarray]:
    """Masks (N,M) of `CELLS`, of which every pair is in exactly one, and of `MARGINS`, their unions along one axis.

    A customer is new (first purchase less than 90 days ago), else dormant (none in 28 days), else light, else regular.
    A pair is never-bought, lapsed (not in 91 days) or repeat. An offer is new for 90 days from its first sale.

    Parameters
    ----------
    tenure : array (N,)
        Days since the first purchase.
    live28, light : arrays (N,), bool
        See `slices`.
    ever, recent91 : arrays (N,M), bool
        See `slices`.
    age : array (M,)
        Days since the offer's first sale, NaN without one.

    Raises
    ------
    DataError
        If the shapes do not fit.
    """
    ever, recent91 = np.asarray(ever).astype(bool), np.asarray(recent91).astype(bool)
    _check_shapes(ever, recent91, np.asarray(live28), np.asarray(light), np.asarray(tenure))
    if np.shape(age) != (ever.shape[1],):
        raise DataError(f"age {np.shape(age)} must hold the {ever.shape[1]} offers of ever")
    group = np.select([np.asarray(tenure) < NEW_DAYS, ~np.asarray(live28), np.asarray(light)], [0, 1, 2], 3)[:, None]
    history = np.where(ever, np.where(recent91, 2, 1), 0)
    item = np.where(np.asarray(age) < NEW_DAYS, 0, 1)[None, :]
    axes = [(group, GROUPS), (history, HISTORIES), (item, ITEMS)]
    return {name: _inside(name, axes) for name in (*CELLS, *MARGINS)}


def _inside(name: str, axes: list[tuple[np.ndarray, tuple[str, ...]]]) -> np.ndarray:
    """The pairs whose position on each axis is the one in `name`."""
    inside = np.ones(axes[1][0].shape, dtype=bool)
    for word, (place, words) in zip(name.split(" / "), axes, strict=True):
        if word != ANY:
            inside &= place == words.index(word)
    return inside


def _check_shapes(
    ever: np.ndarray, recent91: np.ndarray, live28: np.ndarray, orders: np.ndarray, customer: np.ndarray
) -> None:
    if ever.ndim != 2 or ever.shape != recent91.shape:
        raise DataError(f"ever {ever.shape} and recent91 {recent91.shape} must both be customers x offers")
    lengths = live28.shape, orders.shape, customer.shape
    if set(lengths) != {(ever.shape[0],)}:
        raise DataError(f"live28, orders and customer {lengths} must each hold the {ever.shape[0]} customers of ever")
