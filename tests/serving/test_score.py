"""Scores from a bundle are those of the checkpoint, however they are cut, interrupted or refreshed."""

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
from propensity.serving.batch import Scored, Stream, score_bundle
from propensity.serving.score import by_bundle, score
from serving.exported import Exported

SMALL = Stream(part=50)


def scored(exported: Exported, out: Path, how: Stream = SMALL, log: Path | None = None, day: str = "") -> Scored:
    given = str(log or exported.log)
    return score_bundle(exported.bundle, given, day or exported.cutoff, out, how, lambda text: None)


def table(out: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted(out.glob("part-*.parquet"))])


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def grid(out: Path) -> Any:
    table(out).write_parquet(out / "all.parquet")
    return load_scores(out / "all.parquet")[0]


def test_the_bundle_says_what_the_checkpoint_says(exported: Exported, tmp_path: Path) -> None:
    found = scored(exported, tmp_path / "scores")
    expected = score(exported.run, exported.cutoff, tmp_path / "run.parquet", str(exported.log), lambda text: None)
    mine = grid(tmp_path / "scores")
    np.testing.assert_array_equal(mine.customer, expected.customer)
    assert mine.offer == tuple(sorted(expected.offer)) and found.customers == expected.customer.size
    order = np.argsort(expected.offer)
    np.testing.assert_allclose(mine.probability, expected.probability[:, order], atol=1e-5)
    np.testing.assert_allclose(mine.revenue, expected.revenue[:, order], rtol=1e-5, atol=1e-5)
    assert found.rows == mine.probability.size and found.files == len(list((tmp_path / "scores").glob("part-*")))


