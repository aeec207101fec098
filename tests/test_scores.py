"""Tables of scores are written and read without loss; invalid ones are refused with a message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from propensity.errors import ConfigurationError, DataError
from propensity.scores import COLUMNS, Scores, aligned, load_scores, save_scores


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


def test_missing_pairs_have_score_zero_in_any_order_of_rows(tmp_path: Path) -> None:
    scores = random_scores(0, "2024-02-01", np.array([3, 5, 11]))
    frame = scores.frame()
    frame[1:].sample(fraction=1.0, shuffle=True, seed=1).write_parquet(tmp_path / "s.parquet")
    loaded = load_scores(tmp_path / "s.parquet")[0]
    assert loaded.probability[0, 0] == 0 and loaded.mask is not None
    assert not loaded.mask[0, 0] and loaded.mask.sum() == 8
    np.testing.assert_array_equal(loaded.probability.ravel()[1:], scores.probability.ravel()[1:])


def test_scores_do_not_replace_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder; give the name of a file, such as .*/scores.parquet"):
        save_scores([random_scores(0, "2024-02-01", np.array([3]))], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_a_table_of_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no scores at .*; write them with propensity score"):
        load_scores(tmp_path / "none.parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load_scores(tmp_path / "cut.parquet")
    pl.DataFrame({"cutoff": ["x"]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="has no column customer_id"):
        load_scores(tmp_path / "other.parquet")


def test_a_duplicate_pair_or_a_value_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    frame = random_scores(0, "2024-02-01", np.array([3, 5])).frame()
    pl.concat([frame, frame[:1]]).write_parquet(tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="contain customer 3 and offer a twice at 2024-02-01; keep one row"):
        load_scores(tmp_path / "twice.parquet")
    for value in (None, float("nan"), float("inf")):
        bad = frame.with_columns(score=pl.when(pl.col("customer_id") == 3).then(pl.lit(value)).otherwise("score"))
        bad.write_parquet(tmp_path / "bad.parquet")
        with pytest.raises(DataError, match="score at 2024-02-01 holds values that are not finite; fill them first"):
            load_scores(tmp_path / "bad.parquet")


def test_aligned_scores_have_the_required_order_and_mask_missing_pairs() -> None:
    scores = random_scores(0, "2024-02-01", np.array([3, 5, 11]))
    matched = aligned(scores, np.array([11, 4, 3]), ("d", "new", "a"))
    assert matched.customer.tolist() == [11, 4, 3] and matched.offer == ("d", "new", "a")
    assert matched.mask is not None and matched.mask.tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
    assert matched.probability[0, 0] == scores.probability[2, 2] and matched.revenue[2, 2] == scores.revenue[0, 0]
    assert (matched.probability[~matched.mask] == 0).all()
    assert aligned(matched, np.array([3]), ("new",)).mask.tolist() == [[False]]  # type: ignore[union-attr]
