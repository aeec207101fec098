"""The value of policies from a randomised log: every arm for everybody, and the best arm by a learned rule.

Source: Horvitz and Thompson, JASA 1952 (IPS); Swaminathan and Joachims, NeurIPS 2015 (SNIPS); Dudík et al., ICML 2011
(DR).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.ab.distribution import normal_p, normal_quantile
from propensity.ab.effect import ALPHA, adjusted_difference, difference, error_of_sum, holm
from propensity.ab.learner import folds_of, regressor
from propensity.ab.table import Experiment
from propensity.ab.validity import balance, placebo, refusal, sample_ratio, stabilised
from propensity.errors import ConfigurationError

FEWEST = 200.0  # effective customers of a policy below which its value is not stated
LEARNED = "learned"
PLACEBO_P = 0.05


@dataclass(frozen=True)
class PolicyRules:
    """What a contact costs, and how the learned policy is fitted.

    Parameters
    ----------
    cost : mapping of str to float
        Cost of each arm for a customer, in the unit of the outcome; arms that are not named cost nothing.
    regressor : str
        ridge, gcv, ard, lightgbm, or blend, the mean of ridge and lightgbm.
    folds, seed : int
        Folds of the cross-fit, and their seed.
    """

    cost: Mapping[str, float] = field(default_factory=dict)
    regressor: str = "ridge"
    folds: int = 5
    seed: int = 17
    alpha: float = ALPHA


class Value(NamedTuple):
    """Estimates of a policy's mean outcome per customer, and the doubly robust scores (n,) they come from."""

    ips: float
    snips: float
    dr: float
    error: float
    effective: float
    overlap: float
    score: np.ndarray


def value_of(
    y: np.ndarray,
    chosen: np.ndarray,
    p: np.ndarray,
    own: np.ndarray,
    predicted: np.ndarray,
    unit: np.ndarray | None = None,
) -> Value:
    """Value of a policy.

    Parameters
    ----------
    y, p : np.ndarray
        (n,) outcomes, and probabilities of the arms that were drawn.
    chosen : np.ndarray
        (n,) bool: the policy chooses the arm that was drawn.
    own, predicted : np.ndarray
        (n,) predicted outcome under the drawn arm, and under the arm that the policy chooses.
    unit : np.ndarray, optional
        (n,) customer of each row, where customers have several.

    Returns
    -------
    Value
        `effective` is (sum w)^2 / sum w^2 of the inverse probabilities (Kish); `overlap` the share of customers whose
        arm the policy would have chosen; `error` the standard error of `snips`.
    """
    weight = np.where(chosen, 1.0 / p, 0.0)
    total, n = float(weight.sum()), y.size
    if total <= 0:
        return Value(math.nan, math.nan, math.nan, math.nan, 0.0, 0.0, np.full(n, math.nan))
    snips = float(weight @ y) / total
    score = predicted + weight * (y - own)
    error = error_of_sum(weight * (y - snips), unit) / total
    effective = total**2 / float(weight @ weight)
    return Value(float(weight @ y) / n, snips, float(score.mean()), error, effective, float(chosen.mean()), score)


def policy_values(experiment: Experiment, rules: PolicyRules) -> tuple[dict[str, Any], pl.DataFrame]:
    """The value of each policy for each outcome, and what to send.

    Returns
    -------
    dict
        `outcomes`: outcome -> `policies` (name -> value, interval and estimates) and `recommendation`;
        `recommendation` of the last outcome named; `refused`; `sentences`.
    pl.DataFrame
        customer, outcome, and the arm that the learned policy chooses.

    Notes
    -----
    The learned policy is the best arm by a cross-fitted T-learner. It is recommended only where its doubly robust
    value exceeds that of the best single arm, in pairs, with an interval above 0: what is simple is preferred.
    """
    _require_costs(experiment, rules)
    weight = stabilised(experiment)
    srm_p, source = sample_ratio(experiment)
    (table, balance_p), before = balance(experiment, weight), placebo(experiment, weight)
    refused = refusal(experiment, srm_p, source, table, balance_p, before) or placebo_refusal(experiment, weight)
    result: dict[str, Any] = {
        "srm_p": srm_p,
        "balance": table,
        "balance_p": balance_p,
        "placebo": before,
        "refused": refused,
        "notes": list(experiment.notes),
        "outcomes": {},
        "recommendation": None,
        "sentences": [],
    }
    tables = []
    for name in experiment.outcomes if refused is None else ():
        part, choice = _outcome(experiment, name, rules)
        result["outcomes"][name] = part
        result["recommendation"] = part["recommendation"]
        result["sentences"] += [f"{name}: {sentence}" for sentence in part["sentences"]]
        tables.append(pl.DataFrame({"customer": experiment.customer, "arm": choice}).with_columns(outcome=pl.lit(name)))
        if part["refused"]:
            result["refused"], result["recommendation"] = part["refused"], None
    if result["refused"]:
        result["sentences"] = [result["refused"]]
    return result, pl.concat(tables) if tables else pl.DataFrame()


