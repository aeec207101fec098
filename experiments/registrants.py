"""First purchases on a synthetic market with registrants.

    python experiments/registrants.py runs/registrants
    python experiments/registrants.py runs/registrants_large --customers=3000 --registrants=10000 --steps=0

Prepares a market, trains a run with the columns of registrants or, with `--without`, one without them, evaluates it at
two cutoffs after training, and prints AUC and expected over observed purchases of customers without a purchase, for
all models, beside the AUC of the true probabilities.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import propensity as pp
from propensity.data.event_log import EventLog, to_day
from propensity.data.registrant import registrants
from propensity.ingest.build import prepare
from propensity.ingest.source.synthetic import Synthetic
from propensity.kernel.event import PURCHASE
from propensity.metric.ranking import auc
from propensity.metric.slice import NO_PURCHASE

CUTOFFS, HORIZON = ("2024-12-01", "2025-01-05"), 14
WITHOUT = ["expect", "renewal", "units", "affinity", "neighbours", "behaviour", "attributes"]


def first_purchases(market: Synthetic, log: EventLog, scores: pl.DataFrame, cutoff: str) -> dict[str, float]:
    """AUC of the expected number of purchases, and of the truth, for a first purchase of anything."""
    day, own = to_day(cutoff), scores.filter(pl.col("cutoff").cast(pl.String) == cutoff)
    expected = own.group_by("customer_id").agg(pl.col("score").sum())
    log_rows = registrants(log, day)
    event = np.flatnonzero((log.kind == PURCHASE) & (log.day >= day) & (log.day < day + HORIZON))
    buyers = np.unique(log.owner(event))
    table = pl.DataFrame({"customer_id": log.customer_id[log_rows], "bought": np.isin(log_rows, buyers)})
    table = table.join(expected, on="customer_id")
    truth = market.first_purchases(cutoff, HORIZON)
    known = table.join(pl.DataFrame({"customer_id": truth.customer, "truth": truth.probability}), on="customer_id")
    return {
        "customers without a purchase": table.height,
        "first purchases": int(table["bought"].sum()),
        "AUC": auc(table["score"].to_numpy(), table["bought"].to_numpy()),
        "registered": known.height,
        "first purchases of the registered": int(known["bought"].sum()),
        "AUC of the registered": auc(known["score"].to_numpy(), known["bought"].to_numpy()),
        "AUC of the truth": auc(known["truth"].to_numpy(), known["bought"].to_numpy()),
    }


def main(folder: Path, market: Synthetic, steps: int, without: bool) -> None:
    """Print the figures of one run."""
    log = EventLog.open(folder / "log") if (folder / "log").is_dir() else prepare(market, folder / "log")
    run = folder / ("without" if without else "run")
    settings: dict[str, Any] = {"data.offer.min_buyers": 5, "trainer.enable_progress_bar": False}
    settings |= {"trainer.max_steps": steps, "baselines": ["lightgbm"]} if steps else {}
    settings |= {"data.feature.groups": WITHOUT} if without else {}
    if not (run / "model.ckpt").is_file():
        pp.fit(str(folder / "log"), offer="category", horizon=HORIZON, end=CUTOFFS[0], out=str(run), settings=settings)
    if not (run / "metrics.json").is_file():
        pp.load(str(run)).evaluate(list(CUTOFFS), baselines=["lightgbm"], resamples=50)
    metrics = json.loads((run / "metrics.json").read_text())
    for name, model in metrics["models"].items():
        cell, ratio = model["mean"][NO_PURCHASE]["auc"], metrics["expected_over_observed"][name]["purchases"]
        slice_ = ratio["slices"][NO_PURCHASE]
        print(
            f"{name}: AUC by offer {cell['value']:.4f} [{cell['low']:.4f}, {cell['high']:.4f}], expected / observed "
            f"{slice_['value']:.3f} [{slice_['low']:.3f}, {slice_['high']:.3f}] of {slice_['observed']:.0f} purchases, "
            f"all pairs {ratio['value']:.3f}"
        )
    for file in ("scores", "network", "lightgbm"):
        if (run / f"{file}.parquet").is_file():
            scores = pl.read_parquet(run / f"{file}.parquet")
            for cutoff in CUTOFFS:
                figures = first_purchases(market, log, scores, cutoff)
                print(file, cutoff, {name: round(value, 4) for name, value in figures.items()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--customers", type=int, default=600)
    parser.add_argument("--registrants", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=60, help="of the network; 0: the length follows from the data")
    parser.add_argument("--without", action="store_true", help="without the columns of registrants")
    chosen = parser.parse_args()
    sizes = {"customers": chosen.customers, "registrants": chosen.registrants}
    main(chosen.folder, Synthetic(items=60, categories=12, days=400, **sizes), chosen.steps, chosen.without)
