"""Compares regressors of the uplift learners by their doubly robust loss, which needs no Qini coefficient.

python experiments/uplift_regressor.py experiment.parquet

The loss of a customer is the squared difference of predicted uplift and doubly robust score. A difference of losses to
that of one constant effect is unbiased for the difference of the errors in the effect. Folds of score and uplift are
the same, so that nobody is scored by a model that saw them.
"""

from __future__ import annotations

import sys

import numpy as np
import polars as pl

from propensity.ab.learner import LEARNERS, Arms, fit_ridge, folds, regressor, uplift
from propensity.ab.table import Columns, experiment_of, read_data

COVARIATES = ("recency", "history", "mens", "womens", "newbie", "zip_code", "channel")
SEEDS = (1, 2, 3)


def scores(arms: Arms, fold: np.ndarray) -> np.ndarray:
    """Doubly robust scores (n,), cross-fitted."""
    share, score = arms.t.mean(), np.empty(fold.size)
    for k in np.unique(fold):
        train, rows = arms.rows(fold != k), arms.rows(fold == k)
        one, two = (fit_ridge(*train.rows(mask)[:2], train.w[mask])(rows.x) for mask in (train.t, ~train.t))
        residual = np.where(rows.t, (rows.y - one) / share, -(rows.y - two) / (1 - share))
        score[fold == k] = one - two + residual
    return score


def constant(arms: Arms, fold: np.ndarray) -> np.ndarray:
    """The difference of means in the other folds (n,)."""
    effect = np.empty(fold.size)
    for k in np.unique(fold):
        train = arms.rows(fold != k)
        effect[fold == k] = train.y[train.t].mean() - train.y[~train.t].mean()
    return effect


def main(path: str) -> None:
    """Prints the gain over a constant effect, in standard errors, by arm, outcome, regressor and learner."""
    experiment = experiment_of(read_data(path), Columns("segment", "No E-Mail", ["visit", "spend"], COVARIATES))
    rows = []
    for arm, treated in experiment.comparisons().items():
        mask = treated | (experiment.arm == 0)
        for outcome, y in experiment.outcomes.items():
            arms = Arms(experiment.x[mask], y[mask], treated[mask], np.ones(int(mask.sum())))
            for seed in SEEDS:
                fold = folds(experiment.customer[mask], 5, seed)
                score = scores(arms, fold)
                base = (score - constant(arms, fold)) ** 2
                for name in ("ridge", "lightgbm", "blend"):
                    found = uplift(arms, fold, LEARNERS, regressor(name, seed))
                    for learner, value in (found | {"mean": np.mean(list(found.values()), axis=0)}).items():
                        gain = base - (score - value) ** 2
                        z = gain.mean() / (gain.std() / np.sqrt(gain.size))
                        rows.append((arm, outcome, seed, name, learner, gain.mean() / base.mean() * 1e4, z))
    names = ["arm", "outcome", "seed", "regressor", "learner", "gain", "z"]
    table = pl.DataFrame(rows, names, orient="row")
    pl.Config.set_tbl_rows(-1)
    print(
        table.group_by("arm", "outcome", "regressor", "learner")
        .agg(pl.col("gain", "z").mean())
        .sort("arm", "outcome", "regressor", "learner")
    )
    print(table.group_by("regressor", "learner").agg(pl.col("gain", "z").mean()).sort("regressor", "learner"))
    print(table.group_by("regressor").agg(pl.col("gain", "z").mean()).sort("gain"))


if __name__ == "__main__":
    main(sys.argv[1])
