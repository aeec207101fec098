"""The benchmarks run, check that implementations agree, and write machine-readable results; no timing is asserted."""

from __future__ import annotations

import importlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROW: dict[str, Any] = {"name": str, "reference": str, "ratio": float, "gate": (int, float), "met": bool, "why": str}
SECONDS: dict[str, Any] = {
    "ours_cpu_s": float,
    "reference_cpu_s": float,
    "ours_peak_mb": float,
    "reference_peak_mb": float,
}
MORE: dict[str, Any] = {"aim": (int, float, type(None)), "limit": bool}


@pytest.fixture
def benchmark(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of benchmarks/ by name."""
    monkeypatch.syspath_prepend(str(repository))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def test_the_smallest_run_agrees_with_its_references_and_records_what_it_measured(benchmark, tmp_path):
    benchmark("run").main(["--smallest", "--rounds=1", f"--out={tmp_path}"])
    results = json.loads((tmp_path / "results.json").read_text())
    assert {"machine", "commit", "command", "rows"} <= set(results)
    assert len({(row["name"], row["reference"]) for row in results["rows"]}) == len(results["rows"]) == 15
    for row in results["rows"]:
        assert set(row) == {*ROW, *SECONDS, *MORE}
        assert all(isinstance(row[name], kind) for name, kind in (ROW | SECONDS | MORE).items()), row
        reached = row["ratio"] <= row["gate"] if row["limit"] else row["ratio"] >= row["gate"]
        assert row["met"] == reached == (not row["why"])
        assert row["name"] in (tmp_path / "results.md").read_text()


def test_implementations_that_disagree_are_not_timed(benchmark):
    race = benchmark("race")
    different = race.Race("sums", "other sums", 1.0, float, float, lambda: np.testing.assert_allclose(1.0, 1.1), str)
    with pytest.raises(AssertionError, match="Not equal"):
        race.run(different, rounds=1)


@pytest.mark.parametrize("whose", ["customer", "pair"])
def test_one_purchase_at_another_price_fails_the_check(benchmark, whose, tmp_path):
    windows, market, query = benchmark("windows"), benchmark("market"), benchmark("query")
    synthetic = market.market(benchmark("run").sizes("smallest"), tmp_path)
    (day,), purchases, offers = windows.cutoffs(synthetic, 1), market.frame(synthetic), len(synthetic.offers)
    newest = int(purchases["day"].set(purchases["day"] >= day, 0).arg_max())
    for increase in (0.0, 1.0):
        purchases[newest, "revenue"] += increase
        check = pytest.raises(AssertionError, match="Not equal") if increase else nullcontext()
        with check:
            if whose == "customer":
                windows.same_customers(
                    windows.our_customers(synthetic, 1)()[:, :, 0], query.customers(purchases.lazy(), day).collect()
                )
            else:
                expected = query.pairs(query.pair_days(purchases.lazy()).lazy(), day).collect()
                windows.same_pairs(windows.our_pairs(synthetic, 1), 0, expected, offers)


@pytest.mark.slow
def test_planner_and_segments_agree_with_their_references(benchmark, tmp_path):
    (tmp_path / "results.md").write_text("# Speed\n\nas before\n")
    benchmark("decision").main(["--smallest", f"--out={tmp_path}"])
    rows = {(row["task"], row["name"]): row for row in json.loads((tmp_path / "decisions.json").read_text())["rows"]}
    ours, flow = rows["plan", "ours"], rows["plan", "OR-tools min-cost flow"]
    assert ours["value"] == pytest.approx(flow["value"], rel=1e-6) == pytest.approx(rows["plan", "HiGHS"]["value"])
    assert rows["segments", "ours"]["value"] <= rows["segments", "scikit-learn"]["value"] * 1.01
    written = (tmp_path / "results.md").read_text()
    assert written.startswith("# Speed\n\nas before\n\n## Decisions\n")
    benchmark("decision").main(["--smallest", "--resume", f"--out={tmp_path}"])
    assert (tmp_path / "results.md").read_text().count("## Decisions") == 1


def test_one_pass_and_separate_passes_agree_before_they_are_timed(benchmark):
    rows = benchmark("one_pass").main(["--customers=4", "--events=12", "--rounds=1"])
    assert [row.encoder for row in rows] == ["hstu", "linear_recurrence", "time_filters"]
    assert all(row.one_pass > 0 and row.separate > 0 for row in rows)