def _require_costs(experiment: Experiment, rules: PolicyRules) -> None:
    names = [experiment.control, *experiment.arms]
    for arm, cost in rules.cost.items():
        if arm not in names:
            raise ConfigurationError(f"cost names the arm {arm!r}, the table has {', '.join(names)}; name one of these")
        if not (math.isfinite(float(cost)) and float(cost) >= 0):
            raise ConfigurationError(f"the cost of {arm!r} is {cost}; a cost is at least 0")


def placebo_refusal(experiment: Experiment, weight: np.ndarray) -> str | None:
    """The reason where an outcome before the send differs more than the outcome after it, or None."""
    control = experiment.arm == 0
    for k, arm in enumerate(experiment.arms):
        treated = experiment.arm == k + 1
        for before, earlier in experiment.before.items():
            for name, y in experiment.outcomes.items():
                sham, effect = (
                    adjusted_difference(each, experiment.x, treated, control, weight)
                    or difference(each, treated, control, weight)
                    for each in (earlier, y)
                )
                if abs(sham.effect) > abs(effect.effect) and sham.p < PLACEBO_P:
                    return (
                        f"the placebo {before} differs by {sham.effect:+.4g} between {arm} and the control, more than "
                        f"{name} after the send ({effect.effect:+.4g}); run an experiment with a random holdout"
                    )
    return None


def _outcome(experiment: Experiment, name: str, rules: PolicyRules) -> tuple[dict[str, Any], list[str]]:
    """All policies on one outcome."""
    names = [experiment.control, *experiment.arms]
    cost = np.array([float(rules.cost.get(name, 0.0)) for name in names])
    y, (base, amount) = experiment.outcomes[name], experiment.multiple.get(name, (name, None))
    net, p = y - cost[experiment.arm], _probability(experiment, len(names))
    predicted = predicted_outcomes(experiment, experiment.outcomes[base], rules)
    predicted = (predicted if amount is None else predicted * amount[:, None]) - cost
    own = predicted[np.arange(y.size), experiment.arm]
    best = predicted.argmax(axis=1)
    values = {
        name: value_of(net, experiment.arm == code, p, own, predicted[:, code], experiment.unit)
        for code, name in enumerate(names)
    }
    values[LEARNED if LEARNED not in names else "learned policy"] = value_of(
        net, experiment.arm == best, p, own, predicted[np.arange(y.size), best], experiment.unit
    )
    enough = {name: value for name, value in values.items() if value.effective >= FEWEST}
    part: dict[str, Any] = {
        "policies": {name: _stated(each, experiment, rules) for name, each in values.items()},
        "refused": None,
    }
    if experiment.control not in enough or len(enough) < 2:
        low = min(values, key=lambda name: values[name].effective)
        part["refused"] = (
            f"the effective sample of {low!r} is {values[low].effective:.0f} customers, below {FEWEST:.0f}: its value "
            "cannot be known; draw more customers at random"
        )
        part |= {"recommendation": None, "sentences": [part["refused"]]}
    else:
        part |= _recommended(enough, experiment, rules)
    return part, [names[code] for code in best]


def _probability(experiment: Experiment, arms: int) -> np.ndarray:
    """Probability of the own arm; the share of the arm where it is not known."""
    if experiment.probability is not None:
        return experiment.probability
    return (np.bincount(experiment.arm, minlength=arms) / len(experiment))[experiment.arm]


