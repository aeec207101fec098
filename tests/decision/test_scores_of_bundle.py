"""Decisions read what a bundle scored, in a folder or in parts, and many offers from one reading."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from propensity.data.score_file import COMPLETE, TASK, score_files
from propensity.decision import context
from propensity.errors import ConfigurationError, DataError
from propensity.scores import load_scores, metadata_of
from propensity.serving.decide import by_offer, make_all_and_write

Compose = Callable[..., Any]


@pytest.fixture
def parts(small_world: dict[str, Any], tmp_path: Path) -> Path:
    """A folder as a bundle writes it: two parts that name their log, and the settings of the offers."""
    log, task = small_world["log"], small_world["task"]
    folder = tmp_path / "scores"
    folder.mkdir()
    customers = log.customers["customer"].to_list()
    offers = ["category_000", "category_001"]
    rows = [(customer, offer, 0.1 + 0.8 * n / len(customers), float(n))
            for n, customer in enumerate(customers) for offer in offers]  # fmt: skip
    frame = pl.DataFrame(rows, ["customer_id", "offer_id", "score", "expected_revenue"], orient="row").select(
        pl.lit("2024-05-01").str.to_date().alias("cutoff"), pl.all()
    )
    for part, table in enumerate((frame[: frame.height // 4 * 2], frame[frame.height // 4 * 2 :])):
        table.write_parquet(folder / f"part-{part:05d}.parquet", metadata=metadata_of(log.folder))
    offer = {"_target_": "propensity.data.offer.column.ColumnOffers", "column": task.offer.column or "category"}
    (folder / TASK).write_text(json.dumps({"_target_": "propensity.task.Task", "offer": offer}))
    (folder / COMPLETE).write_text(json.dumps({"files": 2}))
    return folder


@pytest.mark.parametrize("which", ["", "/part-*.parquet"])
def test_the_log_of_a_bundle_s_scores_gives_attributes_and_past(which: str, parts: Path, composed: Compose) -> None:
    settings = [f"scores={parts}{which}", f"out={parts.parent / 'list.csv'}", "decision.offer=category_000"]
    cfg = composed("decide", *settings, "decision.where='orders_364 > 1'", "decision.recent=20", "decision.size=5")
    ((result, written),) = make_all_and_write(cfg, lambda text: None)
    assert pl.read_csv(written).height == 5 == result.table.height
    assert "bought it in the last 20 days" in str(result.summary)


def test_a_pattern_and_a_folder_hold_the_same_scores(parts: Path) -> None:
    whole, pattern = (load_scores(place)[0] for place in (parts, f"{parts}/part-*.parquet"))
    assert whole.frame().equals(pattern.frame())
    assert len(score_files(parts)) == 2
    with pytest.raises(ConfigurationError, match="no scores at"):
        score_files(parts / "other-*.parquet")


def test_a_folder_that_lacks_a_part_is_refused(parts: Path) -> None:
    (parts / "part-00001.parquet").unlink()
    with pytest.raises(DataError, match="holds 1 of 2 parts of its scores; the same propensity score command"):
        load_scores(parts)


def test_many_offers_are_decided_from_one_reading(
    parts: Path, composed: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings: list[str] = []
    load = context.load_scores

    def noted(path: str) -> Any:
        readings.append(str(path))
        return load(path)

    monkeypatch.setattr(context, "load_scores", noted)
    settings = [f"scores={parts}", f"out={parts.parent / 'lists.csv'}", "offers=[all]", "decision.size=4"]
    decided = make_all_and_write(composed("decide", *settings), lambda text: None)
    assert [path.relative_to(parts.parent).as_posix() for _, path in decided] == [
        "lists/category_000.csv",
        "lists/category_001.csv",
    ]
    assert readings == [str(parts)]
    shutil.rmtree(parts.parent / "lists")
    single = [*settings[:2], "decision.offer=category_001", "decision.size=4"]
    ((result, _),) = make_all_and_write(composed("decide", *single), lambda text: None)
    assert result.table.equals(decided[1][0].table)


def test_offers_that_do_not_fit_are_a_sentence(parts: Path, composed: Compose) -> None:
    cfg = composed("decide", f"scores={parts}", "out=x", "decision=next_best", "offers=[a]")
    with pytest.raises(ConfigurationError, match="offers are for decision=audience"):
        list(by_offer(cfg, ["a"]))
    cfg = composed("decide", f"scores={parts}", "out=x", "offers=[a,a]")
    with pytest.raises(ConfigurationError, match="offers names a twice"):
        list(by_offer(cfg, ["a", "a"]))
    cfg = composed("decide", f"scores={parts}", "out=x", "offers=[a]", "decision.offer=b")
    with pytest.raises(ConfigurationError, match="decision.offer=b and offers exclude each other"):
        list(by_offer(cfg, ["a"]))
    assert [each.out for each in by_offer(composed("decide", f"scores={parts}", "out=x.csv"), ["A B", "a-b"])] == [
        "x/A_B.csv",
        "x/a_b.csv",
    ]
