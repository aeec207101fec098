"""Uplift of every customer by several learners, and whether any ranking is better than a random ordering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from propensity.ab.effect import ALPHA, holm, is_binary
from propensity.ab.learner import LEARNERS, Arms, folds, regressor, uplift
from propensity.ab.qini import Ranking, p_against, qini, random_orderings
from propensity.ab.table import Experiment, RefusedError
from propensity.ab.validity import balance, placebo, refusal, sample_ratio, stabilised
from propensity.errors import ConfigurationError

MEAN = "mean"  # the ranking that is tested: the mean of the learners, so that none is chosen by its own result
FEWEST = 100  # customers of an arm below which no learner is fitted


@dataclass(frozen=True)
class UpliftRules:
    """How uplift is learned and tested.

    Parameters
    ----------
    learners : sequence of str
        Of s, t, x and dr.
    regressor : str
        ridge, lightgbm, or blend, the mean of both.
    folds : int
        Folds of the cross-fit.
    orderings, resamples : int
        Random orderings of the test, and bootstrap resamples of the interval.
    seed : int
        Of folds, trees, orderings and bootstrap.
    """

    learners: Sequence[str] = LEARNERS
    regressor: str = "ridge"
    folds: int = 5
    orderings: int = 2000
    resamples: int = 200
    seed: int = 17
    alpha: float = ALPHA

    def require(self) -> None:
        """Refuse settings that do not exist."""
        wrong = [name for name in self.learners if name not in LEARNERS]
        if wrong or not self.learners:
            raise ConfigurationError(f"learners={list(self.learners)} must name some of {', '.join(LEARNERS)}")
        if self.folds < 2:
            raise ConfigurationError(f"folds={self.folds} leaves nothing to fit on; give at least 2")
        if self.orderings < 20 or self.resamples < 0:
            raise ConfigurationError(
                f"orderings={self.orderings} and resamples={self.resamples} are too few; give at least 20 and 0"
            )


def learn_uplift(experiment: Experiment, rules: UpliftRules) -> tuple[dict[str, Any], pl.DataFrame]:
    """Cross-fitted uplift, and Qini coefficients with their tests.

    Returns
    -------
    dict
        `arms`: arm -> outcome -> `{qini, low, high, p, p_adjusted, auuc, claimed, learners}` of the mean of the
        learners, and `learners`: learner -> `{qini, low, high, p, auuc}`; `p`, the smallest adjusted one; `srm_p`;
        `balance`; `money`, the outcomes that are amounts; `refused`; `sentences`.
    pl.DataFrame
        customer, arm, outcome, and columns of uplift: `mean` and one for each learner, `s`, `t`, `x`, `dr`.

    Raises
    ------
    ConfigurationError
        For settings that do not exist.
    """
    rules.require()
    weight = stabilised(experiment)
    srm_p, source = sample_ratio(experiment)
    table, balance_p = balance(experiment, weight)
    before = placebo(experiment, weight)
    refused = refusal(experiment, srm_p, source, table, balance_p, before)
    if refused is None:
        refused = _too_small(experiment)
    result: dict[str, Any] = {
        "srm_p": srm_p,
        "balance": table,
        "balance_p": balance_p,
        "placebo": before,
        "refused": refused,
        "notes": list(experiment.notes),
        "orderings": rules.orderings,
        "money": [name for name, y in experiment.outcomes.items() if not is_binary(y)],
        "arms": {},
        "sentences": [refused] if refused else [],
    }
    if refused is not None:
        return result, pl.DataFrame()
    fold, tables = folds(experiment.customer, rules.folds, rules.seed), []
    for arm, treated in experiment.comparisons().items():
        result["arms"][arm] = {}
        for name, y in experiment.outcomes.items():
            cell, values = _one(experiment, weight, fold, treated, y, rules)
            result["arms"][arm][name] = cell
            tables.append(values.with_columns(arm=pl.lit(arm), outcome=pl.lit(name)))
    result["p"] = _claim(result["arms"], rules.alpha)
    result["sentences"] = list(_sentences(result["arms"]))
    columns = ["customer", "arm", "outcome", MEAN, *rules.learners]
    return result, pl.concat(tables).select(columns)


def _too_small(experiment: Experiment) -> str | None:
    if not experiment.names:
        return "there are no covariates that vary, so no customer differs from another; name covariates=[...]"
    count = np.bincount(experiment.arm, minlength=len(experiment.arms) + 1)
    name = [experiment.control, *experiment.arms][int(count.argmin())]
    return (
        f"arm {name!r} has {count.min()} customers; uplift needs {FEWEST} in each arm" if count.min() < FEWEST else None
    )


def _one(
    experiment: Experiment, weight: np.ndarray, fold: np.ndarray, treated: np.ndarray, y: np.ndarray, rules: UpliftRules
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Learners of one arm and outcome, and their mean."""
    rows = np.flatnonzero(treated | (experiment.arm == 0))
    rows = rows[np.argsort(experiment.customer[rows], kind="stable")]  # the order of the table changes nothing
    arms = Arms(experiment.x[rows], y[rows], treated[rows], weight[rows])
    values = uplift(arms, fold[rows], tuple(rules.learners), regressor(rules.regressor, rules.seed))
    ranking = Ranking(arms.y, arms.t, arms.w)
    null = random_orderings(ranking, rules.orderings, rules.seed)
    values = {MEAN: np.mean(list(values.values()), axis=0)} | values
    cells = {}
    for name, score in values.items():
        found = qini(ranking, score, rules.resamples, rules.seed)
        known = {key: value if math.isfinite(value) else None for key, value in found._asdict().items()}
        cells[name] = known | {"p": p_against(found.qini, null)}
    return cells.pop(MEAN) | {"learners": cells}, pl.DataFrame({"customer": experiment.customer[rows]} | values)


def _claim(arms: dict[str, Any], alpha: float) -> float:
    """Holm's correction over arms and outcomes; returns the smallest adjusted p-value."""
    cells = {f"{arm}\0{outcome}": cell for arm, outcomes in arms.items() for outcome, cell in outcomes.items()}
    for key, adjusted in holm({key: cell["p"] for key, cell in cells.items()}).items():
        cells[key] |= {"p_adjusted": adjusted, "claimed": adjusted <= alpha}
    return min(cell["p_adjusted"] for cell in cells.values())


def _sentences(arms: dict[str, Any]) -> list[str]:
    return [
        f"{arm}, {outcome}: {_verdict(cell)}; Qini {cell['qini']:.4g} [{shown(cell['low'])}, {shown(cell['high'])}] "
        f"per treated customer, p {cell['p']:.3g}, adjusted {cell['p_adjusted']:.3g}"
        for arm, outcomes in arms.items()
        for outcome, cell in outcomes.items()
    ]


def _verdict(cell: dict[str, Any]) -> str:
    return (
        "better than random orderings" if cell["claimed"] else "no better than a random ordering as far as can be seen"
    )


def shown(value: float | None) -> str:
    """A number, or a dash where none is known."""
    return "-" if value is None else f"{value:.4g}"


def require_answer(result: dict[str, Any]) -> None:
    """Ends a command whose files say why there is no answer.

    Raises
    ------
    RefusedError
        With the stored reason.
    """
    if result["refused"]:
        raise RefusedError(result["refused"])
