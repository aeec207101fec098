"""The headline comparison: revenue lift against the strongest baseline, and the power of that test.

The strongest baseline has the best revenue lift at the same cutoffs. The served model is chosen without these outcomes
and the baseline with them, so the choice can only make the comparison harder for the served model. A tie means that the
interval of the difference contains zero; `underpowered` that it is wide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from propensity.metric.labels import Labels

METRIC, ROBUST, RANKING = "revenue_lift", "revenue_lift_winsorised", "auc"
WORTH = 0.05  # share of the distance from a random ranking to the oracle that a test should detect
HOLDERS = 50  # effective customers below which a few of them decide the result
Cells = Mapping[str, Mapping[str, Any]]


def headline(
    ours: Cells, differences: Mapping[str, Mapping[str, Cells]], baseline: str, fraction: float, holders: float
) -> dict[str, Any]:
    """The verdict on mean revenue lift: the difference, the same of winsorised revenue, and the power of the test.

    Parameters
    ----------
    ours : mapping
        The reference model's metrics over all pairs, mean over the cutoffs.
    differences : mapping
        Differences to the baseline by cutoff, slice and metric.
    baseline : str
        Its name.
    fraction : float
        Share of customers kept.
    holders : float
        See `effective_customers`.
    """
    difference = differences["mean"]["all"]
    cell, ceiling = difference[METRIC], ours["revenue_capture_oracle"]["value"]
    weak = _weaknesses(cell, ceiling / fraction - 1.0 if ceiling is not None else None, holders)
    return {
        "metric": METRIC,
        "baseline": baseline,
        **cell,
        "signs": {day: sign(cells["all"][METRIC]["value"]) for day, cells in differences.items() if day != "mean"},
        "winsorised": difference[ROBUST],
        "underpowered": bool(weak),
        "weaknesses": weak,
        "effective_customers": holders,
    }


def served_model(metrics: Mapping[str, Any]) -> str:
    """The model of metrics.json whose scores are used: the reference, which all others are compared with.

    >>> served_model({"models": {"network": {}, "stack": {}}, "differences": {"network": {}}})
    'stack'
    """
    return next(name for name in metrics["models"] if name not in metrics["differences"])


def sign(value: float | None) -> str:
    """The sign of a difference: +, -, 0, or empty where it is undefined."""
    return "" if value is None else "+" if value > 0 else "-" if value < 0 else "0"


def strongest(models: Mapping[str, Any], names: Collection[str]) -> str | None:
    """The one of `names` with the best revenue lift, or the best AUC where none has a revenue lift; None without any.

    Both are means over the cutoffs and all pairs; equal models are taken in the order of `models`.
    """
    for metric in (METRIC, RANKING):
        values = {name: cells["mean"]["all"][metric]["value"] for name, cells in models.items() if name in names}
        known = {name: value for name, value in values.items() if value is not None}
        if known:
            return max(known, key=lambda name: known[name])
    return next((name for name in models if name in names), None)


def effective_customers(all_labels: Sequence[Labels]) -> float:
    """Number of customers with equal shares that would concentrate revenue as much: (sum r)^2 / sum r^2.

    Revenue of all offers and cutoffs by customer; 0 where nothing was sold. Source: Kish, Survey Sampling 1965.
    """
    customer = np.concatenate([labels.customer for labels in all_labels])
    revenue = np.concatenate([labels.revenue.sum(axis=1) for labels in all_labels])
    spent = np.bincount(np.unique(customer, return_inverse=True)[1], weights=revenue)
    return float(spent.sum() ** 2 / (spent**2).sum()) if spent.any() else 0.0


def _weaknesses(cell: Mapping[str, Any], room: float | None, holders: float) -> list[str]:
    """Why the test has little power, as sentences without a full stop; empty where it has enough."""
    if cell["value"] is None:
        return [cell["reason"]]
    reasons = []
    if cell["minimum_detectable_effect"] is None:
        reasons.append("there is no interval without resamples")
    elif room is not None and cell["minimum_detectable_effect"] > WORTH * room:
        effect = f"the minimum detectable effect is {cell['minimum_detectable_effect']:.2f}"
        reasons.append(f"{effect}, above {WORTH * room:.2f}: {100 * WORTH:.0f} % of the distance to the oracle")
    if holders < HOLDERS:
        reasons.append(f"revenue is as concentrated as if {holders:.0f} customers held it in equal shares")
    return reasons