def test_a_second_run_gives_the_same_bytes_whatever_the_threads(exported: Exported, tmp_path: Path) -> None:
    scored(exported, tmp_path / "one", Stream(part=50, threads=1))
    scored(exported, tmp_path / "two", Stream(part=50, threads=2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("cut", [{}, {"top": 20}, {"top_per_customer": 3}], ids=["all", "top", "per customer"])
def test_an_interrupted_run_goes_on_and_ends_alike(
    exported: Exported, tmp_path: Path, cut: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    how = Stream(part=20, **cut)
    scored(exported, tmp_path / "whole", how)
    original, calls = batch.Scoring.answers, []

    def failing(self: batch.Scoring, part: int) -> Any:
        calls.append(part)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return original(self, part)

    monkeypatch.setattr(batch.Scoring, "answers", failing)
    with pytest.raises(KeyboardInterrupt):
        scored(exported, tmp_path / "again", how)
    scored(exported, tmp_path / "again", how)
    assert calls[9] >= 8  # what was finished is not done again
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_only_the_best_of_each_offer(exported: Exported, tmp_path: Path) -> None:
    scored(exported, tmp_path / "all")
    found = scored(exported, tmp_path / "best", Stream(part=20, top=15))
    every, best = table(tmp_path / "all"), table(tmp_path / "best")
    assert found.rows == best.height == 15 * every["offer_id"].n_unique()
    for (name,), part in best.group_by("offer_id", maintain_order=True):
        wanted = every.filter(pl.col("offer_id") == name).sort("score", descending=True)[:15]
        np.testing.assert_allclose(part["score"], wanted["score"], rtol=1e-6)
        assert part["score"].is_sorted(descending=True)


def test_only_the_best_of_each_customer(exported: Exported, tmp_path: Path) -> None:
    scored(exported, tmp_path / "all")
    scored(exported, tmp_path / "best", Stream(part=50, top_per_customer=3))
    wanted = (
        table(tmp_path / "all").sort("customer_id", "score", descending=[False, True]).group_by("customer_id").head(3)
    )
    best = table(tmp_path / "best")
    assert best.group_by("customer_id").len()["len"].unique().to_list() == [3]
    assert best.sort("customer_id", "offer_id").equals(wanted.select(best.columns).sort("customer_id", "offer_id"))


def test_equal_scores_are_ordered_by_a_hash_and_not_by_the_stream() -> None:
    from propensity.serving.top_k import TopK

    random = np.random.default_rng(0)
    score = random.integers(0, 5, (400, 3)).astype(np.float32)
    tie_break = random.permutation(400).astype(np.uint64)
    expected = [np.lexsort((tie_break, -score[:, m]))[:25] for m in range(3)]
    for order in (np.arange(400), random.permutation(400)):
        best = TopK(3, 25, tie_break)
        for rows in np.array_split(order, 9):
            best.add(rows, score[rows], score[rows] * 2)
        for m in range(3):
            rows, mine, revenue = best.of(m)
            np.testing.assert_array_equal(rows, expected[m])
            np.testing.assert_array_equal(revenue, 2 * mine)


def log_with(exported: Exported, out: Path, more: pl.DataFrame) -> Path:
    """Yesterday's log and today's file, as one log."""
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
def fresh(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, pl.DataFrame]:
    """A log with another day: a known customer, a new one, a new item of a known offer, and a new offer."""
    log = EventLog.open(exported.log)
    today, offer = to_date(log.last_day + 1), log.items["category"].drop_nulls()[0]
    dtype = log.customers.schema["customer"]
    known, new = log.customers["customer"][0], 10**6 if dtype.is_integer() else "a new customer"
    rows = [
        {"customer": known, "item": log.items["item"][0], "category": offer},
        {"customer": new, "item": log.items["item"][1], "category": log.items["category"][1]},
        {
            "customer": known,
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
    out = tmp_path_factory.mktemp("fresh") / "log"
    return log_with(exported, out, more), to_date(log.last_day + 2).isoformat(), more


def test_new_events_customers_items_and_offers_are_scored_without_training(
    exported: Exported, fresh: tuple[Path, str, pl.DataFrame], tmp_path: Path
) -> None:
    path, day, more = fresh
    scored(exported, tmp_path / "before", day=day)
    scored(exported, tmp_path / "after", log=path, day=day)
    before, after = table(tmp_path / "before"), table(tmp_path / "after")
    known, new = more["customer"][0], more["customer"][1]
    assert new not in before["customer_id"] and after.filter(pl.col("customer_id") == new).height > 0
    assert "a new offer" not in before["offer_id"]
    launched = after.filter(pl.col("offer_id") == "a new offer")
    assert launched["customer_id"].n_unique() == after["customer_id"].n_unique()
    assert launched["score"].is_finite().all()
    pairs = [
        frame.filter((pl.col("customer_id") == known) & (pl.col("offer_id") == more["category"][0]))
        for frame in (before, after)
    ]
    assert pairs[0]["score"][0] != pairs[1]["score"][0]  # new events, one of them of an item never seen


def test_dates_out_of_reach_are_refused(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not after the first purchase"):
        scored(exported, tmp_path / "early", day="1999-01-01")
    with pytest.raises(ConfigurationError, match="is valid until .*, not on 2040-01-01; train again and export"):
        scored(exported, tmp_path / "late", day="2040-01-01")
    assert not list(tmp_path.iterdir())


def test_what_else_is_in_the_way_is_left_alone(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="holds something else than scores; give another folder"):
        scored(exported, tmp_path)
    scored(exported, tmp_path / "scores")
    with pytest.raises(ConfigurationError, match="holds scores of another request"):
        scored(exported, tmp_path / "scores", Stream(top=5))
    shutil.copytree(exported.log, tmp_path / "log")
    (tmp_path / "log/day.npy").write_bytes((tmp_path / "log/day.npy").read_bytes()[:200])
    with pytest.raises(DataError, match="is damaged"):
        scored(exported, tmp_path / "more", log=tmp_path / "log")


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two cuts of the same scores; give one of them"):
        Stream(top=5, top_per_customer=5)
    with pytest.raises(ConfigurationError, match="part=0 scores nothing; give 1 or more"):
        Stream(part=0)
    for given in (ScoreConfig(), ScoreConfig(run="a", bundle="b")):
        with pytest.raises(ConfigurationError, match="score a run or a bundle; give run=runs/demo or bundle=bundle"):
            by_bundle(given)
    with pytest.raises(ConfigurationError, match="are cut from a bundle; export the run first"):
        by_bundle(ScoreConfig(run="a", top=5))
