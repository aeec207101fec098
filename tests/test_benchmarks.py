"""The benchmarks run, check that implementations agree, and write machine-readable results; no timing is asserted."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_on_a_cpu_and_checks_before_it_times(benchmark, tmp_path, capsys):
    results = benchmark("gpu").main(["--device=cpu", "--quick", f"--out={tmp_path / 'gpu.json'}"])
    assert results == json.loads((tmp_path / "gpu.json").read_text()) == json.loads(capsys.readouterr().out)
    sections = ["correctness", "peak", "training", "scoring", "tokens", "loader"]
    assert [name for name in results if name in sections] == sections
    encoders = results["correctness"]["encoders"]
    assert {"cpu_device", "bf16", "compiled"} <= set(encoders["hstu"]) and "skipped" not in str(results)
    (row,) = results["training"]
    assert row["width"] == 64 and row["batches_s"] > 0 and row["mfu"] is None and row["mfu_measured"] > 0
    assert 0 < row["flops_encoder"] < row["flops"]
    assert 0 < results["tokens"]["filled"] < 1 and all(rate > 0 for rate in results["tokens"]["tokens_s"].values())
    assert [each["threads"] for each in results["loader"]["rows"]] == [0, 1]
    assert all(0 <= each["waiting"] <= 1 for each in results["loader"]["rows"])


def test_the_benchmark_of_a_gpu_times_nothing_where_a_check_fails(benchmark, monkeypatch, capsys):
    gpu = benchmark("gpu")
    wrong = {"encoders": {}, "failed": ["hstu cpu_device outputs"]}
    monkeypatch.setattr(gpu, "correctness", lambda bench: wrong)
    with pytest.raises(SystemExit, match="nothing was timed, because these checks fail: hstu cpu_device outputs"):
        gpu.main(["--device=cpu", "--quick"])
    assert not {"training", "scoring", "tokens", "loader"} & set(json.loads(capsys.readouterr().out))


def test_a_difference_beyond_its_limit_fails_and_so_does_a_missing_number(benchmark):
    gpu = benchmark("gpu")
    good = {"cpu_device": {"outputs": 9e-5, "gradients": 9e-4}, "bf16": 0.01}
    assert gpu.failures(good) == []
    for outputs in (2e-4, float("nan")):
        assert gpu.failures(good | {"compiled": {"outputs": outputs, "gradients": 0.0}}) == ["compiled outputs"]
    assert gpu.failures(good | {"bf16": 0.5}) == ["bf16"]


def test_a_network_that_differs_on_the_device_is_found(benchmark, monkeypatch):
    gpu = benchmark("gpu")
    batch, model = gpu.batch_of(gpu.QUICK, 4), gpu.network(gpu.QUICK, "mean_pool", 8)
    expected = gpu.results_of(model, batch)
    next(model.members[0].encoder.parameters()).data += 0.1
    assert gpu.failures({"cpu_device": gpu.differences(gpu.results_of(model, batch), expected)})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_benchmark_of_a_gpu_says_where_there_is_none(benchmark):
    with pytest.raises(SystemExit, match="torch sees no GPU; run this where there is one, or with --device=cpu"):
        benchmark("gpu").main([])


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_needs_no_polars_hydra_or_lightning_but_for_the_loader(repository):
    missing = ("polars", "hydra", "omegaconf", "lightning", "pyarrow", "rich", "threadpoolctl")
    code = f"""
import sys
sys.modules.update(dict.fromkeys({missing!r}))
from benchmarks import gpu
bench = gpu.Bench("cpu", True, 0.0)
gpu.stepper(bench, gpu.network(gpu.QUICK, "hstu", 8), gpu.batch_of(gpu.QUICK, 4), False)()
print(gpu.loader(bench)["skipped"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "carried as wheels" in done.stdout


@pytest.mark.slow
def test_the_benchmark_of_the_loader_compares_batches_and_measures_all_numbers_of_threads(benchmark, tmp_path):
    sizes = ["--customers=300", "--events=6000", "--offers=20", "--batches=2", "--steps=1", "--rounds=1"]
    results = benchmark("prefetch").main([*sizes, "--set", "training.pairs_per_batch=2000"])
    assert set(results["loader"]["batches_s"]) == {"0", "1", "2"} and set(results["training"]["share"]) == {"0", "1"}
    assert all(0 <= share <= 1 for share in results["training"]["share"].values())


def test_grouped_and_padded_histories_agree_before_they_are_timed(benchmark):
    took = benchmark("packing").main(["--customers=6", "--batch=3", "--events=24", "--rounds=1"])
    assert set(took["linear_recurrence"]) == {"padded", "bucketed", "grouped"}
