"""Lookalikes: the nearest customers to the seeds, without them, of those who may be contacted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.decision.context import DecisionContext
from propensity.decision.lookalike import Lookalike, similarity_to
from propensity.errors import ConfigurationError, DataError, InfeasibleError
from propensity.scores import Scores

ANGLES = np.array([0.0, 0.2, 0.5, 2.0, 3.1, 4.0, 5.0, 6.1])  # of the customers 1 to 8


def context(**changes: Any) -> DecisionContext:
    chance = np.linspace(0.1, 0.8, 16, dtype=np.float32).reshape(8, 2)
    scores = Scores(np.arange(1, 9), ("tea", "jam"), chance, 5 * chance, "2024-03-04", "test")
    customers = pl.DataFrame({"customer_id": [str(k) for k in range(1, 9)], "suppressed": [False] * 7 + [True]})
    return replace(DecisionContext(scores, customers=customers), **changes)


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Any]:
    """Points on a circle for all customers but the seventh; customers 1 and 99 are seeds."""
    states = pl.DataFrame({"customer_id": np.arange(1, 9), "x": np.cos(ANGLES), "y": np.sin(ANGLES), "name": "text"})
    states.filter(pl.col("customer_id") != 7).write_parquet(tmp_path / "states.parquet")
    pl.DataFrame({"customer_id": ["1", "99"]}).write_csv(tmp_path / "seeds.csv")
    return {"seeds": str(tmp_path / "seeds.csv"), "states": str(tmp_path / "states.parquet")}


def test_the_nearest_are_found_without_the_seeds_and_those_who_may_not_be_contacted(tables: dict[str, Any]) -> None:
    result = Lookalike(**tables, size=2)(context())
    assert result.table["customer_id"].to_list() == [2, 3] and result.table["similarity"].is_sorted(descending=True)
    assert result.summary["seeds"] == 1 and result.summary["seeds_left_out"] == 1
    assert result.summary["eligible"] == 5 and result.summary["excluded"]["without an embedding"] == 1
    assert "1 more seeds have no score or no embedding" in result.sentences[0]


def test_with_fewer_neighbours_seeds_of_two_kinds_have_lookalikes_of_each() -> None:
    points = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
    seeds = points[[0, 4]]  # opposite to each other
    near = similarity_to(points, seeds, 1)
    np.testing.assert_allclose(near, np.maximum(np.cos(ANGLES), np.cos(ANGLES - 3.1)), atol=1e-6)
    np.testing.assert_allclose(similarity_to(points, seeds, 9), (points @ seeds.T).mean(1), atol=1e-6)


def test_blocks_of_customers_do_not_change_a_similarity(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    whole = similarity_to(points, points[:7], 3)
    monkeypatch.setattr("propensity.decision.lookalike.BLOCK", 8)
    np.testing.assert_allclose(similarity_to(points, points[:7], 3), whole, rtol=1e-6)


def test_without_tables_the_best_customers_are_seeds_and_the_scores_are_compared() -> None:
    result = Lookalike(size=1)(context(customers=None))
    assert result.summary["seeds"] == 1 and result.table["customer_id"].to_list() == [7]  # next to 8, the best


def test_the_best_customers_without_an_embedding_are_no_seeds(tables: dict[str, Any], tmp_path: Path) -> None:
    pl.read_parquet(tables["states"]).filter(pl.col("customer_id") != 8).write_parquet(tmp_path / "fewer.parquet")
    result = Lookalike(states=str(tmp_path / "fewer.parquet"), size=1)(context(customers=None))
    assert result.table["customer_id"].to_list() == [5]  # next to 6, the best of those who have one


@pytest.mark.parametrize("key", ["propensity.end", "propensity.cutoff"])
def test_embeddings_of_a_later_day_than_the_scores_are_refused(
    tables: dict[str, Any], tmp_path: Path, key: str
) -> None:
    states, path = pl.read_parquet(tables["states"]), tmp_path / "dated.parquet"
    for day in ("2024-03-03", "2024-03-04"):
        states.write_parquet(path, metadata={key: day})
        assert Lookalike(**(tables | {"states": str(path)}), size=2)(context()).table.height == 2
    states.write_parquet(path, metadata={key: "2024-03-05"})
    with pytest.raises(ConfigurationError, match="embeddings of 2024-03-05, after the cutoff 2024-03-04 of the scores"):
        Lookalike(**(tables | {"states": str(path)}), size=2)(context())


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"size": 0}, ConfigurationError, "decision.size=0 is nobody; give 1 or more"),
        ({"share": 1.5}, ConfigurationError, "decision.share=1.5 is no share"),
        ({"neighbours": 0}, ConfigurationError, "decision.neighbours=0 is too few; give 1 or more"),
        ({"seeds": "nowhere.csv"}, ConfigurationError, "no decision.seeds at nowhere.csv"),
        ({"states": "nowhere.csv"}, ConfigurationError, "no decision.states at nowhere.csv"),
        ({"size": 7}, InfeasibleError, "5 of 8 customers may be contacted and 7 are requested .*1 seeds"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tables: dict[str, Any], settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Lookalike(**(tables | settings))(context())


def test_tables_without_ids_seeds_or_numbers_are_refused(tables: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    for content, setting, words in (
        ("customer\n1\n", "seeds", "has no column customer_id, only customer"),
        ("customer_id\n", "seeds", "holds no customer; give seeds"),
        ("customer_id\n98\n99\n", "seeds", "none of the 2 customers .* has a score and an embedding, such as 98"),
        ("customer_id\n7\n", "seeds", "none of the 1 customers .* has a score and an embedding, such as 7"),
        ("customer_id,name\n1,a\n2,b\n3,c\n4,d\n5,e\n", "states", "has no column of numbers beside customer_id"),
    ):
        table.write_text(content)
        with pytest.raises((ConfigurationError, DataError), match=words):
            Lookalike(**(tables | {setting: str(table)}), size=1)(context())
