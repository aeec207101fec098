"""The table of scores survives a round trip, and says what is wrong with one that does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from propensity.errors import ConfigurationError, DataError
from propensity.scores import COLUMNS, Scores, load_scores, save_scores


def random_scores(seed: int, cutoff: str, customer: np.ndarray) -> Scores:
    rng = np.random.default_rng(seed)
    shape = (customer.size, 3)
    p, r = rng.random(shape, np.float32), rng.random(shape, np.float32)
    return Scores(customer, ("a", "b'c", "d"), p, r, cutoff, "scores")


@pytest.mark.parametrize("customer", [np.array([3, 5, 11]), np.array(["007", "1", "x"])])
def test_scores_survive_a_round_trip(customer: np.ndarray, tmp_path: Path) -> None:
    saved = [random_scores(k, day, customer) for k, day in enumerate(("2024-02-01", "2024-03-01"))]
    save_scores(saved, tmp_path / "deep" / "scores.parquet")
    for before, after in zip(saved, load_scores(tmp_path / "deep" / "scores.parquet"), strict=True):
        assert after.cutoff == before.cutoff and after.offer == before.offer
        np.testing.assert_array_equal(after.customer, before.customer)
        np.testing.assert_array_equal(after.probability, before.probability)
        np.testing.assert_array_equal(after.revenue, before.revenue)
    table = pl.read_parquet(tmp_path / "deep" / "scores.parquet")
    assert tuple(table.columns) == COLUMNS and table.schema["cutoff"] == pl.Date
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["scores.parquet"]


def test_pairs_left_out_count_as_zero_in_any_row_order(tmp_path: Path) -> None:
    scores = random_scores(0, "2024-02-01", np.array([3, 5, 11]))
    frame = scores.frame()
    frame[1:].sample(fraction=1.0, shuffle=True, seed=1).write_parquet(tmp_path / "s.parquet")
    found = load_scores(tmp_path / "s.parquet")[0]
    assert found.probability[0, 0] == 0
    np.testing.assert_array_equal(found.probability.ravel()[1:], scores.probability.ravel()[1:])


def test_scores_do_not_take_the_place_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder; give the name of a file, such as .*/scores.parquet"):
        save_scores([random_scores(0, "2024-02-01", np.array([3]))], tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_no_table_of_scores_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no scores at .*; write them with scripts/score.py"):
        load_scores(tmp_path / "none.parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load_scores(tmp_path / "cut.parquet")
    pl.DataFrame({"cutoff": ["x"]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="has no column customer_id"):
        load_scores(tmp_path / "other.parquet")
