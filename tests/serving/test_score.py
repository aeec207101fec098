"""Scores from a bundle equal those of the checkpoint, also when selected, interrupted or computed on a newer log."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.config import ScoreConfig
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.build import build_log
from propensity.ingest.source import Tables
from propensity.kernel.event import KINDS
from propensity.scores import load_scores
from propensity.serving import batch
from propensity.serving.batch import BatchConfig, BatchResult, score_bundle
from propensity.serving.score import score, uses_bundle
from serving.exported import Exported

SMALL = BatchConfig(part=50)


def run_batch(
    exported: Exported, out: Path, config: BatchConfig = SMALL, log: Path | None = None, day: str = ""
) -> BatchResult:
    folder = str(log or exported.log)
    return score_bundle(exported.bundle, folder, day or exported.cutoff, out, config, lambda text: None)


def table(out: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted(out.glob("part-*.parquet"))])


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def grid(out: Path) -> Any:
    table(out).write_parquet(out / "all.parquet")
    return load_scores(out / "all.parquet")[0]


def test_a_bundle_has_the_scores_of_the_checkpoint(exported: Exported, tmp_path: Path) -> None:
    result = run_batch(exported, tmp_path / "scores")
    expected = score(exported.run, exported.cutoff, tmp_path / "run.parquet", str(exported.log), lambda text: None)
    scores = grid(tmp_path / "scores")
    np.testing.assert_array_equal(scores.customer, expected.customer)
    assert scores.offer == tuple(sorted(expected.offer)) and result.customers == expected.customer.size
    order = np.argsort(expected.offer)
    np.testing.assert_allclose(scores.probability, expected.probability[:, order], atol=1e-5)
    np.testing.assert_allclose(scores.revenue, expected.revenue[:, order], rtol=1e-5, atol=1e-5)
    assert result.rows == scores.probability.size and result.files == len(list((tmp_path / "scores").glob("part-*")))


def test_files_are_identical_for_any_number_of_threads(exported: Exported, tmp_path: Path) -> None:
    run_batch(exported, tmp_path / "one", BatchConfig(part=50, threads=1))
    run_batch(exported, tmp_path / "two", BatchConfig(part=50, threads=2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("selection", [{}, {"top": 20}, {"top_per_customer": 3}], ids=["all", "top", "per customer"])
def test_an_interrupted_run_continues_with_the_same_result(
    exported: Exported, tmp_path: Path, selection: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BatchConfig(part=20, **selection)
    run_batch(exported, tmp_path / "whole", config)
    original, calls = batch.BatchScorer.score_blocks, []

    def failing(self: batch.BatchScorer, part: int) -> Any:
        calls.append(part)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return original(self, part)

    monkeypatch.setattr(batch.BatchScorer, "score_blocks", failing)
    with pytest.raises(KeyboardInterrupt):
        run_batch(exported, tmp_path / "again", config)
    run_batch(exported, tmp_path / "again", config)
    assert calls[9] >= 8  # completed parts are not scored again
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_top_keeps_the_best_customers_of_each_offer(exported: Exported, tmp_path: Path) -> None:
    run_batch(exported, tmp_path / "all")
    result = run_batch(exported, tmp_path / "best", BatchConfig(part=20, top=15))
    scores, best = table(tmp_path / "all"), table(tmp_path / "best")
    assert result.rows == best.height == 15 * scores["offer_id"].n_unique()
    for (name,), part in best.group_by("offer_id", maintain_order=True):
        expected = scores.filter(pl.col("offer_id") == name).sort("score", descending=True)[:15]
        np.testing.assert_allclose(part["score"], expected["score"], rtol=1e-6)
        assert part["score"].is_sorted(descending=True)


def test_top_per_customer_keeps_the_best_offers_of_each_customer(exported: Exported, tmp_path: Path) -> None:
    run_batch(exported, tmp_path / "all")
    run_batch(exported, tmp_path / "best", BatchConfig(part=50, top_per_customer=3))
    expected = (
        table(tmp_path / "all").sort("customer_id", "score", descending=[False, True]).group_by("customer_id").head(3)
    )
    best = table(tmp_path / "best")
    assert best.group_by("customer_id").len()["len"].unique().to_list() == [3]
    assert best.sort("customer_id", "offer_id").equals(expected.select(best.columns).sort("customer_id", "offer_id"))


def test_equal_scores_are_ordered_by_a_hash_and_not_by_the_order_of_blocks() -> None:
    from propensity.serving.top_k import TopK

    random = np.random.default_rng(0)
    score = random.integers(0, 5, (400, 3)).astype(np.float32)
    tie_break = random.permutation(400).astype(np.uint64)
    expected = [np.lexsort((tie_break, -score[:, m]))[:25] for m in range(3)]
    for order in (np.arange(400), random.permutation(400)):
        top_k = TopK(3, 25, tie_break)
        for rows in np.array_split(order, 9):
            top_k.add(rows, score[rows], score[rows] * 2)
        for m in range(3):
            rows, probability, revenue = top_k.top(m)
            np.testing.assert_array_equal(rows, expected[m])
            np.testing.assert_array_equal(revenue, 2 * probability)


def log_with(exported: Exported, out: Path, more: pl.DataFrame) -> Path:
    """The log with additional events."""
    log = EventLog.open(exported.log)
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    names = np.array([*log.meta["channels"], None], object)
    ids = log.items["item"]
    events = pl.DataFrame(
        {
            "customer": log.customers["customer"].gather(owner),
            "day": pl.Series(np.array(log.day)).cast(pl.Int32).cast(pl.Date),
            "item": [None if k < 0 else ids[int(k)] for k in log.item],
            "kind": [KINDS[k] for k in log.kind],
            "channel": pl.Series(names[np.array(log.channel)].tolist(), dtype=pl.String),
            "order": np.array(log.order, np.int64),
            "quantity": np.array(log.quantity, np.float64),
            "revenue": np.array(log.revenue, np.float64),
            "discount": np.array(log.discount, np.float64),
        }
    ).with_columns(order=pl.when(pl.col("order") >= 0).then("order"))
    both = pl.concat([events, more.cast({k: v for k, v in events.schema.items() if k in more.columns})], how="diagonal")
    items = pl.concat([log.items, more.select("item", "category").unique()], how="diagonal").unique(
        "item", keep="first"
    )
    both = both.drop("category", strict=False).with_columns(
        kind=pl.col("kind").fill_null("purchase"), quantity=pl.col("quantity").fill_null(1.0)
    )
    tables = Tables(both.lazy(), items.lazy(), log.customers.lazy(), {}, both.height)
    build_log(tables).save(out)
    return out


@pytest.fixture(scope="module")
def extended(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, pl.DataFrame]:
    """A log with one more day: an existing customer, a new one, a new item of an existing offer, and a new offer."""
    log = EventLog.open(exported.log)
    today, offer = to_date(log.last_day + 1), log.items["category"].drop_nulls()[0]
    dtype = log.customers.schema["customer"]
    existing, new = log.customers["customer"][0], 10**6 if dtype.is_integer() else "a new customer"
    rows = [
        {"customer": existing, "item": log.items["item"][0], "category": offer},
        {"customer": new, "item": log.items["item"][1], "category": log.items["category"][1]},
        {
            "customer": existing,
            "item": "a new item" if log.items.schema["item"] == pl.String else 10**6,
            "category": offer,
        },
        *(
            {
                "customer": each,
                "item": "item of a new offer" if log.items.schema["item"] == pl.String else 10**6 + 1,
                "category": "a new offer",
            }
            for each in log.customers["customer"][:9].to_list()
        ),
    ]
    more = pl.DataFrame([row | {"day": today, "revenue": 4.0} for row in rows])
    out = tmp_path_factory.mktemp("extended") / "log"
    return log_with(exported, out, more), to_date(log.last_day + 2).isoformat(), more


def test_new_events_customers_items_and_offers_are_scored_without_training(
    exported: Exported, extended: tuple[Path, str, pl.DataFrame], tmp_path: Path
) -> None:
    path, day, more = extended
    run_batch(exported, tmp_path / "before", day=day)
    run_batch(exported, tmp_path / "after", log=path, day=day)
    before, after = table(tmp_path / "before"), table(tmp_path / "after")
    existing, new = more["customer"][0], more["customer"][1]
    assert new not in before["customer_id"] and after.filter(pl.col("customer_id") == new).height > 0
    assert "a new offer" not in before["offer_id"]
    launched = after.filter(pl.col("offer_id") == "a new offer")
    assert launched["customer_id"].n_unique() == after["customer_id"].n_unique()
    assert launched["score"].is_finite().all()
    pairs = [
        frame.filter((pl.col("customer_id") == existing) & (pl.col("offer_id") == more["category"][0]))
        for frame in (before, after)
    ]
    assert pairs[0]["score"][0] != pairs[1]["score"][0]  # new events, one of them of a new item


def test_cutoffs_outside_data_and_validity_are_refused(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not after the first purchase"):
        run_batch(exported, tmp_path / "early", day="1999-01-01")
    with pytest.raises(ConfigurationError, match="is valid until .*, not on 2040-01-01; train again and export"):
        run_batch(exported, tmp_path / "late", day="2040-01-01")
    assert not list(tmp_path.iterdir())


def test_other_files_and_other_requests_are_not_overwritten(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(ConfigurationError, match="contains something other than scores; give another folder"):
        run_batch(exported, tmp_path)
    run_batch(exported, tmp_path / "scores")
    with pytest.raises(ConfigurationError, match="contains scores of another request"):
        run_batch(exported, tmp_path / "scores", BatchConfig(top=5))
    shutil.copytree(exported.log, tmp_path / "log")
    (tmp_path / "log/day.npy").write_bytes((tmp_path / "log/day.npy").read_bytes()[:200])
    with pytest.raises(DataError, match="is damaged"):
        run_batch(exported, tmp_path / "more", log=tmp_path / "log")


def test_contradictory_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="top and top_per_customer exclude each other; give one of them"):
        BatchConfig(top=5, top_per_customer=5)
    with pytest.raises(ConfigurationError, match="part=0 is below 1; give 1 or more"):
        BatchConfig(part=0)
    for settings in (ScoreConfig(), ScoreConfig(run="a", bundle="b")):
        with pytest.raises(
            ConfigurationError, match="score either a run or a bundle; give run=runs/demo or bundle=bundle"
        ):
            uses_bundle(settings)
    with pytest.raises(ConfigurationError, match="need a bundle; export the run first"):
        uses_bundle(ScoreConfig(run="a", top=5))
