"""How often does the analysis of an experiment claim what is not there?

python experiments/false_claims.py experiment.parquet

Permuted labels: the arms of the Hillstrom experiment in random order, 200 times; a claim is a `win` of `ab analyse`, or
a ranking that `ab uplift` calls better than random orderings. A/A: 500 experiments with amounts of a long tail, looked
at after each of 28 days; a claim is a p-value of at most .05 on any day.
"""

from __future__ import annotations

import sys

import numpy as np
import polars as pl

from propensity.ab.analyse import WIN, Rules, analyse
from propensity.ab.table import Columns, experiment_of, read_data
from propensity.ab.uplift import UpliftRules, learn_uplift

COVARIATES = ("recency", "history", "mens", "womens", "newbie", "zip_code", "channel")
OUTCOMES = ("visit", "conversion", "spend")
DAYS, CUSTOMERS_PER_DAY = 28, 150


def permuted(path: str, repeats: int = 200) -> None:
    """Prints shares of permutations with a false claim."""
    frame, wins, claims, raw = read_data(path), 0, 0, []
    for seed in range(repeats):
        shuffled = frame.with_columns(pl.col("segment").shuffle(seed)).sample(20_000, seed=seed)
        experiment = experiment_of(shuffled, Columns("segment", "No E-Mail", OUTCOMES, COVARIATES))
        arms = analyse(experiment, Rules())["arms"]
        wins += any(cell["verdict"] == WIN for cells in arms.values() for cell in cells.values())
        arms = learn_uplift(experiment, UpliftRules(orderings=400, resamples=0))[0]["arms"]
        cells = [cell for outcomes in arms.values() for cell in outcomes.values()]
        claims += any(cell["claimed"] for cell in cells)
        raw += [cell["p"] <= 0.05 for cell in cells]
    print(
        f"{repeats} permutations: false wins {wins / repeats:.1%}, false claims of a ranking {claims / repeats:.1%}, "
    )
    print(f"unadjusted p of a ranking at most .05: {np.mean(raw):.1%}")


def looks(repeats: int = 500) -> None:
    """Prints the share of A/A experiments with a false claim on any of the days."""
    rules, false = Rules(planned=DAYS * CUSTOMERS_PER_DAY), {"always valid": 0, "fixed": 0}
    for seed in range(repeats):
        rng, n = np.random.default_rng(seed), DAYS * CUSTOMERS_PER_DAY
        spend = np.where(rng.random(n) < 0.2, rng.lognormal(3, 1, n), 0.0)
        frame = pl.DataFrame({"arm": np.where(rng.random(n) < 0.5, "mail", "none"), "spend": spend})
        columns = Columns("arm", "none", ["spend"])
        days = [experiment_of(frame.head(CUSTOMERS_PER_DAY * (day + 1)), columns) for day in range(DAYS)]
        for name, each in (("always valid", rules), ("fixed", Rules())):
            cells = (analyse(day, each)["arms"].get("mail", {}).get("spend") for day in days)
            false[name] += any(cell["p"] <= 0.05 for cell in cells if cell)
    print(f"{repeats} A/A experiments, {DAYS} looks: false claims {false['always valid'] / repeats:.1%}")
    print(f"with the intervals of one look: {false['fixed'] / repeats:.1%}")


if __name__ == "__main__":
    looks()
    permuted(sys.argv[1])
