"""CPU-seconds of new offers: `python benchmarks/new_offers.py BUNDLE LOG [--before=FOLDER]`.

Customers of the log are copied, each copy moved by up to three weeks and without a tenth of its events, until there
are enough. With `--before`, the sources of another commit (a folder `propensity`) are timed in turns with these in one
process, and their scores are compared. `--scored` scores a part of the customers and scales their seconds; statistics
are always those of the whole log.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")

SEED, SHIFT, DROPPED, TOLERANCE = 19, 21, 0.1, 1e-6
VALUES = 8  # of the column in an offer, at most


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/new_offers.py", description=__doc__)
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument("log", type=Path, help="folder of an event log")
    parser.add_argument("--cutoff", default="2017-10-16")
    parser.add_argument("--column", default="product_category", help="item column whose values make the offers")
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--scored", type=int, help="customers that are scored; default: all")
    parser.add_argument("--offers", type=int, default=50)
    parser.add_argument("--before", type=Path, help="folder `propensity` of the sources to compare with")
    chosen = parser.parse_args(arguments)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.features import renamed

    with tempfile.TemporaryDirectory() as temporary:
        if chosen.before:
            os.environ["NUMBA_CACHE_DIR"] = temporary  # types of one version would enter the cache of the other
        packages = ([renamed(chosen.before, Path(temporary))] if chosen.before else []) + ["propensity"]
        versions = [Version(package, chosen) for package in packages]
        for version in versions:
            version.warm()
        scores = [version.score() for version in versions]
    print(f"{versions[0].customers:,} customers, {chosen.offers} offers, {versions[0].scored:,} customers scored")
    print("| sources | statistics, s | a customer, ms | an offer per 100,000 customers, s |\n|---|---:|---:|---:|")
    for version in versions:
        print(f"| {version.package} | {version.fixed:.1f} | {1e3 * version.rate:.3f} | {version.per_offer:.2f} |")
    if len(scores) > 1:
        difference = max(float(abs(one - other).max()) for one, other in zip(*scores, strict=True))
        print(f"largest difference of probabilities: {difference:.1e}")
        assert difference <= TOLERANCE, "the sources differ in their scores"


class Version:
    """One version of the sources with a bundle, an enlarged log and offers."""

    def __init__(self, package: str, chosen: argparse.Namespace) -> None:
        def of(module: str, name: str) -> Any:
            return getattr(importlib.import_module(f"{package}.{module}"), name)

        self.package, self.chosen = package, chosen
        bundle = of("serving.bundle", "open_bundle")(chosen.bundle)
        self.model = of("serving.score_offers", "model_of_bundle")(bundle)
        module = importlib.import_module(f"{package}.serving.new_offers")
        self.market, self.score_new, self.sample = module.Market, module.score_new_offers, module.SAMPLE
        log = of("data.event_log", "EventLog").open(chosen.log)
        self.day = of("data.event_log", "to_day")(chosen.cutoff)
        self.cutoff = of("data.cutoff", "Cutoff")(self.day, bundle.task.horizon)
        self.small = log.before(self.day)
        self.past = enlarged(self.small, -(-chosen.customers // len(log)))
        self.offers = of("serving.offer_definition", "named_offers")(self.past, definitions(log, chosen), self.day)
        self.blocks, self.scored = [0.0, 0.0], 0
        self.customers = self.fixed = self.rate = self.per_offer = 0.0

    def warm(self) -> None:
        """Compile the kernels on the log as it is."""
        import numpy as np

        two = self.offers.take(np.arange(2))
        self.score_new(self.market(self.model, self.small, self.cutoff, self.sample), two)

    def score(self) -> tuple[Any, ...]:
        """Score the offers, and note the seconds."""
        whole = self.market._blocks

        def timed(market: Any, features: Any, stats: Any, rows: Any, offers: int) -> Any:
            start = time.process_time()
            result = whole(market, features, stats, rows, offers)
            self.blocks[0] += time.process_time() - start
            self.blocks[1] += rows.size
            return result

        self.market._blocks = timed
        start = time.process_time()
        market = self.market(self.model, self.past, self.cutoff, self.sample)
        self.customers = market.rows.size
        market.rows = market.rows[: self.chosen.scored]
        probability, _ = self.score_new(market, self.offers)
        seconds, self.market._blocks = time.process_time() - start, whole
        self.scored, self.rate = len(probability), self.blocks[0] / self.blocks[1]
        self.fixed = seconds - self.rate * self.scored
        total = self.fixed + self.rate * self.customers
        self.per_offer = total / len(self.offers) * 1e5 / self.customers
        return (probability,)


def definitions(log: Any, chosen: argparse.Namespace) -> dict[str, str]:
    """Random unions of values of a column, drawn by their number of events."""
    import numpy as np

    rng, values = np.random.default_rng(SEED), log.items[chosen.column]
    weight = np.bincount(log.item[log.item >= 0], minlength=log.items.height) * values.is_not_null().to_numpy()
    offers = {}
    for k in range(chosen.offers):
        items = rng.choice(weight.size, rng.integers(1, VALUES + 1), p=weight / weight.sum())
        texts = sorted({str(values[int(item)]).replace("'", "''") for item in items})
        quoted = ", ".join(f"'{text}'" for text in texts)
        offers[f"offer {k:02d}"] = f"{chosen.column} IN ({quoted})"
    return offers


def enlarged(log: Any, times: int) -> Any:
    """A log with copies of every customer, in memory."""
    import numpy as np
    import polars as pl

    rng, customers, owner = np.random.default_rng(SEED), len(log), np.repeat(np.arange(len(log)), np.diff(log.offsets))
    kept = [rng.random(log.day.size) >= DROPPED for _ in range(times)]
    moved = [rng.integers(0, SHIFT + 1, customers).astype(np.int32)[owner] for _ in range(times)]
    sizes = np.concatenate([np.bincount(owner[each], minlength=customers) for each in kept])
    columns = {
        name: np.concatenate([getattr(log, name)[each] for each in kept])
        for name in ("item", "kind", "channel", "order", "quantity", "revenue", "discount")
    }
    day = np.concatenate([(log.day - back)[each] for each, back in zip(kept, moved, strict=True)])
    copies = [pl.format("{}-{}", pl.col("customer"), pl.lit(k)).alias("customer") for k in range(times)]
    ids = pl.concat([log.customers.with_columns(each) for each in copies])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return replace(log, offsets=offsets, day=day, customers=ids, contacts=None, engagement=None, **columns)


if __name__ == "__main__":
    main()
