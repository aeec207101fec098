"""Finds the best save offer in a factorial test of 20,000 customers whose truth is known.

python experiments/save_offers.py 120 1000   (truths, and the first seed)

A market of customers at risk: depth of the discount x framing x channel x timing, 24 cells and a holdout of a tenth.
A customer is saved if he buys within 28 days; he is retained if he buys in the days 28 to 90. Revenue of 90 days is net
of the discount. Truths differ by seed, with interactions of every order.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.ab.analyse import Rules, analyse
from propensity.ab.factorial import factorial_arms, levels_of
from propensity.ab.split import assign
from propensity.ab.table import Columns, experiment_of

CUSTOMERS, HOLDOUT = 20_000, 0.1
FACTORS = {"depth": [10, 20, 30], "framing": ["gain", "loss"], "channel": ["mail", "sms"], "timing": [0, 7]}
ARMS = factorial_arms(FACTORS, {"treatment": 1 - HOLDOUT, "holdout": HOLDOUT})
CELLS = [arm for arm in ARMS if levels_of(arm) is not None]
OUTCOMES = ("saved", "net_revenue", "retained_90")


class Market(NamedTuple):
    """A truth: effects of the cells on the log-odds of being saved, and the customers."""

    lift: dict[str, float]  # by arm, 0 for the holdout
    spend: np.ndarray  # (n,) past 90 days, what a saved customer buys for on average
    base: np.ndarray  # (n,) log-odds of being saved without an offer


def market(seed: int) -> Market:
    """A truth. Main effects of depth 0.5, 0.9, 1.1; of the others 0.15 to 0.4; interactions of 0.15 and 0.08."""
    rng = np.random.default_rng(seed)
    main = {"depth": dict(zip(map(str, FACTORS["depth"]), (0.5, 0.9, 1.1), strict=True))}
    for factor in ("framing", "channel", "timing"):
        first, second = (str(level) for level in FACTORS[factor])
        size = rng.uniform(0.15, 0.4) * rng.choice([-1, 1])
        main[factor] = {first: size / 2, second: -size / 2}
    pair: dict[tuple[str, ...], float] = {}
    lift = {"holdout": 0.0}
    for arm in CELLS:
        levels = levels_of(arm) or {}
        names = list(levels.items())
        value = sum(main[factor][level] for factor, level in names)
        for k, one in enumerate(names):
            for other in names[k + 1 :]:
                value += pair.setdefault((*one, *other), float(rng.normal(0, 0.15)))
        lift[arm] = value + float(rng.normal(0, 0.08))
    spend = rng.gamma(2.0, 40.0, CUSTOMERS)
    return Market(lift, spend, -1.6 + 0.3 * rng.normal(size=CUSTOMERS) + 0.2 * np.log(spend / 80))


def discount(arm: str) -> float:
    levels = levels_of(arm)
    return 0.0 if levels is None else float(levels["depth"]) / 100


def chance(world: Market, arm: str) -> np.ndarray:
    """(n,) probability of being saved with an offer."""
    return np.asarray(1 / (1 + np.exp(-(world.base + world.lift[arm]))))


def truth(world: Market) -> dict[str, float]:
    """Incremental net revenue of every cell."""
    value = {arm: float((chance(world, arm) * world.spend * (1 - discount(arm))).mean()) for arm in ARMS}
    return {arm: value[arm] - value["holdout"] for arm in CELLS}


def experiment(world: Market, seed: int) -> pl.DataFrame:
    """What the test sees: arms as `ab split` draws them, and the outcomes."""
    rng = np.random.default_rng([seed, 1])
    customers = pl.DataFrame({"customer_id": np.arange(CUSTOMERS)})
    table = assign(customers, f"save {seed}", ARMS, global_holdout=0.0)
    arm = table["arm"].to_numpy()
    p, price = np.empty(CUSTOMERS), np.array([1 - discount(each) for each in ARMS])
    for each in ARMS:
        own = arm == each
        p[own] = chance(world, each)[own]
    saved = rng.random(CUSTOMERS) < p
    bought = saved * world.spend * rng.gamma(2.0, 0.5, CUSTOMERS)
    paid = bought * price[[list(ARMS).index(each) for each in arm]]
    retained = saved & (rng.random(CUSTOMERS) < 0.7)
    return table.with_columns(
        saved=pl.Series(saved.astype(float)),
        net_revenue=pl.Series(paid),
        retained_90=pl.Series(retained.astype(float)),
        past=pl.Series(world.spend),
    )


def regrets(seed: int) -> dict[str, float]:
    """Regret of the chosen cell, as a share of the best cell's incremental net revenue, by rule of choice."""
    world = market(seed)
    value = truth(world)
    best = max(value.values())
    frame = experiment(world, seed)
    columns = Columns("arm", "holdout", list(OUTCOMES), ["past"], customer="customer_id", probability="probability")
    result = analyse(experiment_of(frame, columns), Rules())
    cells = result["factorial"]["net_revenue"]["cells"]
    raw = max(cells, key=lambda cell: cell["effect"])["cell"]
    levels = result["factorial"]["net_revenue"]["levels"]
    main = {factor: max(each, key=lambda level: each[level]["effect"]) for factor, each in levels.items()}
    additive = next(cell["cell"] for cell in cells if all(cell[factor] == level for factor, level in main.items()))
    chosen = result["factorial"]["net_revenue"]["best"]
    known = {cell["cell"]: cell for cell in cells}
    inside = [known[arm]["low"] <= value[arm] <= known[arm]["high"] for arm in CELLS]
    return {
        "shrunken": 1 - value[chosen["cell"]] / best,
        "raw": 1 - value[raw] / best,
        "additive": 1 - value[additive] / best,
        "random": 1 - float(np.mean(list(value.values()))) / best,
        "stated": chosen["relative_regret"],
        "coverage": float(np.mean(inside)),
        "claimed": chosen["shrunken"] / value[chosen["cell"]],
        "raw_claimed": known[raw]["effect"] / value[raw],
    }


def main(repetitions: int = 200, first: int = 0) -> None:
    rows = pl.DataFrame([regrets(seed) for seed in range(first, first + repetitions)])
    for name in rows.columns:
        column = rows[name].to_numpy()
        half = 1.96 * column.std(ddof=1) / np.sqrt(column.size)
        print(f"{name}: mean {column.mean():.4f} +- {half:.4f}, below 5 % in {np.mean(column < 0.05):.1%}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
