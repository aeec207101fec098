"""Seconds of the inputs and market statistics of one cutoff: `python benchmarks/features.py LOG [--before=FOLDER]`.

With `--before`, the sources of another commit (a folder `propensity`) are timed in turns with these. Both are imported
into one process, the other ones under another name.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")

HORIZON, STEP, REFERENCES, ROUNDS, BLOCK = 14, 7, 8, 5, 512
OTHER = "propensity_before"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/features.py", description=__doc__)
    parser.add_argument("log", type=Path, help="folder of an event log")
    parser.add_argument("--before", type=Path, help="folder `propensity` of the sources to compare with")
    parser.add_argument("--column", default="product_category", help="item column of the offers")
    parser.add_argument("--end", default="2017-10-02", help="the last cutoff")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        if chosen.before:
            os.environ["NUMBA_CACHE_DIR"] = temporary  # types of one version would enter the cache of the other
        packages = ["propensity"] + ([renamed(chosen.before, Path(temporary))] if chosen.before else [])
        versions = {package: Version(package, chosen) for package in packages}
        seconds: dict[tuple[str, str], list[float]] = {}
        for k in range(ROUNDS + 1):  # the first round compiles
            for package in packages if k % 2 else packages[::-1]:
                for what, call in versions[package].round(k).items():
                    start = time.process_time()
                    call()
                    seconds.setdefault((what, package), []).extend([time.process_time() - start] * (k > 0))
    import numpy as np

    print("| CPU-seconds of one cutoff | " + " | ".join(packages) + " |\n|---|" + "---:|" * len(packages))
    for what in dict.fromkeys(what for what, _ in seconds):
        row = [f"{np.median(seconds[what, p]):.3f} [{min(seconds[what, p]):.3f}]" for p in packages]
        print(f"| {what} | " + " | ".join(row) + " |")
    print("customers x offers:", *(f"{v.rows.size:,} x {len(v.offers)}" for v in versions.values()))


def renamed(source: Path, folder: Path) -> str:
    """A copy of a package under the name `OTHER`, which Python finds from now on."""
    shutil.copytree(source, folder / OTHER, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder / OTHER).rglob("*.py"):
        path.write_text(re.sub(r"(from|import) propensity(?=[. ])", rf"\1 {OTHER}", path.read_text()))
    sys.path.insert(0, str(folder))
    return OTHER


class Version:
    """One version of the sources, with the log's customers and offers at its last cutoffs."""

    def __init__(self, package: str, chosen: argparse.Namespace) -> None:
        import numpy as np

        def of(module: str, name: str) -> Any:
            return getattr(importlib.import_module(f"{package}.{module}"), name)

        self.cutoff_of, self.log = of("data.cutoff", "Cutoff"), of("data.event_log", "EventLog").open(chosen.log)
        config = of("data.offer.column", "ColumnOffers")(column=chosen.column, min_buyers=50)
        self.start = of("data.event_log", "to_day")(chosen.end) - STEP * ROUNDS
        past = self.log.before(self.start)
        vocabulary = of("data.vocabulary", "Vocabulary").fit(past, config, self.start)
        offers = of("data.offer", "offers_before")(past, config, self.start)
        self.offers = offers.take(np.flatnonzero(np.isin(offers.name, vocabulary.offers)))
        settings = of("feature.features", "FeatureConfig")()
        self.features = of("feature.features", "Features")(self.log, self.offers, vocabulary, settings)
        stats = of("feature.market_stats", "MarketStatsConfig")(references=REFERENCES, step=STEP)
        self.builder = of("feature.market_stats", "MarketStatsBuilder")(self.log, self.offers, HORIZON, stats)
        days = range(self.start - STEP * (REFERENCES + 2), self.start + STEP * (ROUNDS + 1), STEP)
        self.builder.prefetch(days)
        for day in days[: REFERENCES + 2]:
            self.builder.moments_at(day)
        self.rows = self.log.purchasers(self.start)
        self.stats: Any = None

    def round(self, k: int) -> dict[str, Callable[[], None]]:
        """What is timed, at the k-th cutoff: its sums are new, those of earlier cutoffs are kept."""
        cutoff = self.cutoff_of(self.start + STEP * k, HORIZON)

        def statistics() -> None:
            self.stats = self.builder.at(cutoff)

        def inputs() -> None:
            for start in range(0, self.rows.size, BLOCK):
                self.features.inputs(self.stats, self.rows[start : start + BLOCK])

        return {"market statistics": statistics, "inputs": inputs}


if __name__ == "__main__":
    main()
