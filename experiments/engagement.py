"""What does the group `engagement` add where views and carts precede purchases, and where they mean nothing?

    python experiments/engagement.py runs/engagement [--preceding=.3] [--steps=200]

A synthetic market in which a share of the purchases have a view or a cart of the same item one to six days earlier,
beside as many of random customers and items; and the same market with the customers of all of them permuted. Each is
trained with and without the group, with one seed, and evaluated at two cutoffs after training.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import propensity as pp
from propensity.feature.column import DEFAULT_GROUPS
from propensity.feature.engagement import ENGAGEMENT
from propensity.ingest.build import prepare
from propensity.ingest.source import Tables
from propensity.ingest.source.synthetic import Synthetic

MARKET = Synthetic(customers=1_000, items=60, categories=12, days=330, order_effect=0.0)
CUTOFFS, HORIZON, SEED = ("2024-10-14", "2024-11-04"), 7, 19


@dataclass
class Browsing(Synthetic):
    """The market with views and carts before a share of the purchases, and as many at random.

    Parameters
    ----------
    preceding : float
        Share of the purchases with one.
    related : bool
        Whether they are of the customers who buy; false permutes the customers.
    """

    preceding: float = 0.3
    related: bool = True

    def load(self) -> Tables:
        """The tables of the market."""
        tables, rng = super().load(), np.random.default_rng(SEED)
        events = tables.events.collect()
        sales = events.filter(pl.col("kind") == "purchase")
        own = sales.sample(fraction=self.preceding, seed=SEED)
        noise = sales.sample(own.height, seed=SEED + 1).with_columns(pl.col("customer", "item").shuffle(seed=SEED + 2))
        shown = pl.concat([own, noise])
        shown = shown.with_columns(
            pl.col("day") - pl.duration(days=pl.Series(rng.integers(1, 7, shown.height))),
            pl.Series("kind", rng.choice(["view", "cart"], shown.height)),
            *(pl.lit(0.0).cast(shown.schema[name]).alias(name) for name in ("quantity", "revenue", "discount")),
            *(pl.lit(None).cast(shown.schema[name]).alias(name) for name in ("order",) if name in shown.columns),
        )
        if not self.related:
            shown = shown.with_columns(pl.col("customer").shuffle(seed=SEED + 3))
        columns = pl.concat([events, shown.select(events.columns)])
        return tables._replace(events=columns.lazy(), read=None)


def figures(
    folder: Path, related: bool, groups: tuple[str, ...], name: str, chosen: argparse.Namespace
) -> dict[str, Any]:
    """Metrics of one run, and the CPU-seconds of its training and evaluation."""
    place, start = folder / ("related" if related else "permuted"), time.process_time()
    if not (place / "log").is_dir():
        fields = {each: getattr(MARKET, each) for each in MARKET.__dataclass_fields__}
        prepare(Browsing(**fields, preceding=chosen.preceding, related=related), place / "log")
    settings: dict[str, Any] = {
        "data.feature.groups": list(groups),
        "trainer.max_steps": chosen.steps,
        "baselines": ["lightgbm"],
    }
    settings |= {"trainer.enable_progress_bar": False, "seed": SEED}
    run = place / name
    pp.fit(str(place / "log"), offer="category", horizon=HORIZON, end=CUTOFFS[0], out=str(run), settings=settings)
    pp.load(str(run)).evaluate(list(CUTOFFS), baselines=["lightgbm"], resamples=50)
    return json.loads((run / "metrics.json").read_text()) | {"seconds": time.process_time() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preceding", type=float, default=0.3)
    parser.add_argument("--steps", type=int, default=200)
    chosen = parser.parse_args()
    print("| market | group | model | AUC | never-bought | log loss | CPU-s |\n|---|---|---|---:|---:|---:|---:|")
    for related in (True, False):
        for name, groups in (("without", DEFAULT_GROUPS), ("with", (*DEFAULT_GROUPS, ENGAGEMENT))):
            metrics = figures(chosen.folder, related, groups, name, chosen)
            for model, each in metrics["models"].items():
                mean, market = each["mean"], "related" if related else "permuted"
                cells = [cell(mean["all"], "auc"), cell(mean["never-bought"], "auc"), cell(mean["all"], "log_loss")]
                print(f"| {market} | {name} | {model} | {' | '.join(cells)} | {metrics['seconds']:.0f} |", flush=True)


def cell(slice_: dict[str, Any], metric: str) -> str:
    """A metric with its interval."""
    found = slice_.get(metric)
    return "" if not found else f"{found['value']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"


if __name__ == "__main__":
    main()
