"""Cost of a run on requests by customers and products, on a market that is made up.

    python experiments/catalogue_size.py <out> [products x customers ...]

For each size: a log of 90 days, in which a customer makes `BASKETS` baskets of `LINES` products on average, a third of
them products that he bought before and the rest by a popularity of the power law; a training on 5,000 visits of the
last weeks; and the best 50 offers of 1,000 and of 5,000 customers, so that what a customer costs is told apart from
what a cutoff costs. Prints CPU-seconds and peak memory of each command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from catalogue_cost import cost

START, DAYS, BASKETS, LINES = date(2024, 1, 1), 90, 8, 4
TRAINED, SCORED = 5_000, (1_000, 5_000)
POWER = 0.8  # popularity of the product at rank r is r to the power of minus this


def made_up(products: int, customers: int, seed: int = 0) -> pl.DataFrame:
    """Lines of a market: customer, day, product, quantity and revenue."""
    random = np.random.default_rng(seed)
    baskets = random.poisson(BASKETS - 1, customers) + 1
    customer = np.repeat(np.arange(customers), baskets)
    day = random.integers(0, DAYS, customer.size)
    lines = random.poisson(LINES - 1, customer.size) + 1
    customer, day = np.repeat(customer, lines), np.repeat(day, lines)
    chance = np.cumsum(np.arange(1, products + 1) ** -POWER)
    product = np.searchsorted(chance, random.random(customer.size) * chance[-1])
    start = np.searchsorted(customer, np.arange(customers))
    again = np.flatnonzero(random.random(customer.size) < 1 / 3)
    earlier = start[customer[again]] + (random.random(again.size) * (again - start[customer[again]])).astype(int)
    product[again] = product[earlier]
    return pl.DataFrame({
        "customer": customer, "day": pl.Series(day, dtype=pl.Int32) + (START - date(1970, 1, 1)).days, "item": product,
        "category": product % 1_000, "quantity": np.ones(customer.size), "revenue": 1.0 + product % 7,
    }).with_columns(pl.col("day").cast(pl.Int32).cast(pl.Date))  # fmt: skip


def main(folder: str, sizes: Sequence[str]) -> None:
    out, end = Path(folder), START + timedelta(days=DAYS - 7)
    out.mkdir(parents=True, exist_ok=True)
    print(
        "| products | customers | lines | training CPU-s | GiB | 1,000 customers CPU-s | 5,000 customers CPU-s | GiB |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for size in sizes:
        products, customers = map(int, size.split("x"))
        log, run, lines = out / f"log_{size}", out / f"run_{size}", made_up(products, customers)
        lines.write_parquet(out / "lines.parquet")
        names = [f"data.source.columns.{name}={name}" for name in ("customer", "day", "item", "quantity", "revenue")]
        source = [f"data.source.events={out / 'lines.parquet'}", *names, "data.source.item_columns=[category]"]
        cost("prepare", "data/source=table", *source, f"out={log}")
        visits = lines.select(customer_id="customer", cutoff="day").unique().sort("cutoff", "customer_id")
        recent = visits.filter(pl.col("cutoff").is_between(end - timedelta(days=7), end, closed="left"))
        recent.sample(min(TRAINED, recent.height), seed=0).write_parquet(out / "train.parquet")
        learn = [
            "data.offer.column=item",
            "data.horizon=1",
            f"data.requests={out / 'train.parquet'}",
            f"data.end={end}",
        ]
        learn += ["data.catalogue.pairs=100000", "data.catalogue.members=1", "champion=network"]
        trained = cost("train", f"data.log={log}", *learn, f"out={run}")
        scored = []
        for number in SCORED:
            asked = pl.DataFrame({"customer_id": np.arange(number) * (customers // number)}).with_columns(cutoff=end)
            asked.write_parquet(out / "asked.parquet")
            words = [f"requests={out / 'asked.parquet'}", "top_per_customer=50", f"out={out / 'scores.parquet'}"]
            scored.append(cost("score", f"run={run}", *words))
        (few, _, _), (many, _, memory) = scored
        print(
            f"| {products:,} | {customers:,} | {lines.height:,} | {trained[0]:.0f} | {trained[2]:.2f} | {few:.0f} | "
            f"{many:.0f} | {memory:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or ["2000x10000", "10000x30000", "50000x100000"])
