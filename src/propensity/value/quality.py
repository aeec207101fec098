"""How good forecasts of value were, once a window has closed."""

from __future__ import annotations

from typing import Any

import numpy as np

DECILES = 10


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half; NaN without both classes.

    Examples
    --------
    >>> auc(np.array([True, False, True]), np.array([0.9, 0.5, 0.5]))
    0.75
    """
    ones = int(positive.sum())
    zeros = positive.size - ones
    if not ones or not zeros:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - 0.5 * (counts - 1)
    return float((rank[place.reshape(-1)][positive].sum() - ones * (ones + 1) / 2) / ones / zeros)


def normalised_gini(observed: np.ndarray, expected: np.ndarray) -> float:
    """Gini coefficient of observed amounts in the order of expected ones, over that in their own order.

    Examples
    --------
    >>> normalised_gini(np.array([0.0, 1.0, 5.0]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    if observed.sum() <= 0:
        return float("nan")
    own, best = (_gini(observed[np.argsort(-key, kind="stable")]) for key in (expected, observed))
    return own / best if best > 0 else float("nan")


def _gini(ordered: np.ndarray) -> float:
    return float((np.cumsum(ordered) / ordered.sum()).mean() - 0.5 * (1 + 1 / ordered.size))


def decile_error(observed: np.ndarray, expected: np.ndarray) -> float:
    """Mean absolute relative error of the totals of the deciles of the expectation; deciles without any are left out.

    Examples
    --------
    >>> decile_error(np.arange(1.0, 21.0), 1.1 * np.arange(1.0, 21.0)).__round__(3)
    0.1
    """
    parts = np.array_split(np.argsort(expected, kind="stable"), min(DECILES, observed.size))
    pairs = [(expected[part].sum(), observed[part].sum()) for part in parts]
    errors = [abs(e / o - 1) for e, o in pairs if o > 0]
    return float(np.mean(errors)) if errors else float("nan")


def deciles(expected: np.ndarray, observed: np.ndarray) -> list[dict[str, Any]]:
    """Expected and realised revenue of tenths of the customers, the highest expectation first: (N,) x 2.

    Examples
    --------
    >>> [row["realised_revenue"] for row in deciles(np.array([1.0, 2.0]), np.array([0.0, 5.0]))]
    [5.0, 0.0]
    """
    parts = np.array_split(np.argsort(-expected, kind="stable"), min(DECILES, observed.size))
    return [
        {
            "grouping": "decile",
            "name": str(k + 1),
            "customers": int(part.size),
            "expected_revenue": float(expected[part].sum()),
            "realised_revenue": float(observed[part].sum()),
        }
        for k, part in enumerate(parts)
    ]


def quality(
    expected: tuple[np.ndarray, np.ndarray, np.ndarray], orders: np.ndarray, revenue: np.ndarray
) -> dict[str, Any]:
    """Metrics of expected probability, orders and revenue against what followed, as plain numbers."""
    active, count, money = expected
    total = {"orders": (count.sum(), orders.sum()), "revenue": (money.sum(), revenue.sum()),
             "active": (active.sum(), (orders > 0).sum())}  # fmt: skip
    return {
        "auc_active": auc(orders > 0, active),
        "gini_revenue": normalised_gini(revenue, money),
        "rmse_orders": float(np.sqrt(np.mean((count - orders) ** 2))),
        "mae_orders": float(np.abs(count - orders).mean()),
        "rmse_revenue": float(np.sqrt(np.mean((money - revenue) ** 2))),
        "decile_error_revenue": decile_error(revenue, money),
        **{f"total_{name}": float(e / o - 1) if o > 0 else float("nan") for name, (e, o) in total.items()},
    }
