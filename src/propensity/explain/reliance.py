"""What a model relies on: mean absolute contributions of groups of columns, over customers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from propensity.explain.opened import OpenedCutoff
from propensity.explain.reasons import SENTENCES, Reasons
from propensity.explain.section import KINDS
from propensity.feature.reason import REASONS

CUSTOMERS = 100
RESAMPLES = 500


def reliance(opened: OpenedCutoff, customers: int = CUSTOMERS, seed: int = 17) -> dict[str, Any]:
    """Measure what the scores of a cutoff rely on.

    Parameters
    ----------
    opened : OpenedCutoff
        The model at a cutoff.
    customers : int
        Customers to explain at most, drawn at random. Of each, two offers: one drawn at random, and the one with the
        highest score.
    seed : int
        Of the draws and of the bootstrap.

    Returns
    -------
    dict
        Serialisable as JSON. `groups`: for each reason its mean absolute contribution to the log-odds with a 95 %
        interval from a bootstrap over customers, of `any` and of the `best` offer. `carried`: median share of the sum
        of absolute contributions in the five largest ones.
    """
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(opened.rows, min(customers, opened.rows.size), replace=False))
    pairs = [explained_pairs(opened, int(row), random) for row in rows]
    by_kind = {kind: [each[place] for each in pairs] for place, kind in enumerate(KINDS)}
    weights = random.multinomial(rows.size, np.full(rows.size, 1 / rows.size), RESAMPLES) / rows.size
    tables = {kind: contributions(reasons) for kind, reasons in by_kind.items()}
    groups = [
        {"name": name, "title": group.title, "meaning": group.meaning}
        | {kind: cell(tables[kind][:, place], weights) for kind in KINDS}
        for place, (name, group) in enumerate(REASONS.items())
    ]
    return {
        "cutoff": str(opened.explainer.market_stats.cutoff),
        "customers": int(rows.size),
        "unit": "log-odds",
        "sentences": SENTENCES,
        "base_value": by_kind["any"][0].base_value,
        "carried": {kind: median_carried(reasons) for kind, reasons in by_kind.items()},
        "groups": groups,
    }


def explained_pairs(opened: OpenedCutoff, row: int, random: np.random.Generator) -> tuple[Reasons, Reasons]:
    """Reasons of a random offer of a customer, and of the one with the highest score."""
    inputs, explain = opened.inputs(row), opened.explainer.explain
    offer = int(random.integers(len(opened.explainer.features.offers)))
    best = int(np.argmax(opened.explainer.log_odds(inputs)[0]))
    return explain(inputs, 0, offer), explain(inputs, 0, best)


def contributions(reasons: Sequence[Reasons]) -> np.ndarray:
    """Absolute contributions of all groups: (N, groups)."""
    return np.array([[abs(each.contribution.get(name, 0.0)) for name in REASONS] for each in reasons])


def cell(values: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Mean of (N,) values and its 95 % interval over resamples (R, N)."""
    low, high = np.quantile(weights @ values, [0.025, 0.975])
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}


def median_carried(reasons: Sequence[Reasons]) -> float:
    """Median share that the five largest reasons carry."""
    return float(np.median([each.carried(SENTENCES) for each in reasons]))
