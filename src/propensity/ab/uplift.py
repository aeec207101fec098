"""Uplift of every customer by several learners, and whether any ranking is better than a random ordering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from propensity.ab.effect import ALPHA, holm
from propensity.ab.learner import LEARNERS, Arms, folds, regressor, uplift
from propensity.ab.qini import Ranking, p_against, qini, random_orderings
from propensity.ab.table import Experiment, RefusedError
from propensity.ab.validity import balance, placebo, refusal, sample_ratio, stabilised
from propensity.errors import ConfigurationError

FEWEST = 100  # customers of an arm below which no learner is fitted


@dataclass(frozen=True)
class UpliftRules:
    """How uplift is learned and tested.

    Parameters
    ----------
    learners : sequence of str
        Of s, t, x and dr.
    regressor : str
        blend (the mean of both), lightgbm or ridge.
    folds : int
        Folds of the cross-fit.
    orderings, resamples : int
        Random orderings of the test, and bootstrap resamples of the interval.
    seed : int
        Of folds, trees, orderings and bootstrap.
    """

    learners: Sequence[str] = LEARNERS
    regressor: str = "blend"
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
        `arms`: arm -> outcome -> learner -> `{qini, low, high, p, p_adjusted, auuc, claimed}`; `refused`; `sentences`.
    pl.DataFrame
        customer, arm, outcome, and a column of uplift for each learner: `s`, `t`, `x`, `dr`.

    Raises
    ------
    ConfigurationError
        For settings that do not exist.
    """
    rules.require()
    weight = stabilised(experiment)
    srm_p, source = sample_ratio(experiment)
    refused = refusal(experiment, srm_p, source, balance(experiment, weight)[1], placebo(experiment, weight))
    if refused is None:
        refused = _too_small(experiment)
    result: dict[str, Any] = {
        "srm_p": srm_p,
        "refused": refused,
        "notes": list(experiment.notes),
        "orderings": rules.orderings,
        "arms": {},
        "sentences": [refused] if refused else [],
    }
    if refused is not None:
        return result, pl.DataFrame()
    fold, tables = folds(experiment.customer, rules.folds, rules.seed), []
    for arm, treated in experiment.comparisons().items():
        result["arms"][arm] = {}
        for name, y in experiment.outcomes.items():
            cells, table = _one(experiment, weight, fold, treated, y, rules)
            result["arms"][arm][name] = cells
            tables.append(table.with_columns(arm=pl.lit(arm), outcome=pl.lit(name)))
    _claim(result["arms"], rules.alpha)
    result["sentences"] = list(_sentences(result["arms"]))
    columns = ["customer", "arm", "outcome", *rules.learners]
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
) -> tuple[dict[str, dict[str, float | None]], pl.DataFrame]:
    """Learners of one arm and outcome."""
    rows = np.flatnonzero(treated | (experiment.arm == 0))
    rows = rows[np.argsort(experiment.customer[rows], kind="stable")]  # the order of the table changes nothing
    arms = Arms(experiment.x[rows], y[rows], treated[rows], weight[rows])
    values = uplift(arms, fold[rows], tuple(rules.learners), regressor(rules.regressor, rules.seed))
    ranking = Ranking(arms.y, arms.t, arms.w)
    null = random_orderings(ranking, rules.orderings, rules.seed)
    cells = {}
    for name, score in values.items():
        found = qini(ranking, score, rules.resamples, rules.seed)
        known = {key: value if math.isfinite(value) else None for key, value in found._asdict().items()}
        cells[name] = known | {"p": p_against(found.qini, null)}
    return cells, pl.DataFrame({"customer": experiment.customer[rows]} | values)


def _claim(arms: dict[str, Any], alpha: float) -> None:
    """Holm's correction over arms, outcomes and learners."""
    cells = {
        f"{arm}\0{outcome}\0{learner}": cell
        for arm, outcomes in arms.items()
        for outcome, learners in outcomes.items()
        for learner, cell in learners.items()
    }
    for key, adjusted in holm({key: cell["p"] for key, cell in cells.items()}).items():
        cells[key] |= {"p_adjusted": adjusted, "claimed": adjusted <= alpha}


def _sentences(arms: dict[str, Any]) -> list[str]:
    lines = []
    for arm, outcomes in arms.items():
        for outcome, learners in outcomes.items():
            name, best = max(learners.items(), key=lambda each: each[1]["qini"])
            claimed = [learner for learner, cell in learners.items() if cell["claimed"]]
            value = f"Qini {best['qini']:.4g} per treated customer ({name}), p {best['p']:.3g}"
            value += f", adjusted {best['p_adjusted']:.3g}"
            verdict = (
                f"{', '.join(claimed)} better than random orderings"
                if claimed
                else "no ranking is better than a random one"
            )
            lines.append(f"{arm}, {outcome}: {verdict}; {value}")
    return lines


def require_answer(result: dict[str, Any]) -> None:
    """Ends a command whose files say why there is no answer.

    Raises
    ------
    RefusedError
        With the stored reason.
    """
    if result["refused"]:
        raise RefusedError(result["refused"])
