"""The benchmarks run, compare equal things, and leave numbers that a program can read; how fast is not asked here."""

from __future__ import annotations

import importlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROW: dict[str, Any] = {"name": str, "rival": str, "ratio": float, "gate": (int, float), "met": bool, "why": str}
SECONDS: dict[str, Any] = {"ours_cpu_s": float, "rival_cpu_s": float, "ours_peak_mb": float, "rival_peak_mb": float}
MORE: dict[str, Any] = {"aim": (int, float, type(None)), "limit": bool}


@pytest.fixture
def benchmark(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of benchmarks/ by name."""
    monkeypatch.syspath_prepend(str(repository))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def test_the_smallest_form_finds_equal_results_and_says_what_it_measured(benchmark, tmp_path):
    benchmark("run").main(["--smallest", "--rounds=1", f"--out={tmp_path}"])
    found = json.loads((tmp_path / "results.json").read_text())
    assert {"machine", "commit", "command", "rows"} <= set(found)
    assert len({(row["name"], row["rival"]) for row in found["rows"]}) == len(found["rows"]) == 15
    for row in found["rows"]:
        assert set(row) == {*ROW, *SECONDS, *MORE}
        assert all(isinstance(row[name], kind) for name, kind in (ROW | SECONDS | MORE).items()), row
        reached = row["ratio"] <= row["gate"] if row["limit"] else row["ratio"] >= row["gate"]
        assert row["met"] == reached == (not row["why"])
        assert row["name"] in (tmp_path / "results.md").read_text()


def test_contenders_that_disagree_are_not_timed(benchmark):
    race = benchmark("race")
    unlike = race.Race("sums", "other sums", 1.0, float, float, lambda: np.testing.assert_allclose(1.0, 1.1), str)
    with pytest.raises(AssertionError, match="Not equal"):
        race.run(unlike, rounds=1)


@pytest.mark.parametrize("whose", ["customer", "pair"])
def test_one_purchase_at_another_price_is_noticed(benchmark, whose, tmp_path):
    windows, market, query = benchmark("windows"), benchmark("market"), benchmark("query")
    made = market.market(benchmark("run").sizes("smallest"), tmp_path)
    (day,), found, offers = windows.cutoffs(made, 1), market.frame(made), len(made.offers)
    newest = int(found["day"].set(found["day"] >= day, 0).arg_max())
    for dearer in (0.0, 1.0):
        found[newest, "revenue"] += dearer
        check = pytest.raises(AssertionError, match="Not equal") if dearer else nullcontext()
        with check:
            if whose == "customer":
                windows.same_customers(
                    windows.our_customers(made, 1)()[:, :, 0], query.customers(found.lazy(), day).collect()
                )
            else:
                asked = query.pairs(query.pair_days(found.lazy()).lazy(), day).collect()
                windows.same_pairs(windows.our_pairs(made, 1), 0, asked, offers)


def test_planner_and_segments_race_their_rivals_in_processes_of_their_own(benchmark, tmp_path):
    (tmp_path / "results.md").write_text("# Speed against rivals\n\nas before\n")
    benchmark("decision").main(["--smallest", f"--out={tmp_path}"])
    found = {(row["task"], row["name"]): row for row in json.loads((tmp_path / "decisions.json").read_text())["rows"]}
    ours, flow = found["plan", "ours"], found["plan", "OR-tools min-cost flow"]
    assert ours["value"] == pytest.approx(flow["value"], rel=1e-6) == pytest.approx(found["plan", "HiGHS"]["value"])
    assert found["segments", "ours"]["value"] <= found["segments", "scikit-learn"]["value"] * 1.01
    written = (tmp_path / "results.md").read_text()
    assert written.startswith("# Speed against rivals\n\nas before\n\n## Decisions\n")
    benchmark("decision").main(["--smallest", f"--out={tmp_path}"])
    assert (tmp_path / "results.md").read_text().count("## Decisions") == 1