def predicted_outcomes(experiment: Experiment, y: np.ndarray, rules: PolicyRules) -> np.ndarray:
    """Cross-fitted outcome of each customer under each arm: (n, arms), in the order control, arms."""
    order = np.argsort(experiment.customer, kind="stable")
    fold = folds_of(experiment.customer, experiment.unit, rules.folds, rules.seed)
    fit, predicted = regressor(rules.regressor, rules.seed), np.empty((y.size, len(experiment.arms) + 1))
    for k in range(rules.folds):
        rows = np.flatnonzero(fold == k)
        for code in range(predicted.shape[1]):
            train = order[(fold[order] != k) & (experiment.arm[order] == code)]
            weight = experiment.weight()[train]
            predicted[rows, code] = fit(experiment.x[train], y[train], weight / weight.mean())(experiment.x[rows])
    return predicted


def _stated(value: Value, experiment: Experiment, rules: PolicyRules) -> dict[str, Any]:
    """A value as JSON; none where the effective sample is too small."""
    cell: dict[str, Any] = {"effective_sample": value.effective, "overlap": value.overlap}
    if value.effective < FEWEST:
        reason = f"effective sample {value.effective:.0f}, below {FEWEST:.0f}"
        return (
            cell
            | dict.fromkeys(("value", "low", "high", "ips", "snips", "dr", "dr_low", "dr_high"))
            | {"refused": reason}
        )
    half = normal_quantile(1 - rules.alpha / 2)
    dr_error = _mean_and_error(value.score, experiment)[1]
    return cell | {
        "value": value.snips,
        "low": value.snips - half * value.error,
        "high": value.snips + half * value.error,
        "ips": value.ips,
        "snips": value.snips,
        "dr": value.dr,
        "dr_low": value.dr - half * dr_error,
        "dr_high": value.dr + half * dr_error,
        "refused": None,
    }


def _recommended(values: Mapping[str, Value], experiment: Experiment, rules: PolicyRules) -> dict[str, Any]:
    """What to send, and why."""
    arms = [name for name in experiment.arms if name in values]
    gains = {name: _gain(values[name], values[experiment.control], experiment) for name in arms}
    adjusted = holm({name: gain[2] for name, gain in gains.items()})
    worth = [name for name in arms if gains[name][0] > 0 and adjusted[name] <= rules.alpha]
    best = max(worth, key=lambda name: values[name].snips, default=experiment.control)
    learned = next((name for name in values if name not in (experiment.control, *experiment.arms)), None)
    part: dict[str, Any] = {"gain": {}, "best_arm": best}
    if learned is not None:
        gain, error, _ = _gain(values[learned], values[best], experiment)
        half = normal_quantile(1 - rules.alpha / 2) * error
        part["gain"] = {"over": best, "effect": gain, "low": gain - half, "high": gain + half}
        if gain - half > 0:
            text = f"send to each customer the arm of the {learned} policy"
            interval = f"[{gain - half:.4g}, {gain + half:.4g}]"
            why = f"it is worth {gain:+.4g} {interval} per customer more than {best} for everybody"
            return part | {"recommendation": text, "sentences": [f"{text}: {why}"]}
    if best == experiment.control:
        text, why = f"send {best} to everybody", "no effect of another arm could be seen"
    else:
        text, gain = f"send {best} to everybody", gains[best][0]
        why = f"{gain:+.4g} per customer over {experiment.control}"
    if learned is not None:
        why += f"; the {learned} policy is not better ({values[learned].snips:.4g} against {values[best].snips:.4g})"
    return part | {"recommendation": text, "sentences": [f"{text}: {why}"]}


def _gain(one: Value, two: Value, experiment: Experiment) -> tuple[float, float, float]:
    """Paired doubly robust difference, its standard error and p-value."""
    gap, error = _mean_and_error(one.score - two.score, experiment)
    return gap, error, normal_p(gap / error) if error > 0 else 1.0


def _mean_and_error(score: np.ndarray, experiment: Experiment) -> tuple[float, float]:
    """Mean of scores (n,) and its standard error."""
    mean = float(score.mean())
    count = score.size if experiment.unit is None else int(np.unique(experiment.unit).size)
    correction = math.sqrt(count / max(count - 1, 1))
    return mean, error_of_sum(score - mean, experiment.unit) / score.size * correction
