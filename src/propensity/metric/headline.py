"""The one comparison a run is judged by: revenue lift against the strongest incumbent, and whether it could be seen.

A tie says that the models are alike as far as the data can tell; `underpowered` says that they cannot tell much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from propensity.metric.labels import Labels

METRIC, ROBUST = "revenue_lift", "revenue_lift_winsorised"
WORTH = 0.05  # of the way from a random mailing to perfect foresight: a smaller difference is not worth a test
HOLDERS = 50  # effective customers below which a few of them decide where the revenue lies
Cells = Mapping[str, Mapping[str, Any]]


def headline(
    ours: Cells, differences: Mapping[str, Mapping[str, Cells]], baseline: str, fraction: float, holders: float
) -> dict[str, Any]:
    """The verdict on mean revenue lift: the difference, the same of winsorised revenue, and how much could be seen.

    Args: ours, the reference's metrics of all pairs, mean over the cutoffs; differences to the incumbent, by cutoff and
    slice; fraction kept; holders, `effective_customers`.
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


def sign(value: float | None) -> str:
    """Which way a difference points at one cutoff: +, -, 0, or nothing where it is undefined."""
    return "" if value is None else "+" if value > 0 else "-" if value < 0 else "0"


def strongest(models: Mapping[str, Any], reference: str) -> str | None:
    """The rival with the best AUC, mean over the cutoffs; None without rivals. Without an AUC, the first one named."""
    auc = {name: cells["mean"]["all"]["auc"]["value"] for name, cells in models.items() if name != reference}
    return max(auc, key=lambda name: -1.0 if auc[name] is None else auc[name], default=None)


def effective_customers(all_labels: Sequence[Labels]) -> float:
    """How many customers with equal shares would concentrate the revenue as much as it is: (sum r)^2 / sum r^2.

    Revenue of all offers and cutoffs, by customer; 0 where nothing was sold. Source: Kish, Survey Sampling 1965.
    """
    customer = np.concatenate([labels.customer for labels in all_labels])
    revenue = np.concatenate([labels.revenue.sum(axis=1) for labels in all_labels])
    held = np.bincount(np.unique(customer, return_inverse=True)[1], weights=revenue)
    return float(held.sum() ** 2 / (held**2).sum()) if held.any() else 0.0


def _weaknesses(cell: Mapping[str, Any], room: float | None, holders: float) -> list[str]:
    """Why the data cannot tell much, as sentences without a full stop; nothing where they can."""
    if cell["value"] is None:
        return [cell["reason"]]
    found = []
    if cell["minimum_detectable_effect"] is None:
        found.append("there is no interval, because no customers were drawn again")
    elif room is not None and cell["minimum_detectable_effect"] > WORTH * room:
        best = f"{100 * WORTH:.0f} % of the way from a random mailing to perfect foresight is {WORTH * room:.2f}"
        found.append(f"a difference below {cell['minimum_detectable_effect']:.2f} would have gone unseen, and {best}")
    if holders < HOLDERS:
        found.append(f"revenue is as concentrated as if {holders:.0f} customers held it in equal shares")
    return found
