"""Cost of a run on requests by the size of the catalogue.

    python experiments/catalogue_cost.py <raw> <out> [products ...]

`<raw>` is the raw table of Ta-Feng. For each number of products: the log of the best-selling ones with all customers, a
training on the visits of two weeks, and the best 50 offers of every customer. Prints CPU-seconds and peak memory of
each command, without the preparation.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

FIRST, END = date(2001, 2, 1), date(2001, 2, 15)
COLUMNS = {"customer": "customer_id", "day": "transaction_dt", "item": "product_id", "quantity": "amount"}


def tables(raw: Path, out: Path, products: int) -> tuple[Path, int]:
    """Write the lines of the best-selling products, and a training request for each visit of two weeks."""
    lines = pl.read_parquet(raw)
    best = lines["product_id"].value_counts(sort=True).sort("count", "product_id", descending=[True, False])
    lines = lines.join(best.head(products).select("product_id"), on="product_id", how="semi")
    lines.write_parquet(out / f"lines_{products}.parquet")
    visits = lines.select("customer_id", cutoff="transaction_dt").unique().sort("cutoff", "customer_id")
    visits.filter(pl.col("cutoff").is_between(FIRST, END, closed="left")).write_parquet(
        out / f"visits_{products}.parquet"
    )
    before = lines.filter(pl.col("transaction_dt") < END)
    return out / f"lines_{products}.parquet", before.select("customer_id", "product_id").n_unique()


def cost(*words: str) -> tuple[float, float, float]:
    """CPU-seconds, seconds and peak memory in GiB of a command in a process of its own."""
    program = (
        "import sys, resource; from propensity.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)"
    )
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, time.perf_counter() - start, float(done.stdout.split("peak")[-1])


def main(raw: str, folder: str, products: Sequence[str]) -> None:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    print("| products | pairs with a past | training CPU-s | training GiB | scoring CPU-s | scoring GiB |")
    print("|---:|---:|---:|---:|---:|---:|")
    for each in map(int, products):
        lines, past = tables(Path(raw), out, each)
        named = [f"data.source.columns.{name}={column}" for name, column in COLUMNS.items()]
        source = [f"data.source.events={lines}", "data.source.columns.revenue=sales_price", *named]
        groups = "data.source.item_columns=[product_subclass]"
        log, run, end = out / f"log_{each}", out / f"run_{each}", f"data.end={END}"
        cost("prepare", "data/source=table", *source, groups, f"out={log}")
        learn = ["data.offer.column=item", "data.horizon=1", f"data.requests={out / f'visits_{each}.parquet'}", end]
        learn += ["data.catalogue.pairs=200000", "champion=network"]
        trained = cost("train", f"data.log={log}", *learn, f"out={run}")
        top = [f"cutoff={END}", "top_per_customer=50", f"out={out / f'scores_{each}.parquet'}"]
        scored = cost("score", f"run={run}", *top)
        print(
            f"| {each:,} | {past:,} | {trained[0]:.0f} | {trained[2]:.2f} | {scored[0]:.0f} | {scored[2]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:] or ["250", "1000", "4000", "12000"])
