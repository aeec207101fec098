"""Uplift of every customer by several learners, and whether any ranking is better than a random ordering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.ab.effect import ALPHA, holm, is_binary
from propensity.ab.learner import ALL_LEARNERS, LEARNERS, Arms, CrossFitted, Others, cross_fitted, folds_of, regressor
from propensity.ab.qini import Ranking, qini
from propensity.ab.ranking_test import Centred, centred, doubly_robust_scores, ranking_p
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
        Of s, t, x, dr and head, the network head.
    regressor : str
        ridge, gcv, ard, lightgbm, or blend, the mean of ridge and lightgbm.
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
        wrong = [name for name in self.learners if name not in ALL_LEARNERS]
        if wrong or not self.learners:
            raise ConfigurationError(f"learners={list(self.learners)} must name some of {', '.join(ALL_LEARNERS)}")
        if self.folds < 2:
            raise ConfigurationError(f"folds={self.folds} leaves nothing to fit on; give at least 2")
        if self.orderings < 20 or self.resamples < 0:
            raise ConfigurationError(
                f"orderings={self.orderings} and resamples={self.resamples} are too few; give at least 20 and 0"
            )


class Targets(NamedTuple):
    """Pairs of customers and offers that get their uplift from an experiment of messages.

    Attributes
    ----------
    labels : pl.DataFrame
        m rows: customer, offer_id.
    x : np.ndarray
        (m, C) the experiment's covariates of these pairs.
    unit : np.ndarray
        (m,) int64, the experiment's unit of each customer, -1 for one outside it.
    amount : dict of str to np.ndarray
        (m,) amounts of the experiment's `multiple` outcomes.
    """

    labels: pl.DataFrame
    x: np.ndarray
    unit: np.ndarray
    amount: dict[str, np.ndarray]


def learn_uplift(experiment: Experiment, rules: UpliftRules) -> tuple[dict[str, Any], pl.DataFrame]:
    """Cross-fitted uplift, and Qini coefficients with their tests.

    Returns
    -------
    dict
        `arms`: arm -> outcome -> `{qini, low, high, p, p_orderings, p_adjusted, auuc, claimed, learners}` of the mean
        of the learners, `multiple_of` where the outcome is a known multiple of another one, and `learners`:
        learner -> `{qini, low, high, p, p_orderings, auuc}`; `p`, the smallest adjusted one; `srm_p`; `balance`;
        `money`, the outcomes that are amounts; `refused`; `sentences`.
    pl.DataFrame
        customer, arm, outcome, and columns of uplift: `mean` and one for each learner, `s`, `t`, `x`, `dr`, `head`.

    Raises
    ------
    ConfigurationError
        For settings that do not exist.

    Notes
    -----
    Qini coefficients and intervals are of the rankings by models of all other folds. `p` is of those by models of
    earlier folds, which alone keep the level; see `propensity.ab.ranking_test`. It is the larger of two, of random
    orderings and of the standard error of the ranking: a ranking that follows the outcome itself varies more by chance
    than a random ordering does. `claimed` needs both an adjusted p-value of at most `alpha` and an interval above 0:
    the p-value of one division into folds may be small by chance, and the written ranking has to gain by itself.
    """
    none = Targets(pl.DataFrame(), np.zeros((0, experiment.x.shape[1])), np.zeros(0, np.int64), {})
    return learn_targets(experiment, rules, none)[:2]


def learn_targets(
    experiment: Experiment, rules: UpliftRules, targets: Targets
) -> tuple[dict[str, Any], pl.DataFrame, pl.DataFrame]:
    """The same, and the uplift of further pairs by models that did not see their customers.

    Returns
    -------
    dict, pl.DataFrame
        As of `learn_uplift`.
    pl.DataFrame
        The labels of the targets, arm, outcome and `mean`; empty where refused.
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
        return result, pl.DataFrame(), pl.DataFrame()
    fold = folds_of(experiment.customer, experiment.unit, rules.folds, rules.seed)
    tables, pairs = [], []
    others = Others(targets.x, _target_folds(targets, fold, experiment.unit, rules.folds))
    for arm, treated in experiment.comparisons().items():
        part = _Part.of(experiment, weight, fold, treated)
        fitted = {name: part.fit(experiment, name, rules, others) for name in _learned(experiment)}
        scores = {name: part.scores(experiment, name) for name in fitted}
        result["arms"][arm] = {}
        for name in experiment.outcomes:
            base, amount = experiment.multiple.get(name, (name, None))
            found, score = fitted[base], scores[base]
            if amount is not None:
                own_amount = amount[part.rows]
                found, score = _times(found, own_amount, targets.amount.get(name, np.zeros(0))), score * own_amount
            cell, values = part.tested(experiment, name, found, score, rules)
            result["arms"][arm][name] = cell if amount is None else cell | {"multiple_of": base}
            own = {"arm": pl.lit(arm), "outcome": pl.lit(name)}
            tables.append(values.with_columns(**own))
            if targets.unit.size:
                mean = np.mean(list(found.others.values()), axis=0)
                pairs.append(targets.labels.with_columns(**own, mean=pl.Series(mean)))
    result["p"] = _claim(result["arms"], rules.alpha)
    result["sentences"] = list(_sentences(result["arms"]))
    columns = ["customer", "arm", "outcome", MEAN, *rules.learners]
    return result, pl.concat(tables).select(columns), pl.concat(pairs) if pairs else pl.DataFrame()


