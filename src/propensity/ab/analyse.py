"""The analysis of an experiment: checks, effects of every arm on every outcome, and a verdict on each."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from propensity.ab.effect import (
    ALPHA,
    POWER,
    Effect,
    adjusted_difference,
    difference,
    holm,
    is_binary,
    winsorised,
)
from propensity.ab.factorial import factorial, factorial_sentences
from propensity.ab.sequential import AlwaysValid, always_valid
from propensity.ab.table import Experiment
from propensity.ab.validity import balance, placebo, refusal, sample_ratio, stabilised

PLANNED = 10_000  # customers where an always-valid interval is narrowest, if no end was planned
WIN, LOSS, TIE, UNDERPOWERED = "win", "loss", "tie", "underpowered"


@dataclass(frozen=True)
class Rules:
    """How an effect becomes a verdict.

    Parameters
    ----------
    alpha, power : float
        Probability of any false claim, and of finding an effect as large as the minimum detectable effect.
    relevant : float
        Smallest effect that matters, as a share of the control's mean: a test that would have missed it is
        underpowered.
    planned : int, optional
        Customers at the planned end of an experiment that is looked at before; all its intervals hold at every look.
    lower_is_better : collection of str
        Outcomes such as unsubscribes.
    """

    alpha: float = ALPHA
    power: float = POWER
    relevant: float = 0.1
    planned: int | None = None
    lower_is_better: Collection[str] = field(default_factory=tuple)


def analyse(experiment: Experiment, rules: Rules) -> dict[str, Any]:
    """Effects of all arms on all outcomes.

    Parameters
    ----------
    experiment : Experiment
        A checked table.
    rules : Rules
        Levels of the tests.

    Returns
    -------
    dict
        `customers`, `control`, `srm_p`, `balance`, `balance_p`, `placebo`, `notes`, `refused` (None or the reason) and
        `arms`: arm -> outcome -> `{effect, low, high, p, p_adjusted, mde, verdict, ...}`, empty where refused;
        `factorial`, where the arms are cells of factors, see `propensity.ab.factorial.factorial`.

    Notes
    -----
    p-values are adjusted by Holm's method over arms and outcomes; all treatments together (`any`) are a family of their
    own over the outcomes.
    """
    weight = stabilised(experiment)
    srm_p, source = sample_ratio(experiment)
    table, balance_p = balance(experiment, weight)
    before = placebo(experiment, weight)
    refused = refusal(experiment, srm_p, source, table, balance_p, before)
    early = rules.planned is not None  # the planned end is a look too
    result: dict[str, Any] = {
        "customers": sizes(experiment),
        "control": experiment.control,
        "srm_p": srm_p,
        "srm_against": source,
        "balance": table,
        "balance_p": balance_p,
        "placebo": before,
        "early": early,
        "alpha": rules.alpha,
        "power": rules.power,
        "refused": refused,
        "notes": list(experiment.notes),
        "arms": {},
    }
    if refused is None:
        result["arms"] = _judged(experiment, weight, rules, early)
        if (cells := factorial(experiment, weight, rules.alpha)) is not None:
            result["factorial"] = cells
    result["sentences"] = [refused] if refused else sentences(result) + factorial_sentences(result.get("factorial", {}))
    return result


def sizes(experiment: Experiment) -> dict[str, int]:
    """Customers by arm, the control first."""
    count = np.bincount(experiment.arm, minlength=len(experiment.arms) + 1)
    return dict(zip([experiment.control, *experiment.arms], map(int, count), strict=True))


def _judged(experiment: Experiment, weight: np.ndarray, rules: Rules, early: bool) -> dict[str, dict[str, Any]]:
    """Cells of all arms and outcomes with adjusted p-values and verdicts."""
    arms = {
        arm: {name: _cell(experiment, y, treated, weight, rules, early) for name, y in experiment.outcomes.items()}
        for arm, treated in experiment.comparisons().items()
    }
    for family in (experiment.arms, [arm for arm in arms if arm not in experiment.arms]):
        keys = {f"{arm}\0{name}": (arm, name) for arm in family for name in arms[arm]}
        raw = {key: arms[arm][name]["p"] for key, (arm, name) in keys.items()}
        for key, adjusted in holm(raw).items():
            arm, name = keys[key]
            cell = arms[arm][name]
            cell["p_adjusted"] = adjusted
            cell["verdict"] = verdict(cell, rules, name in rules.lower_is_better)
    return arms


def _cell(
    experiment: Experiment, y: np.ndarray, treated: np.ndarray, weight: np.ndarray, rules: Rules, early: bool
) -> dict[str, Any]:
    """One effect: raw, adjusted, winsorised and always valid."""
    control = experiment.arm == 0
    raw = difference(y, treated, control, weight, experiment.unit)
    adjusted = adjusted_difference(y, experiment.x, treated, control, weight, experiment.unit)
    capped = None if is_binary(y) else difference(winsorised(y), treated, control, weight, experiment.unit)
    customers, smallest = int(treated.sum() + control.sum()), int(min(treated.sum(), control.sum()))
    share = customers / len(experiment)  # of this arm and the control among all customers
    planned = PLANNED if rules.planned is None else max(1, round(rules.planned * share))
    look = always_valid(raw, customers, smallest, planned, rules.alpha)
    low, high = (look.low, look.high) if early else raw.interval(rules.alpha)
    return {
        "effect": raw.effect,
        "low": finite(low),
        "high": finite(high),
        "p": look.p if early else raw.p,
        "mde": raw.detectable(rules.alpha, rules.power) if raw.error > 0 else None,
        "control_mean": float(np.average(y[control], weights=weight[control])),
        "customers": customers,
        "adjusted": _beside(adjusted, rules, raw),
        "winsorised": _beside(capped, rules),
        "always_valid": _look(look),
    }


def _beside(effect: Effect | None, rules: Rules, raw: Effect | None = None) -> dict[str, float | None] | None:
    """An effect that stands beside the raw one, with the variance it removes."""
    if effect is None:
        return None
    low, high = effect.interval(rules.alpha)
    cell = {"effect": effect.effect, "low": finite(low), "high": finite(high), "p": effect.p}
    if raw is not None and raw.error > 0:
        cell["variance_reduction"] = 1.0 - (effect.error / raw.error) ** 2
    return cell


def _look(look: AlwaysValid) -> dict[str, float | None]:
    return {"low": finite(look.low), "high": finite(look.high), "p": look.p}


def finite(value: float) -> float | None:
    """A number that JSON can hold."""
    return value if math.isfinite(value) else None


def verdict(cell: dict[str, Any], rules: Rules, lower_is_better: bool = False) -> str:
    """win, loss, tie (the minimum detectable effect is small enough) or underpowered.

    Examples
    --------
    >>> cell = {"effect": 0.02, "p_adjusted": 0.01, "mde": 0.02, "control_mean": 0.1}
    >>> verdict(cell, Rules()), verdict(cell, Rules(), lower_is_better=True)
    ('win', 'loss')
    >>> verdict(cell | {"p_adjusted": 0.5}, Rules()), verdict(cell | {"p_adjusted": 0.5, "mde": 0.005}, Rules())
    ('underpowered', 'tie')
    """
    if cell["p_adjusted"] <= rules.alpha and cell["effect"] != 0:
        return WIN if (cell["effect"] > 0) != lower_is_better else LOSS
    smallest = rules.relevant * abs(cell["control_mean"])
    return TIE if cell["mde"] is not None and cell["mde"] <= smallest else UNDERPOWERED


def sentences(result: dict[str, Any]) -> list[str]:
    """One sentence for each arm and outcome."""
    lines = []
    for arm, outcomes in result["arms"].items():
        for name, cell in outcomes.items():
            mde = "unknown, because nothing varied" if cell["mde"] is None else f"{cell['mde']:.4g}"
            interval = f"[{_number(cell['low'])}, {_number(cell['high'])}]"
            if cell["verdict"] in (WIN, LOSS):
                lines.append(
                    f"{arm}, {name}: {cell['verdict']}, {cell['effect']:+.4f} {interval} per customer; MDE {mde}"
                )
            else:
                lines.append(f"{arm}, {name}: no effect could be seen ({cell['verdict']}), {interval}; MDE {mde}")
    return lines


def _number(value: float | None) -> str:
    return "unbounded" if value is None else f"{value:+.4f}"


def effect_table(result: dict[str, Any]) -> pl.DataFrame:
    """The cells as a table, one row per arm and outcome."""
    names = ("effect", "low", "high", "p", "p_adjusted", "mde", "control_mean")
    beside = [("adjusted", each) for each in ("effect", "low", "high", "p", "variance_reduction")]
    beside += [("winsorised", each) for each in ("effect", "low", "high", "p")]
    beside += [("always_valid", each) for each in ("low", "high", "p")]
    rows = [
        {"arm": arm, "outcome": outcome}
        | {name: cell[name] for name in names}
        | {f"{part}_{name}": (cell[part] or {}).get(name) for part, name in beside}
        | {"customers": cell["customers"], "verdict": cell["verdict"]}
        for arm, outcomes in result["arms"].items()
        for outcome, cell in outcomes.items()
    ]
    floats = (*names, *(f"{part}_{name}" for part, name in beside))
    schema: dict[str, Any] = {"arm": pl.String, "outcome": pl.String} | dict.fromkeys(floats, pl.Float64)
    return pl.DataFrame(rows, schema=schema | {"customers": pl.Int64, "verdict": pl.String})
