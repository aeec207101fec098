"""How often does the analysis of an experiment claim what is not there?

python experiments/false_claims.py experiment.parquet

Permuted labels: the arms of the Hillstrom experiment in random order, 200 times; a claim is a `win` of `ab analyse`, or
a ranking that `ab uplift` calls better than random orderings. A/A: 500 experiments with amounts of a long tail, looked
at after each of 28 days; a claim is a p-value of at most .05 on any day.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import polars as pl

from propensity.ab.analyse import LOSS, WIN, Rules, analyse
from propensity.ab.effect import holm
from propensity.ab.table import Columns, experiment_of, read_data
from propensity.ab.uplift import UpliftRules, learn_uplift

COVARIATES = ("recency", "history", "mens", "womens", "newbie", "zip_code", "channel")
OUTCOMES = ("visit", "conversion", "spend")
DAYS, CUSTOMERS_PER_DAY = 28, 150
CUSTOMERS = 20_000  # of the 64,000; the level of a test does not depend on their number, its cost does


def permuted(path: str, repeats: int = 200) -> None:
    """Prints shares of permutations with a false claim."""
    columns = Columns("segment", "No E-Mail", OUTCOMES, COVARIATES)
    experiment = experiment_of(read_data(path).sample(CUSTOMERS, seed=1), columns)
    wins, losses, claims, orderings, raw = 0, 0, 0, 0, []
    for seed in range(repeats):
        shuffled = replace(experiment, arm=np.random.default_rng(seed).permutation(experiment.arm))
        arms = analyse(shuffled, Rules())["arms"]
        verdicts = {cell["verdict"] for cells in arms.values() for cell in cells.values()}
        wins, losses = wins + (WIN in verdicts), losses + (LOSS in verdicts)
        rules = UpliftRules(("t",), orderings=200, resamples=0)  # with ridge regression all learners are alike
        arms = learn_uplift(shuffled, rules)[0]["arms"]
        cells = [cell for outcomes in arms.values() for cell in outcomes.values()]
        claims += any(cell["claimed"] for cell in cells)
        raw += [(cell["p"] <= 0.05, cell["p_orderings"] <= 0.05) for cell in cells]
        by_orderings = holm({str(k): cell["p_orderings"] for k, cell in enumerate(cells)})
        orderings += min(by_orderings.values()) <= 0.05
        if seed % 20 == 19:
            _print(seed + 1, {"false wins": wins, "false losses": losses})
            _print(seed + 1, {"false claims of a ranking": claims, "by random orderings alone": orderings})
            both, alone = np.mean(raw, axis=0)
            print(f"  unadjusted p at most .05: {both:.1%}, by random orderings alone {alone:.1%}", flush=True)


def _print(repeats: int, counts: dict[str, int]) -> None:
    """Shares with Wilson's 95 % interval."""
    parts = []
    for name, count in counts.items():
        share, z = count / repeats, 1.96
        centre, half = share + z**2 / (2 * repeats), z * np.sqrt(share * (1 - share) / repeats + (z / repeats) ** 2 / 4)
        low, high = (centre - half) / (1 + z**2 / repeats), (centre + half) / (1 + z**2 / repeats)
        parts.append(f"{name} {share:.1%} [{low:.1%}, {high:.1%}]")
    print(f"{repeats} repeats: {', '.join(parts)}", flush=True)


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
    print(f"A/A experiments, {DAYS} looks, by intervals:")
    _print(repeats, false)


if __name__ == "__main__":
    permuted(sys.argv[1])
    looks()
