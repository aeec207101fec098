"""Is a training that starts from the last network as good as one from scratch, and what does it cost?

    propensity prepare data/source=complete_journey 'data.source.not_products=[]' out=data/complete_journey
    python experiments/warm.py sample data/complete_journey data/warm 0.15
    propensity prepare data/source=synthetic data.source.start=2017-01-01 data.source.days=270 \\
        data.source.customers=600 data.source.items=200 data.source.categories=20 out=data/warm_market
    python experiments/warm.py choose data/warm runs/warm
    python experiments/warm.py judge data/warm runs/warm 0.4 0.33 1
    python experiments/warm.py judge data/warm_market runs/warm_market 0.4 0.33 1

`sample` writes the log of a share of the customers. `choose` compares rules at 2017-07-10, with labels up to
2017-07-23. `judge` uses one rule every 28 days, each time from the model before, and compares it with a training from
scratch at 2017-08-07 and 2017-09-04. A rule is the share of the passes of the first training, that of the learning
rate, and the older training cutoffs for each new one. All candidates are fitted; the served model is compared. Each
training is a process of its own, whose CPU-seconds are given with and without start and imports. Runs that are finished
are not trained again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from propensity.command import configuration
from propensity.data.event_log import EventLog, to_day
from propensity.nightly.challenge import compare
from propensity.training import warm
from propensity.training.run import train

FIRST, CHOICE, JUDGED = "2017-06-12", "2017-07-10", ("2017-08-07", "2017-09-04")
RULES = ((0.4, 0.33, 1), (0.2, 0.33, 1), (0.4, 1, 1))
OFFERS = ("product_category", "category")
METRICS = ("auc", "log_loss", "normalised_revenue_capture", "ece")
SETTINGS = {
    "data.horizon": 14,
    "trainer.enable_progress_bar": False,
}


def sample(log: str, out: str, share: str) -> None:
    """Write the log of some customers, the same share whatever their number."""
    opened = EventLog.open(log)
    chosen = opened.id_hash() < np.uint64(float(share) * 2**64)
    replace(opened.of_customers(chosen), customers=opened.customers.filter(pl.Series(chosen))).save(out)


def fit(log: str, out: str, end: str, earlier: str = "", share: str = "", rate: str = "", replayed: str = "") -> None:
    """Train one run; with `earlier` from its weights. Writes the CPU-seconds, of the process and without its start."""
    column = next(each for each in OFFERS if each in EventLog.open(log).items.columns)
    settings = SETTINGS | {"data.log": log, "data.offer.column": column, "data.end": end, "out": out}
    if earlier:
        warm.SHARE, warm.RATE, warm.REPLAYED = float(share), float(rate), float(replayed)
        settings |= {"warm": earlier}
    config, start = configuration("train", settings), time.process_time()
    train(config)
    whole = time.process_time()
    (Path(out) / "cpu.json").write_text(json.dumps([whole, whole - start]))


def cost(*arguments: str) -> np.ndarray:
    """CPU-seconds of a training in a process of its own, and without its start; those of the first time."""
    note = Path(arguments[1]) / "cpu.json"
    if not note.is_file():
        subprocess.run([sys.executable, __file__, "train", *arguments], check=True)
    return np.array(json.loads(note.read_text()))


def times(spent: np.ndarray, scratch: np.ndarray) -> str:
    """The cost of a training in words, against one from scratch."""
    (whole, alone), (more, most) = spent, scratch
    start = f"without start and imports {alone:.0f} against {most:.0f}, {most / alone:.1f} x"
    return f"{whole:.0f} CPU-s against {more:.0f}, {more / whole:.1f} x; {start}"


def show(log: str, scratch: Path, other: Path, cutoff: str) -> None:
    """Print the paired differences of a run against one from scratch, on a window after the labels of both."""
    opened = EventLog.open(log).until(to_day(cutoff) + 14)
    result = compare(scratch, other, opened, cutoff, METRICS, 200)
    for name, row in result["metrics"].items():
        print(
            f"  {cutoff} {name}: {row['challenger']:.4f} against {row['live']:.4f}, "
            f"{row['value']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}] {row['verdict']}", flush=True,
        )  # fmt: skip


def choose(log: str, out: Path) -> None:
    """Compare the rules at an early date."""
    cost(log, str(out / "first"), FIRST)
    scratch = cost(log, str(out / f"scratch-{CHOICE}"), CHOICE)
    for rule in RULES:
        words = [str(each) for each in rule]
        place = out / f"warm-{CHOICE}-{'-'.join(words)}"
        spent = cost(log, str(place), CHOICE, str(out / "first"), *words)
        print(f"share {words[0]}, rate {words[1]}, replayed {words[2]}: {times(spent, scratch)}", flush=True)
        show(log, out / f"scratch-{CHOICE}", place, CHOICE)
        print(" and against the model that it started from", flush=True)
        show(log, out / "first", place, CHOICE)


def judge(log: str, out: Path, *rule: str) -> None:
    """Compare one rule at later dates, each time from the model before."""
    earlier = out / f"warm-{CHOICE}-{'-'.join(rule)}"
    cost(log, str(out / "first"), FIRST)
    cost(log, str(earlier), CHOICE, str(out / "first"), *rule)
    for end in JUDGED:
        place, scratch = out / f"warm-{end}-{'-'.join(rule)}", out / f"scratch-{end}"
        whole = cost(log, str(scratch), end)
        print(f"{end}: {times(cost(log, str(place), end, str(earlier), *rule), whole)}", flush=True)
        show(log, scratch, place, end)
        earlier = place


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1] == "sample":
        sample(*sys.argv[2:])
    elif sys.argv[1] == "train":
        fit(*sys.argv[2:])
    elif sys.argv[1] == "choose":
        choose(sys.argv[2], Path(sys.argv[3]))
    else:
        judge(sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
