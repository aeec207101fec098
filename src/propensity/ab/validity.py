"""Whether an experiment can be believed: sample ratio, balance of covariates, and outcomes of the time before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from propensity.ab.distribution import chi_square_p, fisher_p, normal_p
from propensity.ab.effect import difference
from propensity.ab.observational import doubly_robust
from propensity.ab.table import SUSPECT, Experiment


def stabilised(experiment: Experiment) -> np.ndarray:
    """(n,) weights: mean probability of the arm over the own probability, 1 where an arm has one probability."""
    weight = experiment.weight()
    for code in range(len(experiment.arms) + 1):
        rows = experiment.arm == code
        weight[rows] *= rows.sum() / weight[rows].sum()
    return weight


def sample_ratio(experiment: Experiment) -> tuple[float, str]:
    """p-value of the sizes of the arms against the design, and what the design was taken from.

    Notes
    -----
    Fabijan et al., KDD 2019 (sample ratio mismatch). With probabilities that vary within an arm, the sum of inverse
    probabilities of each arm is compared with the number of customers.
    """
    names = [experiment.control, *experiment.arms]
    count = np.bincount(experiment.arm, minlength=len(names)).astype(np.float64)
    shares, source = _designed(experiment, names)
    if shares is None:
        return _ratio_of_weights(experiment, len(names)), source
    expected = shares * count.sum()
    return chi_square_p(float(np.sum((count - expected) ** 2 / expected)), len(names) - 1), source


def _designed(experiment: Experiment, names: list[str]) -> tuple[np.ndarray | None, str]:
    if experiment.shares:
        return np.array([experiment.shares[name] for name in names]), "the designed shares"
    if experiment.probability is None:
        return np.full(len(names), 1.0 / len(names)), "equal shares, which are assumed"
    if experiment.unit is not None:
        return None, "the probabilities of the rows"
    by_arm = [experiment.probability[experiment.arm == code] for code in range(len(names))]
    if max(float(np.ptp(each)) for each in by_arm) > 1e-9:
        return None, "the probabilities of the rows"
    constant = np.array([each[0] for each in by_arm])
    return constant / constant.sum(), "the probabilities of the rows"


def _ratio_of_weights(experiment: Experiment, arms: int) -> float:
    """Bonferroni over arms of a z-test that the inverse probabilities of the arm sum to n."""
    assert experiment.probability is not None
    smallest = 1.0
    for code in range(arms):
        p = experiment.probability[experiment.arm == code]
        variance = float(np.sum((1.0 - p) / p**2))
        gap = float(np.sum(1.0 / p)) - len(experiment)
        if experiment.unit is not None:
            own = np.where(experiment.arm == code, 1.0 / experiment.probability, 0.0) - 1.0
            total = np.bincount(experiment.unit, weights=own)
            variance = float(total @ total)
        smallest = min(smallest, normal_p(gap / math.sqrt(variance)) if variance > 0 else float(abs(gap) < 0.5))
    return min(1.0, arms * smallest)


def balance(experiment: Experiment, weight: np.ndarray) -> tuple[dict[str, dict[str, float]], float]:
    """Standardised mean differences to the control by covariate and arm, and the p-value of all together.

    Returns
    -------
    dict
        Covariate -> arm -> difference in standard deviations of all customers.
    float
        Hotelling's T-squared test of each arm against the control, by Bonferroni over the arms; 1 without covariates.
    """
    table: dict[str, dict[str, float]] = {name: {} for name in experiment.names}
    smallest, control = 1.0, experiment.arm == 0
    for k, arm in enumerate(experiment.arms):
        treated = experiment.arm == k + 1
        gap, p = _hotelling(experiment.x, treated, control, weight, experiment.unit)
        smallest = min(smallest, p)
        for name, value in zip(experiment.names, gap, strict=True):
            table[name][arm] = float(value)
    return table, min(1.0, len(experiment.arms) * smallest)


def _hotelling(
    x: np.ndarray, treated: np.ndarray, control: np.ndarray, weight: np.ndarray, unit: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """Differences of means (C,), and their joint p-value."""
    gap, covariance = np.zeros(x.shape[1]), np.zeros((x.shape[1], x.shape[1]))
    share = np.zeros(x.shape if unit is not None else (0, 0))
    for mask, sign in ((treated, 1.0), (control, -1.0)):
        w = weight[mask] / weight[mask].sum()
        mean = w @ x[mask]
        scaled = (x[mask] - mean) * w[:, None]
        gap += sign * mean
        covariance += scaled.T @ scaled * (mask.sum() / (mask.sum() - 1))
        if unit is not None:
            share[mask] = sign * scaled
    independent = int(treated.sum() + control.sum())
    if unit is not None:
        places, code = np.unique(unit, return_inverse=True)
        total = np.zeros((places.size, x.shape[1]))
        np.add.at(total, code, share)
        independent = int(np.unique(unit[treated | control]).size)
        covariance = total.T @ total * (independent / max(independent - 1, 1))
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-10 * max(float(values.max(initial=0.0)), 1e-300)
    rank, freedom = int(kept.sum()), independent - 2
    below = freedom - rank + 1
    if rank == 0 or below < 1:
        return gap, 1.0
    statistic = float(np.sum((vectors[:, kept].T @ gap) ** 2 / values[kept]))
    return gap, fisher_p(statistic * below / (freedom * rank), rank, below)


def placebo(experiment: Experiment, weight: np.ndarray) -> dict[str, dict[str, Any]]:
    """Differences of the outcomes before the send, which no message can have changed: arm -> column -> cell."""
    return {
        arm: {name: _cell(experiment, y, treated, weight) for name, y in experiment.before.items()}
        for arm, treated in experiment.comparisons().items()
    }


def _cell(experiment: Experiment, y: np.ndarray, treated: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    effect = difference(y, treated, experiment.arm == 0, weight, experiment.unit)
    low, high = effect.interval()
    return {"effect": effect.effect, "low": low, "high": high, "p": effect.p}


def _beside_placebo(experiment: Experiment) -> str:
    """The doubly robust difference of outcomes after the send, and of the placebo before it."""
    if not experiment.before:
        return ""
    treated = experiment.arm > 0
    after, before = (
        ", ".join(f"{name} {doubly_robust(y, experiment.x, treated):+.4g}" for name, y in values.items())
        for values in (experiment.outcomes, experiment.before)
    )
    return f" (doubly robust differences after the send: {after}; placebo before the send: {before})"


def _worst(table: Mapping[str, Mapping[str, float]]) -> tuple[str, str, float]:
    """Covariate, arm and size of the largest standardised difference."""
    cells = [(name, arm, gap) for name, arms in table.items() for arm, gap in arms.items()]
    return max(cells, key=lambda each: abs(each[2]))


def refusal(
    experiment: Experiment,
    srm_p: float,
    source: str,
    table: Mapping[str, Mapping[str, float]],
    balance_p: float,
    before: dict[str, dict[str, Any]],
) -> str | None:
    """Why no effect can be known, or None."""
    if not experiment.drawn:
        return (
            f"nobody drew at random who got a message{_beside_placebo(experiment)}: no effect can be known; run an "
            "experiment with a random holdout (propensity ab split)"
        )
    certain = 0 if experiment.probability is None else int((experiment.probability >= 1.0).sum())
    if certain:
        return (
            f"{certain:,} customers had their arm with probability 1: where the log is deterministic nobody shows what "
            "another arm would have done; draw arms at random"
        )
    cells = [(arm, name, cell) for arm, each in before.items() for name, cell in each.items()]
    worst = min(cells, key=lambda each: each[2]["p"], default=None)
    shown = _beside_placebo(experiment)
    if srm_p < SUSPECT:
        way_out = (
            "; if the design was unequal give shares='{arm: share}'"
            if "assumed" in source
            else "; find the lost customers"
        )
        return f"the sizes of the arms do not fit {source} (p {srm_p:.2g}): a sample ratio mismatch{shown}{way_out}"
    if balance_p < SUSPECT:
        largest, arm, gap = _worst(table)
        return (
            f"the covariates differ between the arms (p {balance_p:.2g}; {largest} by {gap:+.2f} standard "
            f"deviations in {arm}), so the arms were not drawn at random{shown}; "
            "run an experiment with a random holdout"
        )
    if worst is not None and worst[2]["p"] * len(cells) < SUSPECT:
        return (
            f"{worst[1]} differed by {worst[2]['effect']:+.4g} between {worst[0]} and the control before the send "
            f"(p {worst[2]['p']:.2g}): the placebo shows that the arms were not alike; run an experiment with a random "
            "holdout"
        )
    return None
