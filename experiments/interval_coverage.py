"""Does the 95 % interval contain the true value in 95 of 100 samples? The synthetic market, where it is known.

python experiments/interval_coverage.py --draws 400 --customers 50000 --pool 2000000

Every customer of the pool has a known propensity for each of 20 offers. A sample takes other customers and simulates
their purchases: a visit, then every offer given the visit, then an amount with a long tail. The models are fixed: the
true log-odds with noise of their own. Their true metrics are measured on the whole pool, simulated several times.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from propensity.atomic import whole_file
from propensity.ingest.source.synthetic import Synthetic
from propensity.metric.builtin import METRICS
from propensity.metric.context import eval_context
from propensity.metric.interval import bootstrap_interval, minimum_detectable_effect, resample_weights, verdict
from propensity.metric.labels import Labels, Prediction
from propensity.metric.metric_table import MetricTable, metric_table

OFFERS, CUTOFF, HORIZON = 20, "2024-04-15", 14
NOISE = {"network": 0.30, "twin": 0.30, "weaker": 0.45}  # standard deviation of each model's error in log-odds
TAIL = 0.8  # sigma of the lognormal amounts
NAMES = ("revenue_lift", "revenue_lift_winsorised", "auc", "average_precision", "normalised_revenue_capture")
MEASURED = [metric for metric in METRICS if metric.name in NAMES]


class Pool(NamedTuple):
    """chance (N,M) of a purchase and visit (N,) of any; amount (N,M) expected of a buyer; scores by model (N,M)."""

    chance: np.ndarray
    visit: np.ndarray
    amount: np.ndarray
    score: dict[str, np.ndarray]


def pool(customers: int, seed: int) -> Pool:
    """The market's customers as of the cutoff, and each model's scores."""
    labels = Synthetic(customers=customers, categories=OFFERS, items=100, days=120, seed=seed).labels(CUTOFF, HORIZON)
    known = labels.known
    chance = np.clip(labels.probability[known], 1e-6, 1 - 1e-6).astype(np.float32)
    amount = (labels.expected_revenue[known] / chance).astype(np.float32)
    odds, rng = np.log(chance) - np.log1p(-chance), np.random.default_rng(seed)
    noisy = {name: odds + rng.normal(0, size, odds.shape).astype(np.float32) for name, size in NOISE.items()}
    score = {name: (1 / (1 + np.exp(-value))).astype(np.float32) for name, value in noisy.items()}
    return Pool(chance, labels.visit[known].astype(np.float32), amount, score)


def simulated(known: Pool, rows: np.ndarray, rng: np.random.Generator) -> tuple[Labels, dict[str, Prediction]]:
    """The outcomes of the customers `rows` in one simulation of the two weeks, and the models' predictions."""
    chance = known.chance[rows]
    visit = np.maximum(known.visit[rows], chance.max(axis=1))[:, None]  # no purchase is likelier than a visit
    came = rng.random(visit.shape, np.float32) < visit
    bought = came & (rng.random(chance.shape, np.float32) < chance / visit)
    spent = rng.lognormal(-0.5 * TAIL**2, TAIL, chance.shape) * known.amount[rows]
    names = np.array([f"offer {m}" for m in range(OFFERS)])
    everyone = {"all": np.ones_like(bought)}
    labels = Labels(CUTOFF, np.arange(rows.size), names, bought, np.where(bought, spent, 0.0), everyone)
    return labels, {name: Prediction(s[rows], s[rows] * known.amount[rows]) for name, s in known.score.items()}


def metric_tables(labels: Labels, predictions: dict[str, Prediction], weight: np.ndarray) -> dict[str, MetricTable]:
    context = eval_context(labels, weight, 0.1)
    return {name: metric_table(context, prediction, MEASURED) for name, prediction in predictions.items()}


def difference(tables: dict[str, MetricTable], model: str, metric: str) -> np.ndarray:
    values: np.ndarray = tables["network"]["all"][metric] - tables[model]["all"][metric]
    return values


def run(draws: int, customers: int, size: int, resamples: int, seed: int, times: int = 3) -> dict[str, Any]:
    """For each model and metric: coverage and width of the interval, and how often each verdict is arguments."""
    began, known, rng = time.process_time(), pool(size, seed), np.random.default_rng((seed, 1))
    everyone, ones = np.arange(known.visit.size), np.ones((known.visit.size, 1), np.uint8)
    whole = [metric_tables(*simulated(known, everyone, rng), ones) for _ in range(times)]
    models = [name for name in NOISE if name != "network"]
    truth = {(n, m): float(np.mean([difference(t, n, m)[0] for t in whole])) for n in models for m in NAMES}
    del whole
    (weight,) = resample_weights([np.arange(customers)], resamples, seed=17)
    rows: dict[tuple[str, str], list[tuple[float, ...]]] = {key: [] for key in truth}
    verdicts: dict[tuple[str, str], list[str]] = {key: [] for key in truth}
    for draw in range(draws):
        sample = rng.choice(everyone.size, customers, replace=False)
        tables = metric_tables(*simulated(known, sample, rng), weight)
        for key in truth:
            values = difference(tables, *key)
            rows[key].append((*bootstrap_interval(values), minimum_detectable_effect(values)))
            verdicts[key].append(verdict(bootstrap_interval(values)))
        if draw % 20 == 19:
            print(f"{draw + 1} of {draws} draws, {time.process_time() - began:.0f} CPU-seconds", flush=True)
    table = [_summary(*key, truth[key], np.array(rows[key]), verdicts[key]) for key in truth]
    about = {"draws": draws, "customers": customers, "offers": OFFERS, "resamples": resamples, "seed": seed}
    about |= {"pool": int(everyone.size), "times": times, "cpu_seconds": round(time.process_time() - began)}
    return {"about": about, "table": table}


def _summary(model: str, metric: str, truth: float, rows: np.ndarray, verdicts: list[str]) -> dict[str, Any]:
    value, low, high, effect = rows.T
    return {
        "model": model,
        "metric": metric,
        "truth": truth,
        "mean_estimate": float(value.mean()),
        "coverage": float(((low <= truth) & (truth <= high)).mean()),
        "median_width": float(np.median(high - low)),
        "sd_of_estimates": float(value.std(ddof=1)) if value.size > 1 else None,
        "median_minimum_detectable_effect": float(np.median(effect)),
        **{word: verdicts.count(word) / len(verdicts) for word in ("win", "tie", "loss")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("draws", 400), ("customers", 50_000), ("pool", 2_000_000), ("resamples", 200), ("seed", 17)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", default="experiments/interval_coverage.json")
    arguments = parser.parse_args()
    result = run(arguments.draws, arguments.customers, arguments.pool, arguments.resamples, arguments.seed)
    with whole_file(Path(arguments.out)) as draft:
        draft.write_text(json.dumps(result, indent=1) + "\n")
    for row in result["table"]:
        print(
            f"network minus {row['model']:<6} {row['metric']:<24} truth {row['truth']:+.4f} coverage "
            f"{100 * row['coverage']:.1f} %  width {row['median_width']:.4f}  decided {100 * (1 - row['tie']):.1f} %"
        )


if __name__ == "__main__":
    main()
