"""The folds of a backtest have the same scores and metrics wherever they are trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import QUICK, SMALL
from engine.work import Elsewhere
from propensity.data.event_log import to_date, to_day
from propensity.evaluation import backtest as backtest_module
from propensity.evaluation.backtest import backtest, fold_plans
from propensity.scores import load_scores

Compose = Callable[..., Any]


def test_every_cutoff_is_scored_by_one_network_of_each_age() -> None:
    days, ages = ["2024-03-04", "2024-03-18", "2024-03-21"], {0, 2}
    plans = fold_plans(days, ages)
    assert [plan.end for plan in plans] == sorted({to_day(day) - 7 * age for day in days for age in ages})
    assert sorted((day, weeks) for plan in plans for day, weeks in plan.weeks.items()) == sorted(
        (day, age) for day in days for age in ages
    )
    assert all(to_day(day) - plan.end == 7 * weeks for plan in plans for day, weeks in plan.weeks.items())


@pytest.mark.slow
def test_a_backtest_has_the_same_metrics_wherever_its_folds_are_trained(
    composed: Compose, small_world: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = small_world["log"].last_day + 1
    days = ",".join(to_date(last - back).isoformat() for back in (42, 28))
    common = (*SMALL, *QUICK, f"data.log={small_world['folder']}", f"cutoffs=[{days}]", "ages=[2]")
    rest = ("baselines=[popularity]", "resamples=0", "heuristics=false")
    results = {}
    for name in ("here", "there"):
        cfg = composed("backtest", *common, *rest, f"out={tmp_path / name}")
        if name == "there":
            monkeypatch.setattr(backtest_module, "instantiate", elsewhere(backtest_module.instantiate))
        results[name] = backtest(cfg, lambda text: None)
    here, there = (json.dumps({k: v for k, v in each.items() if k != "run"}) for each in results.values())
    assert here == there
    assert results["here"]["run"]["config"] == {**results["there"]["run"]["config"], "out": str(tmp_path / "here")}
    for file in ("scores.parquet", "popularity.parquet"):
        for one, two in zip(*(load_scores(tmp_path / name / file) for name in results), strict=True):
            np.testing.assert_array_equal(one.probability, two.probability)
            np.testing.assert_array_equal(one.revenue, two.revenue)
    assert not (tmp_path / "there" / ".blocks").exists()


def elsewhere(instantiate: Callable[..., Any]) -> Callable[..., Any]:
    """`instantiate` with an engine of the tests in place of the local one."""

    def build(settings: Any, **rest: Any) -> Any:
        is_engine = str(settings.get("_target_")).startswith("propensity.engine.")
        return Elsewhere() if is_engine else instantiate(settings, **rest)

    return build