def _target_folds(targets: Targets, fold: np.ndarray, unit: np.ndarray | None, count: int) -> np.ndarray:
    """Fold (m,) whose models did not see the target's customer; any for customers outside the experiment."""
    if unit is None or not targets.unit.size:
        return np.zeros(targets.unit.size, np.int64)
    of_unit = np.zeros(int(unit.max()) + 1, np.int64)
    of_unit[unit] = fold
    return np.where(targets.unit >= 0, of_unit[np.maximum(targets.unit, 0)], np.arange(targets.unit.size) % count)


def _learned(experiment: Experiment) -> list[str]:
    """Outcomes that models are fitted to: all but multiples, and what these are multiples of."""
    bases = [base for base, _ in experiment.multiple.values()]
    return list(dict.fromkeys([*bases, *(name for name in experiment.outcomes if name not in experiment.multiple)]))


def _times(found: CrossFitted, own: np.ndarray, others: np.ndarray) -> CrossFitted:
    """Uplift of a multiple."""
    return CrossFitted(
        {name: value * own for name, value in found.own.items()},
        {name: value * others for name, value in found.others.items()},
        {name: value * own for name, value in found.earlier.items()},
    )


def _too_small(experiment: Experiment) -> str | None:
    if not experiment.names:
        return "there are no covariates that vary, so no customer differs from another; name covariates=[...]"
    count = np.bincount(experiment.arm, minlength=len(experiment.arms) + 1)
    name = [experiment.control, *experiment.arms][int(count.argmin())]
    return (
        f"arm {name!r} has {count.min()} customers; uplift needs {FEWEST} in each arm" if count.min() < FEWEST else None
    )


class _Part(NamedTuple):
    """Rows of one treatment and the control, in an order that does not follow the table."""

    rows: np.ndarray
    fold: np.ndarray
    treated: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, experiment: Experiment, weight: np.ndarray, fold: np.ndarray, treated: np.ndarray) -> _Part:
        rows = np.flatnonzero(treated | (experiment.arm == 0))
        rows = rows[np.argsort(experiment.customer[rows], kind="stable")]
        return cls(rows, fold[rows], treated[rows], weight[rows])

    def fit(self, experiment: Experiment, name: str, rules: UpliftRules, others: Others) -> CrossFitted:
        """All learners of an outcome."""
        fit = regressor(rules.regressor, rules.seed)
        return cross_fitted(self.arms(experiment, name), self.fold, rules.learners, fit, others, rules.seed)

    def arms(self, experiment: Experiment, name: str) -> Arms:
        """The rows with an outcome."""
        return Arms(experiment.x[self.rows], experiment.outcomes[name][self.rows], self.treated, self.weight)

    def scores(self, experiment: Experiment, name: str) -> np.ndarray:
        """Doubly robust scores of an outcome."""
        return doubly_robust_scores(self.arms(experiment, name), self.fold)

    def tested(
        self, experiment: Experiment, name: str, found: CrossFitted, score: np.ndarray, rules: UpliftRules
    ) -> tuple[dict[str, Any], pl.DataFrame]:
        """The Qini coefficients of the learners and of their mean, and the table of uplift."""
        unit = None if experiment.unit is None else experiment.unit[self.rows]
        ranking = Ranking(experiment.outcomes[name][self.rows], self.treated, self.weight, unit)
        values, earlier = ({MEAN: np.mean(list(each.values()), axis=0)} | each for each in (found.own, found.earlier))
        known = centred(score, np.isfinite(earlier[MEAN]), self.fold, unit, rules.orderings, rules.seed)
        cells = {each: _cell(ranking, values[each], known, earlier[each], rules) for each in values}
        table = pl.DataFrame({"customer": experiment.customer[self.rows]} | values)
        return cells.pop(MEAN) | {"learners": cells}, table


def _cell(
    ranking: Ranking, uplift: np.ndarray, known: Centred, earlier: np.ndarray, rules: UpliftRules
) -> dict[str, float | None]:
    """The Qini coefficient of a ranking and its p-values."""
    stated = qini(ranking, uplift, rules.resamples, rules.seed)._asdict()
    p = ranking_p(known, earlier)
    finite = {key: value if math.isfinite(value) else None for key, value in stated.items()}
    return finite | {"p": max(p), "p_orderings": p.by_orderings}


def _claim(arms: dict[str, Any], alpha: float) -> float:
    """Holm's correction over arms and outcomes, and what is claimed; returns the smallest adjusted p-value."""
    cells = {f"{arm}\0{outcome}": cell for arm, outcomes in arms.items() for outcome, cell in outcomes.items()}
    for key, adjusted in holm({key: cell["p"] for key, cell in cells.items()}).items():
        cells[key] |= {"p_adjusted": adjusted, "claimed": adjusted <= alpha and not _holds_zero(cells[key])}
    return min(cell["p_adjusted"] for cell in cells.values())


def _holds_zero(cell: dict[str, Any]) -> bool:
    """Whether there is an interval of the Qini coefficient, and it is not above 0."""
    return cell["low"] is not None and cell["low"] <= 0


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
