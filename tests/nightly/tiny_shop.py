"""A tiny shop with a history, deliveries of single days, and a training of two steps."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from propensity.config import NightlyConfig
from propensity.ingest.source.synthetic import Synthetic
from propensity.nightly.run import Outcome, nightly

FIRST = date(2024, 2, 20)  # day of the first single delivery; the history ends on the day before
TIMES = ("times.jsonl", "audit.jsonl", "audit.head", "audit.key")
SETTINGS: dict[str, Any] = {
    "deliveries": {"files": "deliveries/sales-{date}.csv"},
    "data": {
        "data/source": "table",
        **{
            f"data.source.columns.{name}": column
            for name, column in {"customer": "card", "day": "day", "item": "sku", "revenue": "paid"}.items()
        },
        "data.source.item_columns": ["category"],
    },
    "train": {
        "data.offer.column": "category", "data.offer.min_buyers": 2, "data.horizon": 5, "trainer.max_steps": 2,
        "trainer.max_epochs": 1, "training.pairs_per_batch": 256, "model.width": 8, "training.validation": None,
        "champion": "network", "data.cutoff.count": 2,
    },
    "retrain": {"age": 5},
    "promote": {"resamples": 20},
    "bundle": False,
    "decisions": {
        "best": {"decision": "audience", "list": "csv", "decision.size": 5, "offers": ["category_000", "category_001"]},
    },
}  # fmt: skip


def sales() -> pl.DataFrame:
    """Purchases of a simulated market over two months."""
    tables = Synthetic(customers=60, items=12, categories=3, days=70, start="2024-01-01").load()
    assert tables.items is not None
    bought = tables.events.filter(pl.col("kind") == "purchase").join(tables.items, on="item", how="left")
    frame = bought.select(card="customer", day="day", sku="item", paid="revenue", category="category").collect()
    return frame.with_columns(pl.col("day").cast(pl.Date)).sort("day", "card", "sku")


def make_shop(folder: Path, **changes: Any) -> Path:
    """Writes shop.yaml and the history; returns the file."""
    (folder / "deliveries").mkdir(parents=True)
    table = sales()
    name = f"sales-{FIRST - timedelta(1)}.csv"
    table.filter(pl.col("day") < FIRST).write_csv(folder / "deliveries" / name)
    file = folder / "shop.yaml"
    file.write_text(yaml.safe_dump(SETTINGS | changes, sort_keys=False))
    return file


def deliver(shop: Path, number: int, name: str | None = None) -> Path:
    """Writes the delivery of a day, counted from `FIRST`; returns the file."""
    day = FIRST + timedelta(number)
    file = shop.parent / "deliveries" / (name or f"sales-{day}.csv")
    sales().filter(pl.col("day") == day).write_csv(file)
    return file


def night(number: int) -> str:
    """The night after the day of a delivery."""
    return (FIRST + timedelta(number + 1)).isoformat()


def run(shop: Path, number: int, said: list[str] | None = None) -> Outcome:
    """Does the night after the day of a delivery."""
    return nightly(NightlyConfig(shop=str(shop), date=night(number)), (said if said is not None else []).append)


def tree(state: Path) -> dict[str, str]:
    """Hash of every file of a state folder, without locks and the records of times."""
    files = [each for each in state.rglob("*") if each.is_file() and each.name not in TIMES]
    shown = [each for each in files if not any(part.startswith(".") for part in each.relative_to(state).parts)]
    return {each.relative_to(state).as_posix(): hashlib.sha256(each.read_bytes()).hexdigest() for each in shown}
