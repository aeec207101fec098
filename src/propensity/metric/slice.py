"""The customers and pairs a mean hides: new, lapsed, repeat, dormant and light."""

from __future__ import annotations

import numpy as np

from propensity.errors import DataError


def slices(
    ever: np.ndarray, recent91: np.ndarray, live28: np.ndarray, orders: np.ndarray, customer: np.ndarray
) -> dict[str, np.ndarray]:
    """Masks (N,M) of the pairs in each slice, all known before the cutoff.

    Args: ever (N,M) bool, bought the offer before; recent91 (N,M) bool, within the last 91 days; live28 (N,) bool,
    bought anything within the last 28 days; orders (N,), distinct orders before the cutoff; customer (N,) ids.
    Returns: `all`; `new` never bought the offer; `repeat` did; `lapsed` did, but not recently; `dormant` customers who
    are not live; `light` the floor(N/2) customers with fewest orders, ties by smaller id.
    Raises: DataError if the shapes do not fit.
    """
    ever, recent91, live28 = (np.asarray(mask).astype(bool) for mask in (ever, recent91, live28))
    orders, customer = np.asarray(orders), np.asarray(customer)
    _check_shapes(ever, recent91, live28, orders, customer)
    light = np.zeros(customer.size, dtype=bool)
    light[np.lexsort((customer, orders))[: customer.size // 2]] = True
    everyone = np.ones_like(ever)
    return {
        "all": everyone,
        "new": ~ever,
        "lapsed": ever & ~recent91,
        "repeat": ever.copy(),
        "dormant": everyone & ~live28[:, None],
        "light": everyone & light[:, None],
    }


def _check_shapes(
    ever: np.ndarray, recent91: np.ndarray, live28: np.ndarray, orders: np.ndarray, customer: np.ndarray
) -> None:
    if ever.ndim != 2 or ever.shape != recent91.shape:
        raise DataError(f"ever {ever.shape} and recent91 {recent91.shape} must both be customers x offers")
    lengths = live28.shape, orders.shape, customer.shape
    if set(lengths) != {(ever.shape[0],)}:
        raise DataError(f"live28, orders and customer {lengths} must each hold the {ever.shape[0]} customers of ever")
