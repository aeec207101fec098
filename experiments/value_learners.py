"""Trees, network and their mean at one cutoff: python experiments/value_learners.py data/cdnow 1997-07-02 13.

Prints the metrics of each alone and of its blend with the buy-till-you-die model, with even weights, and differences to
the trees with 95 % intervals from a paired bootstrap over customers.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from propensity.data.event_log import EventLog, to_day
from propensity.kernel.order_day import OrderDays, ahead, recency
from propensity.value.closed import lengths
from propensity.value.model import EVEN, NETWORK, TREES, Expectation, ValueModel, blend, fit, together
from propensity.value.quality import auc, normalised_gini, quality
from propensity.value.question import question

LEARNERS = (TREES, NETWORK, "both")
DRAWS = 200
SHOWN = ("auc_active", "gini_revenue", "rmse_orders", "rmse_revenue", "decile_error_revenue", "total_orders",
         "total_revenue", "total_active")  # fmt: skip


def columns(expected: Expectation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return expected.active[:, 0], expected.orders[:, 0], expected.revenue[:, 0]


def forecasts(model: ValueModel, orders: OrderDays, cutoff: int, weeks: int) -> dict[str, Expectation]:
    """Each learner alone and blended."""
    by_model, alone = model.candidates(orders, cutoff, [weeks])
    alone["both"] = together(list(alone.values()))
    blended = {f"{name}, blended": blend(by_model, each, EVEN, model.amount) for name, each in alone.items()}
    return {"buy-till-you-die": by_model, **alone, **blended}


def differences(
    one: Expectation, other: Expectation, count: np.ndarray, revenue: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Intervals of AUC, normalised Gini and squared error of revenue of the second minus the first."""
    random, draws = np.random.default_rng(1), []
    for _ in range(DRAWS):
        rows = random.integers(0, count.size, count.size)
        pair = []
        for each in (one, other):
            active, _, money = (column[rows] for column in columns(each))
            pair.append((auc(count[rows] > 0, active), normalised_gini(revenue[rows], money),
                         np.sqrt(np.mean((money - revenue[rows]) ** 2))))  # fmt: skip
        draws.append(np.subtract(pair[1], pair[0]))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    names = ("auc", "gini", "rmse_revenue")
    return {name: (round(float(low[k]), 4), round(float(high[k]), 4)) for k, name in enumerate(names)}


def compare(folder: Path, cutoff: int, weeks: int) -> None:
    """Print the table of one cutoff."""
    log = EventLog.open(folder)
    asked = question(log, cutoff, [weeks])
    before = time.process_time()
    model = fit(asked.orders, asked.first_day, cutoff, [weeks], EVEN, 17, models=(TREES, NETWORK))
    spent = time.process_time() - before
    rows = recency(asked.orders, cutoff).x >= 0
    count, revenue = (column[rows] for column in ahead(asked.orders, cutoff, cutoff + 7 * weeks))
    made = forecasts(model, asked.orders, cutoff, weeks)
    print(folder.name, cutoff, weeks, "weeks; longest closed", model.longest, f"{spent:.1f} CPU-seconds",
          lengths(asked.first_day, cutoff, weeks))  # fmt: skip
    for name, each in made.items():
        values = quality(columns(each), count, revenue)
        print(f"{name:20}", {key: round(values[key], 4) for key in SHOWN})
    for name in ("network", "both"):
        print(
            f"{name}, blended, minus trees, blended",
            differences(made["trees, blended"], made[f"{name}, blended"], count, revenue),
        )


if __name__ == "__main__":
    compare(Path(sys.argv[1]), to_day(sys.argv[2]), int(sys.argv[3]))
