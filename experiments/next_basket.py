"""Tables of the next-basket benchmark of Ta-Feng: `python experiments/next_basket.py <folder> <raw> <out> [seed ...]`.

`<folder>` holds events, requests and truth of the benchmark (`build.py`), `<raw>` the raw table of Ta-Feng. Writes to
`<out>` for each seed
  events_<seed>.parquet      the events before every target, and the target baskets of the training customers
  train_<seed>.parquet       requests: every visit of these events from FIRST on and before SINCE
  test_<seed>.parquet        requests: test customers whose target is on or after SINCE, at the day of the target
  val_<seed>.parquet         the same of validation customers
  previous_<seed>.parquet    the test requests on the previous-visit clock: at the day after the customer's last visit
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

FIRST, SINCE = date(2000, 12, 3), date(2001, 2, 15)


def lines(raw: Path) -> pl.DataFrame:
    """One row for each customer, day and product of the raw table."""
    table = pl.read_parquet(raw)
    keys = "customer_id", pl.col("transaction_dt").alias("date"), pl.col("product_id").alias("offer_id")
    return table.group_by(*keys).agg(
        pl.col("product_subclass").first(),
        pl.col("amount").sum().alias("quantity"),
        pl.col("sales_price").sum().alias("revenue"),
    )


def write(folder: Path, raw: Path, out: Path, seed: int) -> None:
    """Write the tables of one split."""
    events, requests = pl.read_parquet(folder / "events.parquet"), pl.read_parquet(folder / "requests.parquet")
    truth, part = pl.read_parquet(folder / "truth.parquet"), pl.col(f"split_{seed}")
    trained = requests.filter(part == "train").select("customer_id", date="as_of")
    targets = truth.join(trained, on="customer_id").join(lines(raw), on=["customer_id", "date", "offer_id"])
    known = pl.concat([events, targets.select(events.columns).cast(dict(events.schema))])
    known.sort("customer_id", "date", "offer_id").write_parquet(out / f"events_{seed}.parquet")
    visits = known.select("customer_id", cutoff="date").unique().sort("cutoff", "customer_id")
    window = pl.col("cutoff").is_between(FIRST, SINCE, closed="left")
    visits.filter(window).write_parquet(out / f"train_{seed}.parquet")
    last = events.group_by("customer_id").agg(pl.col("date").max().dt.offset_by("1d").alias("cutoff"))
    for name in ("test", "val"):
        chosen = requests.filter(part == name, pl.col("as_of") >= SINCE).select("customer_id", cutoff="as_of")
        chosen.write_parquet(out / f"{name}_{seed}.parquet")
        if name == "test":
            last.join(chosen, on="customer_id", how="semi").write_parquet(out / f"previous_{seed}.parquet")


def main(folder: str, raw: str, out: str, seeds: Sequence[str]) -> None:
    Path(out).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        write(Path(folder), Path(raw), Path(out), int(seed))


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:] or ["0"])
